"""Private names of libraries stand in layerscope/private alone, and their page lists what is there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from layerscope.private.registry import PRIVATE_NAMES

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "layerscope"
FILES = sorted(p for p in PACKAGE.rglob("*.py") if "private" not in p.relative_to(PACKAGE).parts)
# Python's own, documented under these names: the only way to leave at once, to interrupt the main
# thread, and to ask who calls.
OF_PYTHON = {"os._exit", "_thread", "sys._getframe"}
# A private module, or a private name in one, as text for sys.modules or importlib.
_AS_TEXT = re.compile(r"(torch|transformers)(\.\w+)*\._[A-Za-z]\w*(\.\w+)*")
# `_orig_mod` stands in names of layers in traces, which are read without torch.
_IN_TRACES = {"core/frame_names.py": {"_orig_mod"}}


def is_private(part: str) -> bool:
    return part.startswith("_") and not part.startswith("__")


_ATTRIBUTES = {name.attribute for name in PRIVATE_NAMES if is_private(name.attribute)}


def private_uses(tree: ast.Module) -> Iterator[str]:
    """Private names of others: in imports, attributes, and as text."""
    own = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in ("self", "cls")
    }
    own |= {n.name for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if any(map(is_private, a.name.split("."))))
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            for alias in node.names:
                parts = [*module.split("."), alias.name]
                if parts[0] != "layerscope" and any(map(is_private, parts)):
                    yield f"{module}.{alias.name}"
        elif isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in own:
            yield ast.unparse(node)
        elif isinstance(node, ast.Constant) and id(node) not in prose:
            text = node.value if isinstance(node.value, str) else ""
            if text in _ATTRIBUTES or _AS_TEXT.fullmatch(text):
                yield text


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_private_name_of_a_library_outside_the_room(path: Path) -> None:
    allowed = OF_PYTHON | _IN_TRACES.get(path.relative_to(PACKAGE).as_posix(), set())
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert set(private_uses(tree)) - allowed == set()


@pytest.mark.parametrize(
    "source",
    [
        "from torch._C._profiler import _RecordFunctionFast",
        "import torch._dynamo",
        "from torch.nn.modules.conv import _ConvNd",
        "def f():\n    import torch\n    return torch._ops.OpOverload",
        "module._parameters",
        "getattr(module, '_compiled_call_impl', None)",
        "sys.modules.get('torch._dynamo.eval_frame')",
    ],
)
def test_the_walk_finds_each_way_to_use_one(source: str) -> None:
    assert list(private_uses(ast.parse(source)))


@pytest.mark.parametrize(
    "source",
    ["self._mine", "from layerscope.core.words import _x", "'torch._ops in prose'", "a.__dict__"],
)
def test_the_walk_leaves_alone_what_is_ours(source: str) -> None:
    assert not list(private_uses(ast.parse(source)))


def table_rows() -> list[str]:
    """The rows of docs/private-names.md as the registry has them."""
    return [f"| `{name.name}` | {name.what_for} | {name.feature.name} |" for name in PRIVATE_NAMES]


def lost_rows() -> list[str]:
    features = dict.fromkeys(name.feature for name in PRIVATE_NAMES)
    return [f"| {feature.name} | {feature.lost} |" for feature in features]


def test_the_page_lists_every_name_and_what_is_lost_without() -> None:
    page = (ROOT / "docs" / "private-names.md").read_text(encoding="utf-8").splitlines()
    names = [line for line in page if line.startswith("| `")]
    assert names == table_rows()
    below = page.index("| needs | without it |")
    assert page[below + 2 : below + 2 + len(lost_rows())] == lost_rows()
    for library in ("torch", "transformers"):
        tried = next(n.tried for n in PRIVATE_NAMES if n.library == library)
        assert any(f"{library} {', '.join(tried)}" in line for line in page)
