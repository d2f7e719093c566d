"""A log folder in, its sweeps out: their axes, how many cells, and the small tables they have."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import msgspec

from layerscope.core.files import DAMAGED, PLAN_FILE, SWEEP_GROUPS_FILE, SWEEP_TABLE_FILE
from layerscope.tab.log_folder import LogFolder

# What the tab may hand out of a sweep's folder, and nothing else: name in a request -> file. The
# table of every layer of every cell is not among them: it has hundreds of thousands of lines.
FILES = {"table": SWEEP_TABLE_FILE, "groups": SWEEP_GROUPS_FILE}


class _Config(msgspec.Struct):
    name: str = ""
    grid: dict[str, Any] = {}
    zip: dict[str, Any] = {}


class _Plan(msgspec.Struct):
    """The fields of a plan that the tab shows, read loosely: other versions' plans still list."""

    config: _Config
    cells: list[msgspec.Raw] = []


_PLAN = msgspec.json.Decoder(_Plan)


class SweepList:
    """The sweeps below one log folder. A plan is read again only when its size or time changed."""

    def __init__(self, logdir: Path) -> None:
        self._log = LogFolder(logdir)
        self._known: dict[Path, tuple[tuple[int, int], dict[str, Any]]] = {}

    def any(self) -> bool:
        """Whether there is at least one sweep; stops at the first."""
        return next(self._log.holding(PLAN_FILE), None) is not None

    def all(self) -> list[dict[str, Any]]:
        """Every sweep, by its path, ready for JSON."""
        found = []
        for folder in self._log.holding(PLAN_FILE):
            # A folder may go between the walk and the reading: it is no sweep any more.
            with contextlib.suppress(OSError):
                found.append(self._summary(folder))
        return found

    def file(self, sweep_id: str, name: str) -> Path | None:
        """The file of this sweep that `FILES` calls `name`; None when there is no such one."""
        return self._log.file(sweep_id, PLAN_FILE, FILES[name]) if name in FILES else None

    def read(self, path: Path) -> bytes:
        """A table that `file` found.

        Raises:
            OSError: it cannot be read, or is refused.
        """
        return self._log.read(path)

    def _summary(self, folder: Path) -> dict[str, Any]:
        tables = {name: self._log.inside(folder / file) for name, file in FILES.items()}
        present = [path for path in tables.values() if path]
        return self._plan(folder) | {
            "id": self._log.id(folder),
            "files": [name for name, path in tables.items() if path],
            # Tables are written anew whenever the sweep's command ends: the page reads them then.
            "written_ns": str(max((os.lstat(path).st_mtime_ns for path in present), default=0)),
        }

    def _plan(self, folder: Path) -> dict[str, Any]:
        stat = os.lstat(folder / PLAN_FILE)
        stamp = (stat.st_mtime_ns, stat.st_size)
        known = self._known.get(folder)
        if known is None or known[0] != stamp:
            known = self._known[folder] = (stamp, self._read(folder))
        return known[1]

    def _read(self, folder: Path) -> dict[str, Any]:
        name = folder.resolve().name
        try:
            plan = _PLAN.decode(self._log.read_json(folder / PLAN_FILE))
        except FileNotFoundError:
            raise  # it went since the walk
        except OSError as error:
            return _problem(name, f"{PLAN_FILE} cannot be read ({error.strerror or error})")
        except DAMAGED as error:
            return _problem(name, f"{PLAN_FILE} is not a sweep's plan ({error})")
        return {
            "name": plan.config.name or name,
            "axes": [*plan.config.grid, *plan.config.zip],
            "together": list(plan.config.zip),  # axes whose values move together
            "cells": len(plan.cells),
            "problem": "",
        }


def _problem(name: str, what: str) -> dict[str, Any]:
    return {"name": name, "axes": [], "together": [], "cells": 0, "problem": what}
