"""Functions stay small enough to be read at once."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
from support.by_path import module_at

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def house() -> ModuleType:
    return module_at(ROOT / "scripts" / "house.py")


def test_functions_have_sixty_lines_and_six_parameters_at_most(house: ModuleType) -> None:
    long, wide = house.large_functions(house.modules(ROOT))
    assert not long
    assert not wide


def test_the_limits_are_where_they_are_said_to_be(house: ModuleType, tmp_path: Path) -> None:
    def written(room: str, name: str, body: str) -> None:
        folder = tmp_path / "layerscope" / room
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.py").write_text(body)

    lines = "    x = 1\n"
    written("core", "sixty", "def f():\n" + 59 * lines)
    written("core", "more", "class A:\n    async def g(self):\n" + 60 * ("    " + lines))
    written("core", "six", "def f(a, b, /, c, d, *rest, e, f, **more): pass\n")
    written("core", "seven", "class A:\n    def g(self, a, b, c, d, e, f, *, g): pass\n")
    written("cli", "verb", "def f(a, b, c, d, e, f, g): pass\n")
    long, wide = house.large_functions(house.modules(tmp_path))
    assert long == ["layerscope.core.more.g: 61 lines"]
    assert wide == ["layerscope.core.seven.g: 7 parameters"]
