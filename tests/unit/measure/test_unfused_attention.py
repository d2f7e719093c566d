"""Why SDPA took no fused kernel: asked of each call with its real operands, and said by layer."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import nn
from torch.backends import cuda
from torch.nn.functional import scaled_dot_product_attention

from layerscope.measure.flops import count_work
from layerscope.measure.flops.unfused_attention import Reasons, reasons_of, watch_attention

Q = torch.randn(1, 2, 4, 8)


def saying(text: str, *, can: bool = False) -> Any:
    """torch's question as it answers on CUDA: a headline and a reason, with their places in C++."""

    def can_use(_params: Any, debug: bool) -> bool:
        if debug:
            place = " (Triggered internally at /pytorch/aten/src/ATen/native/sdp.cpp:776.)"
            warnings.warn(f"Flash attention kernel not used because:{place}", stacklevel=1)
            warnings.warn(f"{text}{place}", stacklevel=1)
        return can

    return can_use


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> None:
    stride = "All fused kernels require the last dimension of the input to have stride 1."
    monkeypatch.setattr(cuda, "can_use_efficient_attention", saying(stride))
    monkeypatch.setattr(cuda, "can_use_flash_attention", saying("Attn_mask is not null."))
    monkeypatch.setattr(cuda, "can_use_cudnn_attention", saying(stride))


@pytest.mark.usefixtures("refusing")
def test_torch_s_reasons_without_headlines_and_places() -> None:
    mask = torch.zeros(4, 4, 2).permute(2, 0, 1)
    assert reasons_of(Q, Q, Q, attn_mask=mask) == (
        "efficient: All fused kernels require the last dimension of the input to have stride 1.",
        "flash: Attn_mask is not null.",
        "cuDNN: All fused kernels require the last dimension of the input to have stride 1.",
        "mask torch.float32, strides (1, 8, 2)",
    )


@pytest.mark.usefixtures("refusing")
def test_one_kernel_that_takes_it_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "can_use_cudnn_attention", saying("", can=True))
    assert reasons_of(Q, Q, Q) == ()


def test_every_call_is_looked_at_before_it_runs() -> None:
    seen: list[Reasons] = []

    def ask(query: torch.Tensor, *_: torch.Tensor, **more: Any) -> Reasons:
        return (f"{tuple(query.shape)}", *more)

    with watch_attention(seen.append, ask, device="cpu"), torch.no_grad():
        scaled_dot_product_attention(Q, Q, Q, is_causal=True)
        torch.ones(2).add(1)
    assert seen == [("(1, 2, 4, 8)", "is_causal")]


def test_on_a_cpu_nothing_is_asked_and_nothing_said() -> None:
    class Attention(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return scaled_dot_product_attention(x, x, x)

    model = nn.Sequential(Attention())
    work = count_work(model, lambda: model(Q), root="forward")
    assert all(row.unfused == () for row in work.rows)


def test_a_question_that_torch_does_not_take_stops_nothing() -> None:
    seen: list[Reasons] = []

    def ask(*_: Any, **__: Any) -> Reasons:
        raise RuntimeError("no such operand")

    with watch_attention(seen.append, ask, device="cpu"), torch.no_grad():
        assert scaled_dot_product_attention(Q, Q, Q).shape == Q.shape
    assert seen == [("torch could not be asked (no such operand)",)]
