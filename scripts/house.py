"""The package in, its floor plan out: rooms, the longest chain of imports, large functions.

python scripts/house.py [TREE]
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from functools import cache
from pathlib import Path

_LINES, _PARAMETERS = 60, 6
_FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef


def modules(tree: Path) -> dict[str, Path]:
    """Dotted name -> file of every module of the package."""
    found = {}
    for path in sorted((tree / "layerscope").rglob("*.py")):
        parts = path.relative_to(tree).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path: Path, known: dict[str, Path], *, lazy: bool) -> set[str]:
    """The package's own modules that this file imports; with `lazy`, those inside functions too."""
    found: set[str] = set()
    pending: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)) or (
            isinstance(node, _FUNCTION) and not lazy
        ):
            continue
        pending.extend(ast.iter_child_nodes(node))
    return {name for name in found if name in known}


def longest_chain(known: dict[str, Path]) -> list[str]:
    """The longest chain of imports that run when a module is imported, none twice."""
    edges = {name: imported(path, known, lazy=False) - {name} for name, path in known.items()}
    under_way: set[str] = set()

    @cache
    def chain(name: str) -> tuple[str, ...]:
        under_way.add(name)
        below = [chain(other) for other in sorted(edges[name] - under_way)]
        under_way.discard(name)
        return (name, *max(below, key=len, default=()))

    return list(max((chain(name) for name in known), key=len))


def large_functions(known: dict[str, Path]) -> tuple[list[str], list[str]]:
    """Functions of more than 60 lines, and, outside the command line, of more than six parameters."""
    long, wide = [], []
    for name, path in known.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, _FUNCTION):
                continue
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > _LINES:
                long.append(f"{name}.{node.name}: {lines} lines")
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            count = len([a for a in given if a.arg not in ("self", "cls")])
            if count > _PARAMETERS and not name.startswith("layerscope.cli."):
                wide.append(f"{name}.{node.name}: {count} parameters")
    return long, wide


def main() -> int:
    """Print the plan."""
    tree = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[1]
    known = modules(tree)
    files: Counter[str] = Counter()
    lines: Counter[str] = Counter()
    for path in known.values():
        parts = path.relative_to(tree / "layerscope").parts
        room = parts[0] if len(parts) > 1 else "."
        files[room] += 1
        lines[room] += len(path.read_text(encoding="utf-8").splitlines())
    print(f"{len(known)} files")
    for room in sorted(files):
        print(f"{room:<12} {files[room]:>4} files {lines[room]:>6} lines")
    chain = longest_chain(known)
    print(f"longest chain of imports: {len(chain)}\n  " + "\n  ".join(chain))
    long, wide = large_functions(known)
    print(f"{len(long)} functions above {_LINES} lines:", *long, sep="\n  ")
    print(f"{len(wide)} functions of more than {_PARAMETERS} parameters:", *wide, sep="\n  ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
