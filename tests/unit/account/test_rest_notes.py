"""What is in `other` is said from a tenth of the time on: hand arithmetic, and a real trace."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from support.shared import shared
from unit.findings.test_findings import row

from layerscope.account.account import account, work_out_known
from layerscope.account.rest_notes import rest_notes
from layerscope.core.roles import Roles
from layerscope.records import LayerRow
from layerscope.trace.columns import read_trace


def said(rows: Sequence[LayerRow], *, has_device: bool = True, known: bool = True) -> list[str]:
    return list(rest_notes(rows, "generate", has_device=has_device, roles_known=known))


def test_blocks_of_a_stack_are_one_and_the_rest_is_counted() -> None:
    rows = [
        row("generate", "other", 12, module="LlavaForConditionalGeneration"),
        row("model.layers.0.router", "decode", 5, module="Router"),
        row("model.layers.1.router", "decode", 7, module="Router"),
        row("model", "prefill", 0.4, module="LlavaModel"),
        row("model.layers.0.mlp", "decode", 75, group="decoder.ffn"),
        row("(outside model)", "other", 0.6, calls=0),
    ]
    assert said(rows) == [
        "group other is 24 % of device time: generate itself, outside its modules 12 %, "
        "Router (model.layers.*.router) 12 %, 1 more 0.40 %",
        "phase other is 12 % of device time: generate itself, outside its modules 12 %",
    ]


@pytest.mark.parametrize(("rest", "notes"), [(10.0, 0), (10.1, 1)])
def test_a_tenth_is_not_yet_much(rest: float, notes: int) -> None:
    rows = [row("model", "decode", rest), row("m.mlp", "decode", 100 - rest, group="decoder.ffn")]
    assert len(said(rows)) == notes


def test_without_a_device_it_is_operator_time() -> None:
    rows = [
        row("a", "forward", 0, module="Linear", gpu_self_ns=None, op_self_ns=900),
        row(
            "b", "forward", 0, module="GELU", gpu_self_ns=None, op_self_ns=100, group="decoder.ffn"
        ),
    ]
    assert said(rows, has_device=False, known=False) == [
        "group other is 90 % of operator time (the model does not say what its modules are for): "
        "Linear (a) 90 %"
    ]


def test_nothing_measured_is_no_share() -> None:
    assert said([row("a", "forward", 0)]) == []


def test_other_is_small_in_a_model_at_work() -> None:
    """Qwen2.5-VL's shape on an H100: 190.5 ms of device time, 2.5 % of it in the group `other`."""
    columns = read_trace(shared("traces/qwen2_5_vl_b4_h100.trace.json.gz"))
    roles: Roles = {
        "model.visual": "vision",
        "model.language_model": "decoder",
        "lm_head": "head",
    }
    found = account(work_out_known(columns, roles=roles), source="by hand")
    found.table.check()
    whole = found.table.whole.device_sum_ns or 0
    rest = sum(r.gpu_self_ns or 0 for r in found.table.rows if r.group == "other")
    assert round(whole / 1e6, 3) == 190.514
    assert 0 < rest < 0.03 * whole
    assert not [note for note in found.table.notes if "other is" in note]
    assert [step.phase for step in found.steps] == ["prefill", *["decode"] * 9]
