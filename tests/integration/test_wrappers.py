"""A wrapper around a model changes no phase, no group, no step and no sum of its account."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from integration.test_zoo import ZOO, by_hand
from support.small_model import SMALL_LLAMA, small_inputs, small_model
from support.wrappers import Wrapped, process_group, wrapped_in

import layerscope
from layerscope.core.errors import AccountingError
from layerscope.measure.flops import count_work
from layerscope.models.roles import model_and_wrappers, roles_of
from layerscope.records.tables import Account
from layerscope.runs.run import Run

KINDS = ["peft", "ddp", "data_parallel", "plain", "answering", "delegating", "both"]
MODELS = ["instructblip_t5", "instructblip_llama", "llava", "florence2"]
# The others are slow tests.
QUICK = [*((kind, "instructblip_t5") for kind in KINDS), ("peft", "llava"), ("ddp", "florence2")]
HOW: dict[str, Any] = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False}


def built(name: str, folder: Path) -> tuple[Any, dict[str, Any]]:
    if name.startswith("instructblip"):
        text = {"text": SMALL_LLAMA} if name.endswith("llama") else {}
        return small_model(folder, **text), small_inputs() | {"interpolate_pos_encoding": True}
    if name not in ZOO:
        pytest.skip("needs cases/zoo.py in ../shared")
    return ZOO[name]()


@pytest.fixture(scope="module", autouse=True)
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with process_group(tmp_path_factory.mktemp("group")):
        yield


def told(account: Account, prefix: str = "") -> dict[str, Any]:
    """Everything of an account that is no time, under the FQNs of the model itself.

    The model in a wrapper, and wrappers in wrappers, have rows without calls of their own: what they do
    is the model's, and stands in the row of the root. Parameters of the model itself stand there alone.
    """
    rows = {}
    for row in account.table.rows:
        if prefix.startswith(f"{row.layer}."):
            assert (row.calls, row.op_self_ns, row.cpu_self_ns) == (0, 0, 0)
        elif not row.is_bucket:
            params = row.params if row.layer != account.table.root else None
            rows[row.layer.removeprefix(prefix), row.phase] = (row.group, row.calls, params)
    operators = Counter[Any]()
    for one in account.operators:
        operators[one.layer.removeprefix(prefix), one.phase, one.operator] += one.calls
    return {"rows": rows, "operators": operators, "steps": [s.phase for s in account.steps]}


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        pytest.param(
            kind, name, marks=[] if (kind, name) in QUICK else pytest.mark.slow, id=f"{kind}-{name}"
        )
        for kind in KINDS
        for name in MODELS
    ],
)
def test_generate_in_a_wrapper(kind: str, name: str, tmp_path: Path) -> None:
    model, inputs = built(name, tmp_path)
    with torch.no_grad(), layerscope.capture(model) as alone:
        wanted = model.generate(**inputs, **HOW)
    wrapped = wrapped_in(kind, model)
    before = {fqn: dict(m.__dict__) for fqn, m in wrapped.module.named_modules()}
    with torch.no_grad(), layerscope.capture(wrapped.module, tmp_path / "t.json.gz") as window:
        found = wrapped.generate(**inputs, **HOW)
    assert torch.equal(found, wanted)
    for fqn, module in wrapped.module.named_modules():
        assert module.__dict__.keys() == before[fqn].keys(), fqn

    window.table.check()
    assert Run.open(tmp_path / "t.json.gz").account.table == window.table
    plain, now = told(alone.account), told(window.account, wrapped.prefix)
    assert now == plain
    assert now["steps"] == ["prefill", "decode", "decode", "decode"]


@pytest.mark.parametrize("kind", ["peft", "ddp", "data_parallel", "plain"])
def test_forward_in_a_wrapper(kind: str, tmp_path: Path) -> None:
    model, inputs = built("instructblip_llama", tmp_path)
    wrapped = wrapped_in(kind, model)

    def run(module: Any) -> Account:
        with torch.no_grad(), layerscope.capture(module) as window:
            module(**inputs)
        window.table.check()
        return window.account

    plain, now = told(run(model)), told(run(wrapped.module), wrapped.prefix)
    for one in (plain, now):  # what a wrapper does beside calling the model is of the root's row
        one["operators"] = {k: n for k, n in one["operators"].items() if k[0] != "forward"}
    assert now == plain
    assert now["steps"] == ["prefill"]


@pytest.mark.parametrize("name", ["instructblip_t5", "llava"])
@pytest.mark.parametrize("kind", ["peft", "plain"])
def test_counted_work_in_a_wrapper(kind: str, name: str, tmp_path: Path) -> None:
    model, inputs = built(name, tmp_path)
    wrapped = wrapped_in(kind, model)

    def counted(module: Any, generate: Any, prefix: str) -> Any:
        with torch.no_grad():
            work = count_work(module, lambda: generate(**inputs, **HOW))
        rows = {
            (row.layer.removeprefix(prefix), row.phase): (row.flops, row.calls)
            for row in work.rows
            if not prefix.startswith(f"{row.layer}.")
        }
        parts = {(p.part, p.step): (p.flops, p.weight_bytes) for p in work.parts}
        return rows, parts, work.decoder_steps

    plain = counted(model, model.generate, "")
    now = counted(wrapped.module, wrapped.generate, wrapped.prefix)
    assert now == plain
    assert now[2] == 4


@pytest.mark.parametrize("kind", KINDS)
def test_roles_and_the_model_itself_are_found_in_a_wrapper(kind: str, tmp_path: Path) -> None:
    model, _ = built("instructblip_t5", tmp_path)
    plain, wrapped = roles_of(model), wrapped_in(kind, model)
    assert roles_of(wrapped.module) == {wrapped.prefix + fqn: role for fqn, role in plain.items()}
    chain = model_and_wrappers(wrapped.module)
    assert chain[-1] == wrapped.prefix.removesuffix(".")
    names = [fqn for fqn, _ in wrapped.module.named_modules()]
    assert [*chain] == [
        "",
        *(fqn for fqn in names if fqn and f"{chain[-1]}.".startswith(f"{fqn}.")),
    ]
    assert model_and_wrappers(model) == model_and_wrappers(torch.nn.Linear(1, 1)) == ("",)


def test_expected_calls_hold_in_a_wrapper(tmp_path: Path) -> None:
    model, inputs = built("instructblip_t5", tmp_path)
    for wrapped in (
        Wrapped(model, "", lambda **k: model.generate(**k)),
        wrapped_in("peft", model),
    ):
        with torch.no_grad(), layerscope.capture(wrapped.module) as window:
            wrapped.generate(**inputs, **HOW)
            window.steps = 4
        assert window.table.expected_calls
        assert f"{wrapped.prefix}language_model.decoder" in window.table.expected_calls
        window.table.check()
        with torch.no_grad(), layerscope.capture(wrapped.module) as window:
            wrapped.generate(**inputs, **HOW)
            window.steps = 5
        with pytest.raises(AccountingError, match="the structure demands"):
            window.table.check()


class Composite(torch.nn.Module):
    """A model of someone's own, of which a language model is a part."""

    def __init__(self, language: Any) -> None:
        super().__init__()
        self.language = language
        self.value = torch.nn.Linear(64, 1)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.value(self.language(ids).logits)


def test_a_model_that_is_a_part_of_another_is_not_wrapped(tmp_path: Path) -> None:
    """It keeps a row of its own, and what stands beside it is no projection."""
    model, _ = built("instructblip_llama", tmp_path)
    composite = Composite(model.language_model)
    assert model_and_wrappers(composite) == ("",)
    with torch.no_grad(), layerscope.capture(composite) as window:
        composite(torch.ones(1, 3, dtype=torch.long))
    window.table.check()
    calls = {(row.layer, row.phase): row.calls for row in window.table.rows if row.calls}
    assert calls["forward", "other"] == 1
    assert calls["language", "prefill"] == 1
    assert calls["language.model", "prefill"] == 1

    beside = torch.nn.Module()
    beside.model, beside.value = model, torch.nn.Linear(1, 1)
    wanted = {f"model.{fqn}": role for fqn, role in roles_of(model).items()}
    assert roles_of(beside) == wanted


@pytest.mark.skipif(not ZOO, reason="needs cases/zoo.py in ../shared")
@pytest.mark.parametrize("kind", ["peft", "delegating"])
@pytest.mark.filterwarnings("ignore:`past_key_values` is deprecated:FutureWarning")
def test_a_loop_of_ones_own_in_a_wrapper(kind: str) -> None:
    model, inputs = ZOO["llava"]()
    wrapped = wrapped_in(kind, model)
    found = []
    for module, prefix in ((model, ""), (wrapped.module, wrapped.prefix)):
        with torch.no_grad(), layerscope.capture(module) as window:
            by_hand(module, inputs)
            by_hand(module, inputs)
        window.table.check()
        found.append(told(window.account, prefix))
    assert found[0] == found[1]
    assert found[1]["steps"] == ["prefill", "decode", "decode", "decode"] * 2
