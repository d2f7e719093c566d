"""The real `layerscope flops` on the bundled model; planted differences through its function."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from rich.console import Console
from support.command import layerscope

from layerscope.config.resolve import resolve
from layerscope.core.errors import AccountingError
from layerscope.measure.flops import cross_check
from layerscope.models.closed_form import FormFlops
from layerscope.models.families.instructblip import CLOSED_FORM
from layerscope.records.cross_check import CrossChecked
from layerscope.report.progress import ProgressReporter
from layerscope.run.flops import check_flops, require_equal

CHECKS = [
    "decoder steps",
    "sum over layers",
    "torch FlopCounterMode",
    "closed form",
    "fvcore x 2, vision_model",
    "fvcore x 2, qformer",
    "fvcore x 2, language_model.encoder",
    "fvcore x 2, language_model",
]
QUIET = ProgressReporter(Console(file=StringIO()), quiet=True)


def _tiny(flops: Callable[..., FormFlops] = CLOSED_FORM.flops, **said: Any) -> CrossChecked:
    run = {
        "model": "tiny", "weights": "random", "dataset": "synthetic-random", "device": "cpu",
        "batch_size": 1, "samples": 1, "image_size": 56, "max_input_len": 4, "max_new_tokens": 2,
    }  # fmt: skip
    resolved = resolve(run | said, cuda=False)
    form = replace(CLOSED_FORM, flops=flops)
    return check_flops(resolved, QUIET, lambda line: None, with_fvcore=False, form=form)


def test_the_command_finds_every_check_equal_to_the_last_digit() -> None:
    done = layerscope(
        "flops", "--model", "tiny", "--device", "cpu", "--batch", "2", "--max-new-tokens", "4",
        "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert [check["name"] for check in found["checks"]] == CHECKS
    for check in found["checks"]:
        assert (check["result"], check["difference"]) == ("equal", 0), check
        assert check["ours"] > 0
    assert found["batch_size"] == 2
    assert found["decoder_steps"] == max(found["new_tokens"]) <= 4
    assert sum(part["flops"] for part in found["parts"]) == found["flops"] == 2 * found["macs"]
    assert {"operator", "calls"} == set(found["uncounted"][0])


def test_a_wrong_value_is_refused_before_torch_is_imported() -> None:
    done = layerscope("flops", "--batch", "0", timeout=30)
    assert done.returncode == 2
    assert "`batch_size` is 0" in done.stderr
    assert done.stdout == ""


def test_a_wrong_closed_form_ends_with_5_and_names_the_difference() -> None:
    def wrong(*run: Any) -> FormFlops:
        form = CLOSED_FORM.flops(*run)
        return replace(form, parts={**form.parts, "projection": form.parts["projection"] + 2})

    require_equal(_tiny())
    checked = _tiny(wrong)
    assert [check.name for check in checked.differing] == ["closed form"]
    with pytest.raises(
        AccountingError, match=r"closed form: .*difference -2 \(projection: ours "
    ) as e:
        require_equal(checked)
    assert e.value.exit_code == 5


def test_a_check_that_cannot_run_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*run: Any) -> FormFlops:
        raise ZeroDivisionError("no patches")

    def uncatchable(*_: Any) -> None:
        raise AttributeError("no hooks here\nand more")

    checks = {check.name: check for check in _tiny(broken).checks}
    assert checks["closed form"].reason == "ZeroDivisionError: no patches"
    assert checks["torch FlopCounterMode"].ran
    monkeypatch.setattr(cross_check, "capture_calls", uncatchable)
    checked = _tiny()
    assert [check.ran for check in checked.checks] == [True, True, True, False]
    assert "AttributeError while the parts' inputs were taken" in checked.checks[-1].reason
    require_equal(checked)


def test_beams_and_an_optimization_that_bypasses_the_counter() -> None:
    checked = _tiny(optimization="compile", num_beams=2)
    require_equal(checked)
    assert all(check.ran for check in checked.checks)
    assert checked.config.optimization == "eager"
    assert any("eager instead of compile" in choice for choice in checked.choices)


def test_runs_of_unequal_length_are_told_apart_from_wrong_counts() -> None:
    from layerscope.run.flops import steps_check
    from layerscope.workload.generation import Generated

    checked = _tiny()
    first = Generated(tokens=None, new_tokens=(2,), decoder_steps=2)  # type: ignore[arg-type]
    (check,) = steps_check(checked.work, [first, replace(first, decoder_steps=1)])
    assert check.failed
    assert check.unequal == ("repetition 1: 1 steps",)
