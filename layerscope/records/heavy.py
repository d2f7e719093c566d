"""The heavy operators: products, convolutions and attentions, in eager and in compiled code alike.

A library or a template runs each as a kernel of its own, and together they are nearly all of the work.
So what (operator, layer) ran how often, eagerly and compiled, is the proof that compiled code's kernels
are with the right layers.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

Heavy = tuple[str, str]  # (operator, layer)

_SPACES = frozenset({"aten", "mkldnn", "mkl", "onednn", "inductor"})
_ATTENTION = re.compile(
    r"_(scaled_dot_product_\w*attention\w*|flash_attention_forward|efficient_attention_forward"
    r"|cudnn_attention_forward)"
)
_KINDS = {
    **dict.fromkeys(
        ("mm", "addmm", "mv", "addmv", "_int_mm", "_scaled_mm", "_scaled_mm_v2", "_addmm_activation",
         "_grouped_mm", "_scaled_grouped_mm", "_scaled_grouped_mm_v2", "_linear_pointwise",
         "_mkl_linear", "mkldnn_linear", "qlinear_pointwise", "_weight_int8pack_mm",
         "_weight_int4pack_mm", "mm_plus_mm", "fused_int_mm_mul"),
        "mm",
    ),
    **dict.fromkeys(("bmm", "baddbmm"), "bmm"),
    **dict.fromkeys(
        ("convolution", "_convolution_pointwise", "_convolution_pointwise_", "qconv_pointwise",
         "_convolution_transpose_pointwise", "mkldnn_convolution", "cudnn_convolution",
         "cudnn_convolution_relu", "cudnn_convolution_add_relu", "miopen_convolution"),
        "convolution",
    ),
    "flex_attention": "sdpa",
}  # fmt: skip
# Told in words before the rest is only counted.
_MOST_TOLD = 6


def heavy_kind(operator: str) -> str:
    """`mm`, `bmm`, `convolution` or `sdpa` for an operator (`aten::mm`, `bmm.dtype`, `addmm`), else "".

    Attention's math form is none: it runs two `bmm`.
    """
    space, _, rest = operator.rpartition("::")
    if space and space not in _SPACES:
        return ""
    base = rest.partition(".")[0]
    if base in _KINDS:
        return _KINDS[base]
    attention = _ATTENTION.fullmatch(base) is not None
    return "sdpa" if attention and not base.endswith(("_math", "_backward")) else ""


@dataclass(frozen=True)
class HeavyCount:
    """Heavy operators that ran.

    Attributes:
        known: (operator, layer) -> how often.
        unknown: operator -> how often in compiled code, in a layer that is not known.
    """

    known: Counter[Heavy] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)


def differences(eager: Mapping[Heavy, int], compiled: HeavyCount) -> list[str]:
    """Where compiled code's heavy operators are not the eager ones, one sentence a layer; else empty.

    An attention counts as the two batched products that its math form runs: which form ran is no
    question of layers. What compiled code ran in a layer that is not known may be any that is missing.
    """
    wanted, found = _as_products(eager), _as_products(compiled.known)
    more = {key: n - wanted[key] for key, n in found.items() if n > wanted[key]}
    less = {key: n - found[key] for key, n in wanted.items() if n > found[key]}
    spare = _as_products({(operator, ""): n for operator, n in compiled.unknown.items()})
    missing: Counter[str] = Counter()
    for (operator, _), count in less.items():
        missing[operator] += count
    hidden = all(count <= spare[operator, ""] for operator, count in missing.items())
    told = [
        f"{layer}: {n} {operator} more in compiled code than eagerly"
        for (operator, layer), n in more.items()
    ]
    if not hidden:
        told += [
            f"{layer}: {n} {operator} fewer in compiled code than eagerly"
            for (operator, layer), n in less.items()
        ]
    rest = len(told) - _MOST_TOLD
    return [*told[:_MOST_TOLD], f"and {rest} more like these"] if rest > 0 else told


def _as_products(count: Mapping[Heavy, int]) -> Counter[Heavy]:
    found: Counter[Heavy] = Counter()
    for (operator, layer), n in count.items():
        if operator == "sdpa":
            found["bmm", layer] += 2 * n
        else:
            found[operator, layer] += n
    return found
