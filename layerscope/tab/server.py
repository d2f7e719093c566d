"""TensorBoard as `layerscope view` starts it: all its plugins, torch-tb-profiler at the newest runs.

That plugin reads every file made for it as soon as it starts, a process of some 80 MiB for each: 30 runs
took 33 processes and 2.8 GiB. TensorBoard started by itself does so still.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from layerscope.core.folder_file import state_of

MOST_RUNS = 3
_FILE = re.compile(r"\.pt\.trace\.json(?:\.gz)?$")
# `<worker>.<milliseconds, of newer versions nanoseconds, since 1970>.pt.trace.json.gz`
_TIMED = re.compile(r"\.(\d{13})(?:\d{6})?\.pt\.trace\.json")


def newest(logdir: Path, most: int = MOST_RUNS) -> list[Path]:
    """The folders with the newest files for torch-tb-profiler, newest first.

    A file's time is the one in its name, which a copy keeps; without one, the disk's.
    """
    found: dict[Path, int] = {}
    for parent, _, files in os.walk(logdir):
        times = [_time_ms(Path(parent) / name) for name in files if _FILE.search(name)]
        if times:
            found[Path(parent)] = max(times)
    return sorted(found, key=lambda folder: (found[folder], folder), reverse=True)[:most]


def _time_ms(path: Path) -> int:
    if timed := _TIMED.search(path.name):
        return int(timed[1])
    state = state_of(path)
    return 0 if state is None else state.st_mtime_ns // 1_000_000


def narrowed(plugin: Any) -> Any:
    """torch-tb-profiler's plugin, whose scan of the log folder sees the newest runs alone.

    Every other plugin, and one of a version that scans in another way, comes back as it is.
    """
    if getattr(plugin, "plugin_name", "") != "pytorch_profiler":
        return plugin
    if not hasattr(plugin, "_get_run_dirs"):
        print(
            "layerscope: this torch-tb-profiler reads the files of all runs, a process for each.",
            file=sys.stderr,
        )
        return plugin

    def _get_run_dirs(self: Any) -> Iterator[str]:
        yield from map(str, newest(Path(self.logdir)))

    return type(plugin.__name__, (plugin,), {"_get_run_dirs": _get_run_dirs})


def main() -> None:
    """Run TensorBoard with the arguments of the command line, as `tensorboard` does."""
    from absl import app
    from tensorboard import default, main_lib, program
    from tensorboard.plugins import base_plugin

    main_lib.global_init()
    server = program.TensorBoard(plugins=[narrowed(plugin) for plugin in default.get_plugins()])
    try:
        app.run(server.main, flags_parser=server.configure)
    except base_plugin.FlagsError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
