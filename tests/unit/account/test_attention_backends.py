"""Which attention ran: by hand, and on the shared trace of an H200."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from support.shared import shared

from layerscope.account.account import account_of
from layerscope.account.attention_backends import attention_backends
from layerscope.records.tables import AttentionRow, KernelRow, OperatorRow
from layerscope.report.attention import attention_line, write_attention_csv


def operator(name: str, layer: str, calls: int) -> OperatorRow:
    return OperatorRow(name, layer, "vision", calls, 10, 20)


def kernel(name: str, layer: str, count: int) -> KernelRow:
    return KernelRow(name, layer, "vision", count, 100, "graph")


FLASH = "void pytorch_flash::flash_fwd_splitkv_kernel<Flash_fwd_kernel_traits<64, 64> >"
COMBINE = "void pytorch_flash::flash_fwd_splitkv_combine_kernel<Flash_fwd_kernel_traits<64> >"


def test_operators_say_it_and_kernels_where_no_operator_ran() -> None:
    found = attention_backends(
        [
            operator("aten::scaled_dot_product_attention", "a", 3),
            operator("aten::_scaled_dot_product_flash_attention", "a", 2),
            operator("aten::_scaled_dot_product_attention_math", "a", 1),
            operator("aten::bmm", "b", 2),
        ],
        [
            kernel(FLASH, "a", 4),  # told by its operators already
            kernel(FLASH, "replayed", 5),
            kernel(COMBINE, "replayed", 5),  # the reduction of the same calls
            kernel("cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16", "replayed2", 7),
            kernel("fmha_cutlassF_f16_aligned_64x64_rf_sm80", "replayed3", 1),
            kernel("sm90_xmma_gemm_f16f16", "b", 2),
        ],
    )
    assert found == (
        AttentionRow("a", "vision", "flash", 2),
        AttentionRow("a", "vision", "math", 1),
        AttentionRow("replayed", "vision", "flash", 5),
        AttentionRow("replayed2", "vision", "cuDNN", 7),
        AttentionRow("replayed3", "vision", "efficient", 1),
    )


def test_the_shared_trace() -> None:
    """537 calls of cuDNN and 504 of the math kernel, as counted in the file's text."""
    account = account_of(shared("traces/xl_b16_eager_h200.trace.json.gz"))
    assert attention_line(account) == (
        "vision.attention (vision) cuDNN in 39 layers, 39 calls; "
        "qformer.cross_attention (qformer) cuDNN in 6 layers, 6 calls; "
        "qformer.self_attention (qformer) cuDNN in 12 layers, 12 calls; "
        "encoder.attention (encoder) math in 24 layers, 24 calls; "
        "decoder.cross_attention (prefill) cuDNN in 24 layers, 24 calls; "
        "decoder.self_attention (prefill) math in 24 layers, 24 calls; "
        "decoder.cross_attention (decode) cuDNN in 24 layers, 456 calls; "
        "decoder.self_attention (decode) math in 24 layers, 456 calls"
    )
    assert attention_line(replace(account, attention=())) == ""


def test_the_file(tmp_path: Path) -> None:
    write_attention_csv((AttentionRow("a,b", "vision", "math", 2),), tmp_path / "attention.csv")
    assert (tmp_path / "attention.csv").read_text() == (
        'layer,phase,backend,calls\n"a,b",vision,math,2\n'
    )
