"""The FLOPs of one call of a model by module, as `layerscope.count_flops` gives them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from layerscope.records.work import FLOP_CONVENTION, OperatorCount, missing_text


@dataclass(frozen=True, kw_only=True, slots=True)
class FlopRow:
    """One module. `self` is the module without those below it, `total` with them.

    Attributes:
        layer: FQN as in `named_modules()`; "forward" is the root: the model itself and what runs
            outside all its modules.
        module: class name.
        calls: 0 for a module that only holds others, or that the call did not reach.
        flops_self, flops_total: 2 per multiply-accumulate; None where products are missing.
        flops_by_dtype: what formulas counted of `flops_self`, by the dtype of the operands.
        missing: operators of this module itself that may hold products and have no formula.
    """

    layer: str
    module: str
    calls: int
    flops_self: int | None
    flops_total: int | None
    flops_by_dtype: dict[str, int]
    missing: tuple[str, ...]

    @property
    def macs_total(self) -> int | None:
        """Multiply-accumulates: half the FLOPs."""
        return None if self.flops_total is None else self.flops_total // 2


@dataclass(frozen=True, kw_only=True, slots=True)
class FlopTable:
    """The rows of one counted call, which can also be walked and asked for by layer.

    Attributes:
        rows: one for each module, in the order of `named_modules()`, the root first.
        total: FLOPs of the whole call; None where products are missing.
        counted: FLOPs that formulas counted; the total, unless products are missing.
        missing: operators that may hold products and have no formula, with their calls.
        uncounted: operators that compute and hold no products (norms, softmax, activations).
        by_phase: phase -> what formulas counted in it; one, `forward`, for a model of which it is not
            known what its modules are for.
    """

    rows: tuple[FlopRow, ...]
    total: int | None
    counted: int
    missing: tuple[OperatorCount, ...]
    uncounted: tuple[OperatorCount, ...]
    convention: str = FLOP_CONVENTION
    by_phase: dict[str, int] = field(default_factory=dict)

    def __iter__(self) -> Iterator[FlopRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, layer: str) -> FlopRow:
        """The row of one module.

        Raises:
            KeyError: the model has no such module.
        """
        for row in self.rows:
            if row.layer == layer:
                return row
        raise KeyError(layer)

    @property
    def reason(self) -> str:
        """Why the total is absent, in a sentence; "" where it is there."""
        return missing_text(self.missing)
