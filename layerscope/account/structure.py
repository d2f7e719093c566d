"""A model's modules and the decoder steps in, the calls its structure demands out (rule 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from layerscope.account.compiled_regions import region_of
from layerscope.core.families import family_named
from layerscope.core.vocabulary import ROOT_GENERATE
from layerscope.records import ModuleRecord


def counted_calls(
    modules: Sequence[ModuleRecord],
    counted: Mapping[str, int],
    batches: int,
    compiled: Sequence[str] = (),
    root: str = ROOT_GENERATE,
) -> dict[str, int] | None:
    """Calls of every module in `batches` calls of the root, where hooks counted these in one.

    Layers inside a compiled part are called by no one and left out.

    Returns:
        FQN -> calls, the root under its name; None where nothing was counted.
    """
    if not counted:
        return None
    expected = {root: batches}
    for module in modules:
        if module.fqn and region_of(module.fqn, compiled) in (None, module.fqn):
            expected[module.fqn] = counted.get(module.fqn, 0) * batches
    return expected


def expected_calls(
    modules: Sequence[ModuleRecord], steps: int, batches: int = 1, compiled: Sequence[str] = ()
) -> dict[str, int] | None:
    """Calls of every module in `batches` eager `generate()` calls of `steps` decoder steps in all.

    Layers inside a compiled part are called by no one and left out, and so are wrappers around the
    model, which may call it in ways of their own.

    Returns:
        FQN -> calls, the root under the name `generate`; None for a model whose structure no file in
        `core/families/` describes.
    """
    fqns = {module.fqn for module in modules}
    named = family_named(fqns)
    if named is None or named.prefix + named.family.DESCRIBED not in fqns:
        return None
    expected = {} if named.prefix else {ROOT_GENERATE: batches}
    for module in modules:
        inside = module.fqn.removeprefix(named.prefix)
        region = region_of(module.fqn, compiled)
        known = inside and module.fqn.startswith(named.prefix)
        if known and (region is None or region == module.fqn):
            demand = named.family.demanded(inside, module.cls)
            expected[module.fqn] = demand.a_batch * batches + demand.a_step * steps
    return expected
