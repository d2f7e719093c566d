"""Work inside compiled parts goes to the part: by hand, and nothing is lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from layerscope.account.compiled_regions import folded, region_of
from layerscope.records.work import CountedWork, WorkRow

PARTS = ("vision_model", "language_model", "language_model.encoder")


def row(layer: str, phase: str, flops: int, calls: int = 1) -> WorkRow:
    return WorkRow(
        layer=layer, phase=phase, calls=calls, flops=flops, bytes_self=2 * flops, operators=1,
        flops_by_dtype={"float16": flops}, memory_peak_bytes=flops,
    )  # fmt: skip


def work(*rows: WorkRow) -> CountedWork:
    return CountedWork(
        root="generate", rows=rows, parts=(), flops=sum(r.flops for r in rows), bytes_moved=0,
        uncounted=(), moved=(), views=0, decoder_steps=1, memory_peak_bytes=None, memory_method="",
    )  # fmt: skip


def test_the_innermost_part_holds_a_layer() -> None:
    assert region_of("language_model.encoder.block.0", PARTS) == "language_model.encoder"
    assert region_of("language_model.encoder", PARTS) == "language_model.encoder"
    assert region_of("language_model.decoder", PARTS) == "language_model"
    assert region_of("language_modelling", PARTS) is None
    assert region_of("generate", PARTS) is None


def test_by_hand() -> None:
    rows = (
        row("generate", "other", 1),
        row("vision_model.a", "vision", 10),
        row("vision_model.b.c", "vision", 20),
        row("language_model.shared", "encoder", 3),  # called from outside: it has a row of its own
        row("language_model.encoder.x", "encoder", 40),
        row("language_model.decoder", "prefill", 5),
        row("language_model.decoder", "decode", 7, calls=3),
        row("language_model", "decode", 2, calls=3),
    )
    there = [("language_model.shared", "encoder"), ("language_model", "decode")]
    found = folded(work(*rows), PARTS, there)
    assert {(r.layer, r.phase): (r.flops, r.calls) for r in found.rows} == {
        ("generate", "other"): (1, 1),
        ("vision_model", "vision"): (30, 0),
        ("language_model.shared", "encoder"): (3, 1),
        ("language_model.encoder", "encoder"): (40, 0),
        ("language_model", "prefill"): (5, 0),
        ("language_model", "decode"): (9, 3),
    }
    vision = found.of("vision_model", "vision")
    assert vision is not None
    assert vision.flops_by_dtype == {"float16": 30}
    assert vision.memory_peak_bytes == 20
    assert folded(work(*rows), (), there).rows == rows


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["generate", "vision_model.a.b", "language_model", "qformer.x", "lm"]),
            st.sampled_from(["vision", "decode"]),
            st.integers(0, 1000),
        ),
        unique_by=lambda item: item[:2],
    )
)
def test_nothing_is_lost(items: list[tuple[str, str, int]]) -> None:
    before = work(*(row(*item) for item in items))
    after = folded(before, PARTS, [])
    assert sum(r.flops for r in after.rows) == before.flops == after.flops
    assert sum(r.bytes_self for r in after.rows) == sum(r.bytes_self for r in before.rows)
