"""The screen and the JSON of `layerscope flops`, from checks written by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from layerscope.records import BatchRecord, Environment, ModelRecord, RunConfig
from layerscope.records.cross_check import CrossChecked, difference_text
from layerscope.records.work import Check, CountedWork, OperatorCount, PartWork
from layerscope.report.flops import counts, flops_json, render_flops

EQUAL = Check(name="sum over layers", ours=3_000, theirs=3_000, compared=9, notes=("a note",))
DIFFERENT = Check(
    name="closed form",
    ours=3_000,
    theirs=3_400,
    compared=3,
    unequal=("vision: ours 1,000, theirs 1,400",),
    notes=("written from sizes",),
)
ABSENT = Check(
    name="fvcore x 2, qformer", ours=None, theirs=None, compared=0, reason="fvcore is missing"
)


def _part(part: str, phase: str, step: int, flops: int) -> PartWork:
    return PartWork(
        part=part,
        phase=phase,
        step=step,
        flops=flops,
        flops_by_dtype={"float32": flops},
        weight_bytes_by_dtype={},
        input_bytes=0,
    )


def _checked(*checks: Check) -> CrossChecked:
    work = CountedWork(
        root="generate",
        rows=(),
        parts=(
            _part("other", "other", 0, 0),
            _part("vision", "vision", 0, 1_000),
            _part("decoder", "prefill", 1, 1_200),
            _part("decoder", "decode", 2, 400),
            _part("decoder", "decode", 3, 400),
        ),
        flops=3_000,
        bytes_moved=7,
        uncounted=(OperatorCount(operator="aten.mul.Tensor", calls=1_234, bytes_moved=7),),
        moved=(
            OperatorCount(operator="aten.cat.default", calls=5, bytes_moved=7),
            OperatorCount(operator="aten.clone.default", calls=2, bytes_moved=7),
        ),
        views=40,
        decoder_steps=3,
        memory_peak_bytes=None,
        memory_method="none",
    )
    return CrossChecked(
        config=RunConfig(model="m", dataset="synthetic-random", device="cpu", dtype="fp32"),
        environment=Environment(
            layerscope="0",
            python="3",
            platform="p",
            cpu_model="A CPU",
            cpu_count=2,
            memory_bytes=None,
            torch="2.13",
            torch_threads=1,
            packages={},
        ),
        model=ModelRecord(
            name="models/[bold]m\x1b[2J",
            source="folder",
            cls="M",
            weights="random, seed 0",
            trained=False,
            params=12_345,
            param_bytes=49_380,
            dtypes={"float32": 12_345},
            attention={"": "sdpa"},
            modules=(),
        ),
        batch=BatchRecord(
            index=0,
            sample_ids=("s0", "s1"),
            pixel_values_shape=(2, 3, 224, 224),
            text_lengths=(4, 5),
            padded_text_length=5,
            qformer_lengths=(4, 5),
            padded_qformer_length=6,
        ),
        new_tokens=(3, 3),
        choices=("3 new tokens forced",),
        work=work,
        checks=checks,
    )


def _screen(checked: CrossChecked, **options: object) -> str:
    out = StringIO()
    render_flops(checked, Console(file=out, width=60, **options))  # type: ignore[arg-type]
    return out.getvalue()


def test_the_whole_screen(golden: Callable[[str, str], None]) -> None:
    golden("flops", _screen(_checked(EQUAL, DIFFERENT, ABSENT)))


def test_rows_by_hand() -> None:
    rows = [line.split() for line in _screen(_checked(EQUAL, DIFFERENT, ABSENT)).splitlines()]
    assert ["closed", "form", "3", "3,000", "3,400", "-400", "differs"] in rows
    assert ["fvcore", "x", "2,", "qformer", "-", "-", "-", "-", "not", "run"] in rows
    assert ["decoder", "decode", "2", "800", "400", "26.67", "%"] in rows
    assert ["all", "3,000", "1,500", "100.00", "%"] in rows
    assert ["aten.mul.Tensor", "1,234"] in rows
    assert not any(row[:1] == ["other"] for row in rows)


def test_a_name_cannot_drive_the_terminal() -> None:
    screen = _screen(_checked(EQUAL), force_terminal=True)
    assert "models/[bold]m\\x1b[2J" in screen
    assert "\x1b[2J" not in screen


@pytest.mark.parametrize(
    ("checks", "said"),
    [
        ((EQUAL, EQUAL), "2 checks: 2 equal"),
        ((EQUAL, DIFFERENT, ABSENT), "3 checks: 1 equal, 1 differs, 1 not run"),
    ],
)
def test_what_did_not_run_is_not_called_equal(checks: tuple[Check, ...], said: str) -> None:
    assert counts(checks) == said
    assert _checked(*checks).differing == tuple(c for c in checks if c is DIFFERENT)


def test_a_difference_in_one_line() -> None:
    assert difference_text(DIFFERENT) == (
        "closed form: ours 3,000, theirs 3,400, difference -400 (vision: ours 1,000, theirs 1,400)"
    )
    assert difference_text(replace(DIFFERENT, unequal=())).endswith("difference -400")


def test_json_says_the_same() -> None:
    found = json.loads(flops_json(_checked(EQUAL, DIFFERENT, ABSENT)))
    assert (found["flops"], found["macs"], found["batch_size"]) == (3_000, 1_500, 2)
    assert [check["result"] for check in found["checks"]] == ["equal", "differs", "not run"]
    assert [check["difference"] for check in found["checks"]] == [0, -400, None]
    assert found["differing"] == ["closed form"]
    assert sum(part["flops"] for part in found["parts"]) == found["flops"]
    assert found["uncounted"] == [{"operator": "aten.mul.Tensor", "calls": 1_234}]
