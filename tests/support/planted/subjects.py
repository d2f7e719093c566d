"""A name in, a model with a call of it out: the small ones of `models`, and those of a zoo file."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from support.by_path import module_at
from support.planted.models import WIDTH, Captioner, Experts, Replicas, Tower
from support.planted.planting import Call
from support.planted.series import Subject

Build = Callable[[], Subject]
_ZOO = Path("shared") / "cases" / "zoo.py"


def own(cuda: bool = False) -> dict[str, Build]:
    """The models that need no file."""

    def built(name: str, model: Callable[[], torch.nn.Module], call: Callable[..., Call]) -> Build:
        def build() -> Subject:
            torch.manual_seed(0)
            inputs = _random_inputs(cuda)
            return Subject(name, model().eval().to(_device(cuda)), call(**inputs), cuda)

        return build

    return {
        "captioner": built("captioner", Captioner, _captions),
        "tower": built("tower", Tower, _sees),
        "experts": built("experts", Experts, _thinks),
    }


def replicated(subject: Subject, threads: int) -> Subject:
    """Copies of a model below one root, for threads that each call their own."""
    copies = [copy.deepcopy(subject.model) for _ in range(threads)]
    return Subject(f"{subject.name} x{threads}", Replicas(copies), subject.call, subject.cuda)


def find_zoo() -> Path | None:
    """The zoo file in this checkout or beside it."""
    root = Path(__file__).resolve().parents[3]
    return next((p / _ZOO for p in (root, root.parent, *root.parents) if (p / _ZOO).exists()), None)


def zoo(path: Path, cuda: bool = False) -> dict[str, Build]:
    """The models of a zoo file: `generate()` of two tokens, or the forward of those without one."""
    models = _load(path)

    def built(name: str, make: Callable[[], tuple[Any, dict[str, Any]]]) -> Build:
        def build() -> Subject:
            model, inputs = make()
            inputs = {key: value.to(_device(cuda)) for key, value in inputs.items()}
            call = _generates if model.can_generate() else _forwards
            return Subject(name, model.to(_device(cuda)), call(inputs), cuda)

        return build

    return {name: built(name, make) for name, make in models.items()}


def forward_only(build: Build) -> Build:
    """The same model, its forward called as it stands instead of `generate()`, without a cache."""

    def changed() -> Subject:
        subject = build()
        inputs = subject.call.inputs  # type: ignore[attr-defined]
        if subject.model.can_generate():  # type: ignore[operator]
            inputs = inputs | {"use_cache": False}
        return Subject(subject.name, subject.model, _forwards(inputs), subject.cuda)

    return changed


def _load(path: Path) -> dict[str, Any]:
    models: dict[str, Any] = module_at(path).ZOO
    return models


def _device(cuda: bool) -> str:
    return "cuda" if cuda else "cpu"


def _random_inputs(cuda: bool) -> dict[str, torch.Tensor]:
    device = _device(cuda)
    return {
        "pixels": torch.randn(2, 3, 32, 32, device=device),
        "tokens": torch.randint(0, 100, (2, 6), device=device),
        "hidden": torch.randn(2, 5, WIDTH, device=device),
    }


def _captions(pixels: torch.Tensor, tokens: torch.Tensor, hidden: torch.Tensor) -> Call:
    return lambda model: model(pixels, tokens)


def _sees(pixels: torch.Tensor, tokens: torch.Tensor, hidden: torch.Tensor) -> Call:
    return lambda model: model(pixels)


def _thinks(pixels: torch.Tensor, tokens: torch.Tensor, hidden: torch.Tensor) -> Call:
    return lambda model: model(hidden)


def _forwards(inputs: dict[str, Any]) -> Call:
    def call(model: torch.nn.Module) -> object:
        return model(**inputs)

    call.inputs = inputs  # type: ignore[attr-defined]
    return call


def _generates(inputs: dict[str, Any]) -> Call:
    def call(model: Any) -> object:
        return model.generate(**inputs, max_new_tokens=2, min_new_tokens=2, do_sample=False)

    call.inputs = inputs  # type: ignore[attr-defined]
    return call
