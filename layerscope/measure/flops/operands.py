"""The operands of one executed operator by their names in its schema, and the dtype it computes in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from layerscope.measure.flops.tensors import tensors_in
from layerscope.private.operators import (
    schema_of,
)
from layerscope.private.tensors import plain_layouts

if TYPE_CHECKING:
    import torch

# The two operands of a product under the names that schemas give them; the first pair present
# counts. A bias, a mask and a scale are none of them.
_PAIRS = (
    ("mat1", "mat2"), ("batch1", "batch2"), ("mat", "vec"), ("vec1", "vec2"), ("query", "key"),
    ("query", "qkv_weight"), ("src", "qkv_weight"), ("input", "weight"), ("input", "weight0"),
    ("i1", "i2"), ("self", "mat2"), ("self", "weight"), ("self", "other"), ("self", "vec"),
    ("self", "tensor"), ("q", "k"), ("X", "W"), ("x1", "x2"),
)  # fmt: skip

# Operators whose weights are packed, so that the packed tensor's dtype says nothing.
_PACKED = {
    "_weight_int4pack_mm": "int4",
    "_weight_int4pack_mm_for_cpu": "int4",
    "_weight_int4pack_mm_with_scales_and_zeros": "int4",
    "_dyn_quant_matmul_4bit": "int4",
    "quantized::linear_dynamic_fp16": "float16",
    "quantized::linear_relu_dynamic_fp16": "float16",
}
# One arithmetic unit, one rate: a roofline knows them by these names.
_FAMILIES = {
    "float8_e4m3fn": "float8", "float8_e5m2": "float8", "float8_e4m3fnuz": "float8",
    "float8_e5m2fnuz": "float8", "float4_e2m1fn_x2": "float4", "qint8": "int8", "quint8": "int8",
    "uint8": "int8", "qint32": "int32",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Operands:
    """One call's arguments by name, and what it returned."""

    named: dict[str, Any]
    out: Any

    def __getitem__(self, name: str) -> Any:
        return self.named[name]

    def get(self, name: str) -> Any:
        """The argument, or None where it was not given."""
        return self.named.get(name)

    def shape(self, name: str) -> tuple[int, ...]:
        """Sizes of a tensor argument."""
        return tuple(int(n) for n in self.named[name].shape)

    @property
    def result(self) -> Any:
        """The first tensor returned."""
        return next(tensors_in(self.out))

    @property
    def hidden(self) -> bool:
        """Whether an operand is sparse or nested, so that its shape does not tell the work."""
        return any(_is_hidden(t) for t in tensors_in(tuple(self.named.values())))

    @property
    def per_product(self) -> int:
        """How many times the count of a product of plain real numbers this one takes."""
        import torch

        pair = _pair(self.named)
        if any(t.is_complex() for t in pair):
            return 4
        packed = getattr(torch, "float4_e2m1fn_x2", None)  # two numbers in each element
        return 2 if packed is not None and any(t.dtype == packed for t in pair) else 1


def named_operands(
    operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
) -> Operands:
    """Arguments under their schema's names; by position (`0`, `1`) where there is no schema."""
    names = argument_names(operator)
    found = {
        (names[place] if place < len(names) else str(place)): value
        for place, value in enumerate(args)
    }
    return Operands({**found, **kwargs}, out)


@cache
def argument_names(operator: Any) -> tuple[str, ...]:
    """The names of an operator's arguments, in order."""
    schema = schema_of(operator)
    return () if schema is None else tuple(argument.name for argument in schema.arguments)


def operand_dtype(name: str, operands: Operands) -> str:
    """The dtype a product ran in: that of its operands, of two different ones the narrower.

    The narrower one has the higher rate, so that a bound made with it stays a bound.
    """
    if name in _PACKED:
        return _PACKED[name]
    if name.startswith("quantized::"):
        return "int8"
    pair = _pair(operands.named)
    if not pair:
        return "unknown"
    narrow = min(pair, key=lambda tensor: tensor.element_size())
    written = dtype_name(narrow)
    return _FAMILIES.get(written, written)


def dtype_name(tensor: torch.Tensor) -> str:
    """`float16` for `torch.float16`."""
    return str(tensor.dtype).removeprefix("torch.")


def _pair(named: dict[str, Any]) -> tuple[Any, ...]:
    for names in _PAIRS:
        if all(named.get(name) is not None for name in names):
            found = tuple(next(tensors_in(named[name]), None) for name in names)
            if None not in found:
                return found
    return (
        tuple(t for t in tensors_in(tuple(named.values())) if t.dim() > 1)[:2]
        or tuple(tensors_in(tuple(named.values())))[:2]
    )


def _is_hidden(tensor: torch.Tensor) -> bool:
    return tensor.is_nested or tensor.layout not in plain_layouts()
