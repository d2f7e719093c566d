"""One check on its own: a function that looks at the machine in, a `Check` out, whatever happens."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from layerscope.core.errors import LayerscopeError
from layerscope.core.words import kind_and_first_line
from layerscope.records.diagnosis import Check, Status

DEVICE_TIMEOUT_S = 30.0  # for a driver that does not answer


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What a look at the machine gave."""

    status: Status
    found: str
    remedy: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """A question about the machine.

    Attributes:
        costs: what the user goes without where the answer is not ok.
        look: finds the answer. Its exceptions become answers.
        timeout_s: where a network, a driver or a subprocess may not answer. None: no limit, and
            the look runs in this thread, as Kineto demands of whatever imports torch and traces.
        required: nothing can be profiled, on any device, unless this is ok or limited.
    """

    name: str
    costs: str
    look: Callable[[], Finding]
    timeout_s: float | None = None
    required: bool = False

    def check(self) -> Check:
        """Look, at most for `timeout_s`, and return the answer. Raises nothing but Ctrl-C."""
        finding = (
            _looked(self.look)
            if self.timeout_s is None
            else _looked_within(self.look, self.timeout_s, self.name)
        )
        return Check(
            name=self.name,
            status=finding.status,
            found=finding.found,
            costs=self.costs,
            remedy=finding.remedy,
        )

    def blocks(self, check: Check) -> bool:
        """Whether this answer rules profiling out. A check that crashed or hung proves nothing."""
        return self.required and check.status in ("missing", "unknown")


def _looked(look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except LayerscopeError as problem:
        # layerscope's own messages say what to do in the same line.
        return Finding(status="missing", found=str(problem), remedy="as the message says")
    except ImportError as error:
        return Finding(
            status="missing",
            found=f"an import failed ({kind_and_first_line(error)})",
            remedy="install the package it names into the environment that runs layerscope",
        )
    except Exception as error:  # one broken check must not hide the others
        return Finding(
            status="unknown",
            found=f"the check itself failed ({kind_and_first_line(error)})",
            remedy="repair what the message names; if it names nothing, report it as a bug",
        )


def _looked_within(look: Callable[[], Finding], timeout_s: float, name: str) -> Finding:
    """Look in a thread of its own, left behind if it hangs: a name server or a driver that does
    not answer cannot be interrupted."""
    answers: list[Finding] = []
    thread = threading.Thread(
        target=lambda: answers.append(_looked(look)), name=f"doctor-{name}", daemon=True
    )
    thread.start()
    thread.join(timeout_s)
    return answers[0] if answers else _silent(timeout_s)


def _silent(timeout_s: float) -> Finding:
    return Finding(
        status="unknown",
        found=f"no answer in {timeout_s:g} s",
        remedy="run doctor again; if it stays silent, the driver, disk or network hangs",
    )
