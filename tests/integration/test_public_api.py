"""What `layerscope.__all__` promises works whatever else of the package was imported before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# In a process of its own: an import of a subpackage sets its name on the package for good.
PROGRAM = """
import importlib, pkgutil, sys, types
import layerscope

for found in pkgutil.walk_packages(layerscope.__path__, "layerscope."):
    if not found.name.endswith("__main__"):
        importlib.import_module(found.name)

import torch
net, x = torch.nn.Linear(4, 2), torch.ones(3, 4)
with layerscope.watch_compile(net) as watch:
    pass
with layerscope.capture(net, sys.argv[1]) as cap:
    net(x)
cap.table.check()
called = {
    "watch_compile": watch.record().graphs == (),
    "capture": cap.account.table.rows != (),
    "count_flops": layerscope.count_flops(net, x).rows[0].flops_total == 2 * 3 * 4 * 2,
    "open_run": layerscope.open_run(sys.argv[1]).account.table == cap.table,
    "diff": layerscope.diff(sys.argv[2], sys.argv[2]).comparison.layers.change_ns == 0,
    "Run": layerscope.Run.open(sys.argv[2]).record is not None,
    "Sweep": callable(layerscope.Sweep.open),
    "__version__": isinstance(layerscope.__version__, str),
}
assert set(called) == set(layerscope.__all__), set(called) ^ set(layerscope.__all__)
assert all(called.values()), called
assert set(layerscope.__all__) <= set(dir(layerscope))
for name in layerscope.__all__:
    assert not isinstance(getattr(layerscope, name), types.ModuleType), name
"""


def test_every_name_works_after_every_import(tmp_path: Path) -> None:
    sample = ROOT / "traces" / "sample-tiny-b2"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, str(tmp_path / "t.json"), str(sample)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
