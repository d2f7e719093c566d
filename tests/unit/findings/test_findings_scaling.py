"""Two batch sizes in, exponents out: doubling with the batch is 1, not noticing it is 0."""

from __future__ import annotations

import pytest

from layerscope.core.errors import UsageError
from layerscope.findings import Evidence, scaling, scaling_finding, scaling_of
from layerscope.records import LayerRow, LayerTable, Whole
from layerscope.records.tables import Account


def account_of_groups(**times_ns: int) -> Account:
    rows = tuple(
        LayerRow(
            phase="decode", layer=group, module="", group=group.replace("_", "."), depth=1, calls=1,
            kernels=1, gpu_self_ns=ns, gpu_total_ns=ns, cpu_self_ns=0, cpu_total_ns=0, params=None,
        )
        for group, ns in times_ns.items()
    )  # fmt: skip
    whole = Whole(
        device_events=len(rows),
        device_sum_ns=sum(times_ns.values()),
        device_active_ns=None,
        window_span_ns=None,
        host_window_ns=None,
    )
    return Account(
        table=LayerTable(rows=rows, root="generate", whole=whole),
        kernels=(), operators=(), steps=(), source="run",
    )  # fmt: skip


def test_exponents_by_hand() -> None:
    """Batch 1 to 16: sixteenfold is 1, fourfold is 0.5, the same is 0, and nothing has none."""
    base = account_of_groups(vision_mlp=1_000_000, encoder_ffn=2_000_000, decoder_ffn=3_000_000)
    other = account_of_groups(
        vision_mlp=16_000_000, encoder_ffn=8_000_000, decoder_ffn=3_000_000, projection=500
    )
    found = scaling(base, other, base_batch=1, other_batch=16)
    exponents = {group.group: group.exponent for group in found.groups}
    assert exponents == {
        "vision.mlp": pytest.approx(1.0),
        "encoder.ffn": pytest.approx(0.5),
        "decoder.ffn": pytest.approx(0.0),
        "projection": None,
    }
    assert next(iter(exponents)) == "vision.mlp"
    assert (found.total.base_ns, found.total.other_ns) == (6_000_000, 27_000_500)
    finding = scaling_finding(found)
    assert finding.sentence == (
        "From batch 1 to 16 the layers' time goes from 6.00 ms to 27.0 ms (exponent 0.54). It "
        "follows the batch nearly in proportion: vision.mlp 1.00; in between: encoder.ffn 0.50; "
        "hardly at all: decoder.ffn 0.00."
    )
    assert "larger --batch" in finding.try_next


def test_the_direction_does_not_matter() -> None:
    small, large = account_of_groups(a=100), account_of_groups(a=300)
    up = scaling(small, large, base_batch=2, other_batch=8).groups[0].exponent
    down = scaling(large, small, base_batch=8, other_batch=2).groups[0].exponent
    assert up == pytest.approx(0.7925, abs=1e-4)  # log 3 / log 4
    assert down == pytest.approx(up)


def test_all_in_proportion_leaves_nothing_to_try() -> None:
    found = scaling(account_of_groups(a=1), account_of_groups(a=2), base_batch=4, other_batch=8)
    assert scaling_finding(found).try_next == ""


def test_one_batch_size_has_no_exponent() -> None:
    one = account_of_groups(a=1)
    with pytest.raises(UsageError, match="two runs at different ones"):
        scaling(one, one, base_batch=4, other_batch=4)
    with pytest.raises(UsageError, match="its size is unknown"):
        scaling_of(Evidence(account=one), Evidence(account=one))
