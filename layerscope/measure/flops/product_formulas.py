"""FLOPs of matrix and vector products, convolutions and low-precision products torch leaves out.

Each takes the operands of one call and gives 2 per multiply-accumulate, or None where their values
are needed and absent (the group sizes of tensors without data).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from layerscope.private.tensors import is_fake

if TYPE_CHECKING:
    from layerscope.measure.flops.operands import Operands

Count = Callable[["Operands"], int | None]


def _inner_first(name: str) -> Count:
    """Each element of the result is a dot product as long as the last dimension of `name`."""
    return lambda o: 2 * int(o.result.numel()) * o.shape(name)[-1]


def _elements(name: str) -> Count:
    """One multiply-accumulate for each element of `name`."""
    return lambda o: 2 * math.prod(o.shape(name))


def _outer(o: Operands) -> int:
    return 2 * o.shape("vec1")[0] * o.shape("vec2")[0]


def _addbmm(o: Operands) -> int:
    batch, rows, inner = o.shape("batch1")
    return 2 * batch * rows * inner * o.shape("batch2")[-1]


def _mm(first: str, second: str) -> Count:
    return lambda o: 2 * math.prod(o.shape(first)) * o.shape(second)[-1]


def _foreach_mm(o: Operands) -> int:
    pairs = zip(o["self"], o["mat2"], strict=True)
    return sum(2 * int(a.numel()) * int(b.shape[-1]) for a, b in pairs)


def _grouped_mm(o: Operands) -> int | None:
    """Groups of rows, of columns or of the inner dimension end at `offs`; past the last, nothing.

    Source: the four layouts that `torch.nn.functional.grouped_mm` documents.
    """
    left, right = o.shape("self"), o.shape("mat2")
    if len(left) == 3 and len(right) == 3:
        return 2 * math.prod(left) * right[-1]
    offsets = o.get("offs")
    if offsets is None or offsets.is_meta or is_fake(offsets):
        return None
    ends = int(offsets[-1]) if offsets.numel() else 0
    if len(left) == 2 and len(right) == 3:
        return 2 * ends * left[1] * right[2]
    if len(left) == 3:
        return 2 * left[1] * left[2] * ends
    return 2 * left[0] * right[1] * ends


def _trilinear(o: Operands) -> int:
    """What `bilinear` runs: i1 with i2 over the dimensions i3 does not have, the result with i3.

    Source: `_trilinear` in ATen/native/Linear.cpp.
    """
    shapes = [list(o.shape(name)) for name in ("i1", "i2", "i3")]
    for shape, expand in zip(shapes, ("expand1", "expand2", "expand3"), strict=True):
        for dim in sorted(o[expand]):
            shape.insert(dim, 1)
    together = [max(sizes) for sizes in zip(*shapes, strict=True)]
    summed_first = {d for d in o["sumdim"] if d in o["expand3"]}
    first = math.prod(max(a, b) for a, b in zip(shapes[0], shapes[1], strict=True))
    second = math.prod(n for dim, n in enumerate(together) if dim not in summed_first)
    return int(2 * (first + second))


def _convolution(o: Operands) -> int:
    """Each element of the result is one filter over its field."""
    return 2 * int(o.result.numel()) * math.prod(o.shape("weight")[1:])


def _transposed_convolution(o: Operands) -> int:
    """Each element of the input is spread by one filter."""
    return 2 * math.prod(o.shape("self")) * math.prod(o.shape("weight")[1:])


def _packed(o: Operands) -> int:
    """A product whose weight is a packed object: its unpacked shape is (out, in / groups, ...)."""
    weight = next(v for v in o.named.values() if hasattr(v, "unpack")).unpack()[0]
    return 2 * int(o.result.numel()) * int(math.prod(weight.shape[1:]))


def _euclidean(o: Operands) -> int:
    """One product over the features, two columns longer: the squared norms ride along.

    Source: `_euclidean_dist` in ATen/native/Distance.cpp.
    """
    return 2 * int(o.result.numel()) * (o.shape("x1")[-1] + 2)


def _conv_tbc(o: Operands) -> int:
    kernel, channels, _ = o.shape("weight")
    return 2 * int(o.result.numel()) * kernel * channels


def _names(names: str, namespace: str = "") -> list[str]:
    return [f"{namespace}{name}" for name in names.split()]


FORMULAS: dict[str, Count] = {
    "mv": _elements("self"),
    "addmv": _elements("mat"),
    "dot": _elements("self"),
    "vdot": _elements("self"),
    "addr": _outer,
    "addbmm": _addbmm,
    "linear": _inner_first("input"),
    "mkldnn_linear": _inner_first("self"),
    "mkldnn::_linear_pointwise": _inner_first("X"),
    "_addmm_activation": _mm("mat1", "mat2"),
    "_foreach_mm": _foreach_mm,
    "_grouped_mm": _grouped_mm,
    "_scaled_grouped_mm": _grouped_mm,
    "_scaled_grouped_mm_v2": _grouped_mm,
    "_scaled_mm_v2": _mm("self", "mat2"),
    "_int_mm": _mm("self", "mat2"),
    "_weight_int8pack_mm": _inner_first("self"),
    "_weight_int4pack_mm": _inner_first("self"),
    "_weight_int4pack_mm_for_cpu": _inner_first("self"),
    "_weight_int4pack_mm_with_scales_and_zeros": _inner_first("self"),
    "_dyn_quant_matmul_4bit": _inner_first("inp"),
    "_mixed_dtypes_linear": _inner_first("input"),
    "_trilinear": _trilinear,
    "_euclidean_dist": _euclidean,
    "affine_grid_generator": lambda o: 2 * int(o.result.numel()) * o.shape("theta")[-1],
    "conv_tbc": _conv_tbc,
    **dict.fromkeys(
        _names(
            "_conv_depthwise2d conv_depthwise3d slow_conv3d_forward slow_conv_dilated2d"
            " slow_conv_dilated3d cudnn_convolution_relu cudnn_convolution_add_relu"
            " mkldnn_convolution miopen_convolution miopen_depthwise_convolution"
            " miopen_convolution_relu miopen_convolution_add_relu _nnpack_spatial_convolution",
        ),
        _convolution,
    ),
    **dict.fromkeys(
        _names(
            "slow_conv_transpose2d slow_conv_transpose3d cudnn_convolution_transpose"
            " miopen_convolution_transpose",
        ),
        _transposed_convolution,
    ),
    **dict.fromkeys(
        _names(
            "linear linear_relu linear_dynamic linear_relu_dynamic linear_dynamic_fp16"
            " linear_relu_dynamic_fp16 linear_leaky_relu linear_tanh"
            " linear_with_input_q_dq_qweight_dq_output_fp32"
            " linear_with_input_q_dq_qweight_dq_relu_output_fp32"
            " conv1d conv2d conv3d conv1d_relu conv2d_relu conv3d_relu conv1d_dynamic"
            " conv2d_dynamic conv3d_dynamic",
            "quantized::",
        ),
        _packed,
    ),
}
