"""A test file in, the kinds of its tests out: does it start the command, does it run a model.

Read from the file's own text, so that no new test can be forgotten in the runs on other versions of
torch and transformers (`make test-command`, `make test-models`).
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

# The helper of this folder, or a process of this Python, or a helper that starts one.
_COMMAND = re.compile(
    r"support\.command|sys\.executable|support\.(killed_sweep|faulted_runs)|with_name\(\"layerscope\"\)"
)
# What holds a model, wraps one, or feeds one; and the verbs that run one.
_MODELS = re.compile(
    r"^\s*(from|import) (transformers|support\.small_model|unit\.measure\.tiny_models"
    r"|layerscope\.(workload|instrument|measure\.(flops|replay)|run\.(profile|passes|capture)))\b"
    r"|\blayerscope\(\s*\"(profile|flops)\"|layerscope\.capture",
    re.MULTILINE,
)


@cache
def kinds(path: Path) -> frozenset[str]:
    """The markers that the tests in this file get."""
    text = path.read_text(encoding="utf-8")
    found = {"command": _COMMAND, "models": _MODELS}
    return frozenset(name for name, pattern in found.items() if pattern.search(text))
