"""Two real H200 traces of the XL model, to the nanosecond."""

from __future__ import annotations

from collections import Counter

from support.shared import shared

from layerscope.account.account import account_of


def test_xl_batch_16_eager() -> None:
    account = account_of(shared("traces/xl_b16_eager_h200.trace.json.gz"))
    table = account.table
    table.check()
    assert (table.device_difference_ns, table.host_difference_ns) == (0, 0)
    assert table.whole.device_events == 33_881
    assert table.whole.device_sum_ns == 210_096_345
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    phases: Counter[str] = Counter()
    for row in table.rows:
        own[row.layer] += row.gpu_self_ns or 0
        total[row.layer] += row.gpu_total_ns or 0
        phases[row.phase] += row.gpu_self_ns or 0
    assert total["vision_model"] == 15_514_679
    assert own["vision_model.embeddings.patch_embedding"] == 253_056
    assert total["qformer"] == 3_009_873
    assert total["language_model.encoder"] == 82_101_975
    assert total["language_model.decoder"] == 107_309_857
    assert total["language_model.lm_head"] == 705_793
    assert own["generate"] == 1_432_888
    assert (phases["prefill"], phases["decode"]) == (9_863_720, 98_151_930)
    assert sum(own.values()) == 210_096_345
    assert len(account.steps) == 20
    assert table.warnings == ()


def test_xl_batch_1_cudagraphs() -> None:
    table = account_of(shared("traces/xl_b1_cudagraphs_h200.trace.json.gz")).table
    table.check()
    assert table.whole.device_events == 15_973
    assert table.whole.device_sum_ns == 57_640_508
    assert table.whole.device_active_ns == 57_639_964
    assert {row.layer: row.gpu_self_ns for row in table.rows} == {"generate": 57_640_508}
