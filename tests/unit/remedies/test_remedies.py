"""Each remedy's record: rules that exist, plain lines that run, predictions by hand arithmetic."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.small_model import small_inputs, small_model

from layerscope.core import listing
from layerscope.core.remedy import Remedy, closed, remedies
from layerscope.findings import Evidence
from layerscope.records.finding import Saving
from layerscope.records.layer_table import LayerRow, LayerTable, Whole
from layerscope.records.tables import Account
from layerscope.records.work import Ceilings
from layerscope.runs.run import Run

ROOT = Path(__file__).resolve().parents[3]
NAMES = tuple(remedies())
MS = 1_000_000


def rules() -> set[str]:
    """The ids of findings as they stand in the rules, without what follows for each place."""
    source = "".join(p.read_text() for p in (ROOT / "layerscope" / "findings").glob("*.py"))
    return {name.strip("-") for name in re.findall(r'\b(?:id=f?|RULE = )"([a-z0-9-]+)', source)}


@pytest.mark.parametrize("name", NAMES)
def test_a_remedy_names_rules_and_remedies_that_exist(name: str) -> None:
    remedy = remedies()[name]
    assert set(remedy.helps) <= rules()
    assert {*remedy.goes_with, *remedy.includes, *remedy.needs, *remedy.contradicts} <= {*NAMES}
    assert remedy.does
    assert set(closed([name])) >= {name, *remedy.includes}


def test_every_pair_that_the_older_options_allowed_is_known() -> None:
    older = [remedy for remedy in remedies().values() if remedy.aliases]
    assert len(older) >= 5
    for one, other in itertools.combinations(older, 2):
        assert other.name in one.goes_with or one.name in other.goes_with, (one.name, other.name)


def test_knowing_every_remedy_loads_no_torch_and_no_numpy() -> None:
    code = (
        "import sys; from layerscope.core.remedy import remedies; assert len(remedies()) >= 5\n"
        "bad = {'torch', 'transformers', 'numpy'} & set(sys.modules); assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return small_model(tmp_path_factory.mktemp("small"))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "flash"])
def test_the_plain_lines_run_and_give_the_same_tokens(name: str, model: Any) -> None:
    """Dynamo is told to run eagerly what is compiled: the lines are ours, inductor is torch's."""
    inputs = {**small_inputs(), "max_new_tokens": 3, "do_sample": False}
    expected = model.generate(**inputs)
    precision = torch.get_float32_matmul_precision()
    deterministic = torch.are_deterministic_algorithms_enabled()
    known: dict[str, Any] = {"torch": torch, "model": model, "inputs": inputs}
    try:
        with torch.compiler.set_stance("force_eager"):
            exec(compile(remedies()[name].snippet, name, "exec"), known)
    finally:
        torch.set_float32_matmul_precision(precision)
        torch.use_deterministic_algorithms(deterministic)
        for module in model.modules():
            module._compiled_call_impl = None
    assert torch.equal(known["tokens"], expected)
    assert "layerscope" not in remedies()[name].snippet


def test_the_plain_lines_for_flash_ask_each_part_that_declares_it(model: Any) -> None:
    asked: list[dict[str, str]] = []

    class Asked:
        set_attn_implementation = asked.append
        generate = staticmethod(lambda **_: None)

    exec(compile(remedies()["flash"].snippet, "flash", "exec"), {"model": Asked, "inputs": {}})
    assert asked == [dict.fromkeys(("vision_config", "qformer_config"), "flash_attention_2")]
    assert asked[0].keys() <= model.config.sub_configs.keys()


def test_a_file_that_declares_nothing_or_another_name_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "some_remedies"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "silent.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(TypeError, match=r"some_remedies\.silent: declares no REMEDY"):
        listing.declared_in("some_remedies", "REMEDY")
    other: Any = {"one": remedies()["tf32"]}
    monkeypatch.setattr("layerscope.core.remedy.declared_in", lambda *_: other)
    with pytest.raises(TypeError, match=r"layerscope\.remedies\.one: declares 'tf32'"):
        remedies.__wrapped__()


# ---- predictions


def predicted(name: str, evidence: Evidence) -> Saving:
    remedy: Remedy = remedies()[name]
    return remedy.predict(evidence)


def test_what_cannot_be_predicted_is_absent_with_the_reason() -> None:
    bare = Evidence(account=an_account(()))
    for name in NAMES:
        saving = predicted(name, bare)
        assert saving.saved_ns is None, name
        assert len(saving.basis) > 10, name


def an_account(rows: tuple[LayerRow, ...]) -> Account:
    whole = Whole(
        device_events=1,
        device_sum_ns=sum(row.gpu_self_ns or 0 for row in rows),
        device_active_ns=None,
        window_span_ns=None,
        host_window_ns=0,
    )
    table = LayerTable(rows=rows, root="generate", whole=whole)
    return Account(table=table, kernels=(), operators=(), steps=(), source="by hand")


def test_cuda_graphs_save_about_the_waiting_of_the_unprofiled_batch() -> None:
    """Of 250 ms unprofiled the device works 100: 150 remain, whatever the profiled gaps are."""
    run = Run.open(ROOT / "docs" / "results" / "h200" / "xl-b1-eager")
    assert run.record is not None
    assert run.record.trace is not None
    trace = replace(run.record.trace, unprofiled_ns=250 * MS)
    idle: Any = type("Idle", (), {"active_ns": 100 * MS, "devices": 1})
    evidence = Evidence(
        account=an_account(()), idle=idle, record=replace(run.record, trace=trace)
    )  # fmt: skip
    saving = predicted("cudagraphs", evidence)
    assert (saving.saved_ns, saving.whole_ns, saving.of) == (150 * MS, 250 * MS, "latency")
    assert not saving.at_most  # its kernels are faster, too
    idle.devices = 2
    assert "on one device" in predicted("cudagraphs", evidence).basis


def test_tf32_predicts_nothing_for_a_run_of_fp32() -> None:
    """Products without parameters, as in attention, would gain, too: the sum were no bound."""
    run = Run.open(ROOT / "traces" / "sample-tiny-b2")
    assert run.record is not None
    assert run.record.config.dtype == "fp32"
    ceilings = Ceilings(
        key="k", device="d", measured_utc="", copy_bytes_per_s=1e12, matmul_shape={}, method="",
        matmul_flops_per_s={"float32": 1e12, "tf32": 8e12},
    )  # fmt: skip
    evidence = Evidence(account=an_account(()), record=run.record, ceilings=ceilings)
    saving = predicted("tf32", evidence)
    assert saving.saved_ns is None
    assert "fp16 or bf16 run alone" in saving.basis
