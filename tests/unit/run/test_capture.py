"""`layerscope.capture` around code that is not ours: the right account, or one clear error."""

from __future__ import annotations

import asyncio
import copy
import functools
import gc
import io
import json
import multiprocessing
import os
import pickle
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import layerscope
from layerscope.core.errors import AccountingError, EnvironmentProblem, LayerscopeError, UsageError
from layerscope.core.vocabulary import OUTSIDE_MODEL
from layerscope.run.capture import Capture
from layerscope.runs.export import export_perfetto, export_tb_profiler
from layerscope.runs.run import Run
from layerscope.trace.raw import RawTrace, text

X = torch.ones(2, 8)
ONCE = {"forward": 1, "0": 1, "1": 1, "2": 1}


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8)).eval()


def calls(cap: Capture) -> dict[str, int]:
    """Checked, and without the buckets."""
    cap.table.check()
    found: Counter[str] = Counter()
    for row in cap.table.rows:
        if not row.is_bucket:
            found[row.layer] += row.calls
    return dict(found)


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    limit = sys.getrecursionlimit()
    yield
    assert "__reduce_ex__" not in nn.Module.__dict__
    assert not torch.autograd.profiler._is_profiler_enabled
    assert sys.getrecursionlimit() == limit


# ---- one session a process ------------------------------------------------------------------------


def test_a_capture_inside_a_capture_is_refused_and_the_outer_one_goes_on() -> None:
    model = net()
    with layerscope.capture(model) as cap:
        with (
            pytest.raises(EnvironmentProblem, match="a capture is running"),
            layerscope.capture(model),
        ):
            pytest.fail("the block must not run")
        model(X)
    assert calls(cap) == ONCE


def test_two_threads_that_capture_at_once_give_one_account_and_one_line() -> None:
    began, ended, seen = threading.Event(), threading.Event(), []

    def first() -> None:
        model = net()
        with layerscope.capture(model) as cap:
            began.set()
            ended.wait(10)
            model(X)
        seen.append(calls(cap))

    thread = threading.Thread(target=first)
    thread.start()
    began.wait(10)
    with pytest.raises(EnvironmentProblem, match="a capture is running"), layerscope.capture(net()):
        pass
    ended.set()
    thread.join()
    assert seen == [ONCE]


@pytest.mark.parametrize("schedule", [None, torch.profiler.schedule(wait=0, warmup=1, active=1)])
def test_beside_the_users_profiler_a_capture_is_refused_and_theirs_stays_whole(
    schedule: Any,
) -> None:
    model = net()
    with torch.profiler.profile(schedule=schedule) as theirs:
        with pytest.raises(EnvironmentProblem, match="another profiler"), layerscope.capture(model):
            pytest.fail("the block must not run")
        theirs.step()
        model(X)
    assert "forward" not in model.__dict__
    assert any(event.name == "aten::linear" for event in theirs.events())


def test_beside_autograds_profiler_a_capture_is_refused() -> None:
    with (
        torch.autograd.profiler.profile(),
        pytest.raises(EnvironmentProblem, match="another profiler records"),
        layerscope.capture(net()),
    ):
        pass


@pytest.mark.parametrize("outlasts", [False, True])
def test_a_profiler_that_starts_inside_keeps_its_events_and_the_capture_says_so(
    outlasts: bool, tmp_path: Path
) -> None:
    model = net()
    theirs = torch.profiler.profile()
    cap = layerscope.capture(model)

    def start(*_: object) -> None:  # between two layers, with their caller's range open
        theirs.__enter__()  # type: ignore[no-untyped-call]

    def block() -> None:
        with cap:
            model[0].register_forward_hook(start)
            model(X)
            if not outlasts:
                theirs.__exit__(None, None, None)

    with pytest.raises(EnvironmentProblem, match="another one took it over"):
        block()
    if outlasts:
        theirs.__exit__(None, None, None)
    assert any(event.name == "aten::linear" for event in theirs.events())
    theirs.export_chrome_trace(str(tmp_path / "theirs.json"))
    with pytest.raises(LayerscopeError, match="no trace"):
        _ = cap.table
    gc.collect()
    again = net()
    with layerscope.capture(again) as after:
        again(X)
    assert calls(after) == ONCE


def test_a_block_may_end_on_another_thread() -> None:
    model = net()
    cap = layerscope.capture(model)
    cap.__enter__()
    model(X)
    thread = threading.Thread(target=cap.__exit__, args=(None, None, None))
    thread.start()
    thread.join()
    assert calls(cap) == ONCE


# ---- every call, whoever makes it -----------------------------------------------------------------


def test_calls_of_every_thread_have_rows_and_each_thread_adds_up() -> None:
    model = net()
    with ThreadPoolExecutor(2) as pool:
        barrier = threading.Barrier(2)

        def work(_: int) -> None:
            barrier.wait()  # both threads, which began before the window
            for _ in range(10):
                model(X)

        list(pool.map(work, range(2)))
        with layerscope.capture(model) as cap, cap.phase("serve"):
            done = pool.map(work, range(2))
            model(X)
            list(done)
    assert calls(cap) == dict.fromkeys(ONCE, 21)
    threads = cap.table.whole.host_threads
    assert len(threads) == 3
    assert all(thread.window_ns == thread.rows_ns for thread in threads)
    assert sum(row.cpu_self_ns or 0 for row in cap.table.rows) == sum(t.window_ns for t in threads)
    # The workers' calls are of the phase that the block's thread had marked around them.
    assert {row.phase for row in cap.table.rows if row.calls} == {"serve"}


def test_threads_that_outlast_the_window_are_not_disturbed() -> None:
    model, stop, called = net(), threading.Event(), threading.Semaphore(0)
    failed: list[BaseException] = []

    def work() -> None:
        try:
            while not stop.is_set():
                model(X)
                called.release()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            with layerscope.capture(model) as cap:
                while called.acquire(blocking=False):
                    pass
                for _ in range(4):  # two that were under way, and one of each thread at the least
                    assert called.acquire(timeout=60)
            assert calls(cap)["forward"] > 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failed


def test_a_coroutine_a_generator_and_a_child_process_in_the_block() -> None:
    model = net()

    async def serve() -> None:
        async def one() -> None:
            await asyncio.sleep(0)
            model(X)

        await asyncio.gather(one(), one(), asyncio.to_thread(model, X))

    with layerscope.capture(model) as cap:
        asyncio.run(serve())
        for _ in (model(X) for _ in range(2)):
            pass
        child = multiprocessing.get_context("fork").Process(target=os._exit, args=(0,))
        child.start()
        child.join()
    assert calls(cap) == dict.fromkeys(ONCE, 5)


def test_a_compiled_twin_has_its_calls_and_is_not_compiled_again() -> None:
    torch._dynamo.reset()
    model = net()
    compiled: list[int] = []

    def backend(graph: Any, inputs: Any) -> Any:
        compiled.append(1)
        return graph

    fast = torch.compile(model, backend=backend)
    fast(X)
    with layerscope.capture(model) as cap:
        fast(X)
        model(X)
    assert calls(cap) == {"forward": 2, "0": 1, "1": 1, "2": 1}
    assert len(compiled) == 1


@pytest.mark.parametrize("script", [torch.jit.script, lambda m: torch.jit.trace(m, X)])
def test_a_scripted_root_has_its_calls(script: Callable[[nn.Module], nn.Module]) -> None:
    model = script(net())
    with layerscope.capture(model) as cap:
        model(X)
    assert calls(cap) == {"forward": 1}


def test_a_block_without_a_call_of_the_model_fails_and_says_what_to_do() -> None:
    model = net()
    with layerscope.capture(model) as cap:
        net()(X)  # another one
    with pytest.raises(AccountingError, match="no call of the model in the block"):
        cap.table.check()


def test_calls_that_were_counted_and_have_no_range_fail(tmp_path: Path) -> None:
    model = net()
    with layerscope.capture(model, tmp_path / "t.json") as cap:
        model(X)
        model(X)
    trace = json.loads((tmp_path / "t.json").read_text())
    lost = next(e for e in trace["traceEvents"] if e["name"] == "layer:1")
    trace["traceEvents"].remove(lost)
    (tmp_path / "t.json").write_text(json.dumps(trace))
    with pytest.raises(AccountingError, match="calls without a range: 1 2 calls, 1 ranges"):
        cap.table.check()


# ---- the window -----------------------------------------------------------------------------------


def test_the_window_is_the_block_and_marked_phases_without_a_module_have_rows() -> None:
    model = net().train()
    with layerscope.capture(model) as cap:
        began = time.perf_counter_ns()
        with cap.phase("forward"):
            loss = model(X).sum()
        with cap.phase("backward"):
            loss.backward()
            time.sleep(0.02)
        with cap.phase("optimizer"), cap.phase("inner"):
            time.sleep(0.01)
        time.sleep(0.01)
        inside_ns = time.perf_counter_ns() - began
    cap.table.check()
    host = {(row.layer, row.phase): row.cpu_self_ns or 0 for row in cap.table.rows}
    assert host["forward", "backward"] >= 20_000_000
    assert host["forward", "inner"] >= 10_000_000
    assert ("forward", "optimizer") in host
    assert host[OUTSIDE_MODEL, "forward"] >= 10_000_000
    window_ns = cap.table.whole.host_window_ns
    assert window_ns is not None
    assert window_ns == sum(host.values())
    assert window_ns >= inside_ns


def test_a_capture_used_twice_holds_the_last_window() -> None:
    model = net()
    cap = layerscope.capture(model)
    with cap:
        model(X)
    assert calls(cap) == ONCE
    with cap:
        model(X)
        model(X)
    assert calls(cap) == dict.fromkeys(ONCE, 2)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_what_the_block_raises_comes_out_unchanged_and_no_older_trace_stands_in(
    error: type[BaseException], tmp_path: Path
) -> None:
    model, path = net(), tmp_path / "t.json"
    with layerscope.capture(model, path):
        model(X)
    cap, raised = layerscope.capture(model, path), error("mine")

    def block() -> None:
        with cap:
            model(X)
            raise raised

    with pytest.raises(error) as caught:
        block()
    assert caught.value is raised
    assert all("forward" not in module.__dict__ for module in model.modules())
    with pytest.raises(LayerscopeError, match="no trace"):
        _ = cap.table


@pytest.mark.parametrize("name", ["missing/t.json", "", "y" * 300, "a\0b"])
def test_a_path_that_takes_no_trace_is_refused_before_the_block(name: str, tmp_path: Path) -> None:
    with (
        pytest.raises(EnvironmentProblem) as refused,
        layerscope.capture(net(), str(tmp_path) + "/" + name),
    ):
        pytest.fail("the block must not run")
    assert "\n" not in str(refused.value)


def test_a_model_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match=r"takes a torch\.nn\.Module, not function"):
        layerscope.capture(lambda x: x)  # type: ignore[arg-type]


# ---- the model is the user's ----------------------------------------------------------------------


def _saved(model: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    loaded: nn.Module = torch.load(file, weights_only=False)
    return loaded


@pytest.mark.parametrize(
    "copied",
    [
        copy.deepcopy,
        _saved,
        lambda model: pickle.loads(pickle.dumps(model)),
        lambda model: nn.Sequential(*map(copy.deepcopy, model)),
    ],
)
def test_a_copy_made_inside_has_its_own_weights_and_no_wrapper(
    copied: Callable[[nn.Module], nn.Module],
) -> None:
    model = net()
    with layerscope.capture(model) as cap:
        model(X)
        other = copied(model)
        assert torch.equal(other(X), model(X))
    assert calls(cap) == dict.fromkeys(ONCE, 2)
    assert all("forward" not in module.__dict__ for module in other.modules())
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    assert not other(X).any()
    assert model(X).any()


def test_a_data_parallel_replica_computes_with_its_own_weights_and_has_ranges() -> None:
    model = nn.Linear(8, 8)
    with layerscope.capture(model) as cap:
        replica = model._replicate_for_data_parallel()
        replica.weight, replica.bias = torch.zeros(8, 8), torch.zeros(8)
        assert not replica(X).any()
        model(X)
    assert calls(cap) == {"forward": 2}


def test_what_the_block_changes_stays_and_is_said() -> None:
    model = net()
    hooked: list[int] = []
    with pytest.warns(UserWarning, match=r"0\.forward changed|put into") as said:  # noqa: PT031, SIM117
        with layerscope.capture(model) as cap:
            model.load_state_dict({k: v * 0 for k, v in model.state_dict().items()})
            model.double()
            model(X.double())
            model.float()
            # As accelerate hooks a module, and as an adapter takes one's place.
            old = model[0].forward
            model[0]._old_forward = old
            patched = functools.partial(lambda module, x: module._old_forward(x) + 1, model[0])
            model[0].forward = functools.update_wrapper(patched, old)
            model[2] = nn.Sequential(model[2], nn.Tanh())
            model[1].register_forward_hook(lambda *_: hooked.append(1))
            model(X)
    assert any("2, 2.1: put into the model" in str(one.message) for one in said)
    assert cap.table.warnings[-2:] == tuple(str(one.message) for one in said)
    assert calls(cap)["1"] == 2
    assert torch.equal(model[0](X), torch.ones(2, 8))
    assert len(model[2]) == 2
    assert hooked
    # Nothing of ours is left in what they keep, so a later copy is whole.
    assert model[0]._old_forward.__func__ is nn.Linear.forward
    assert "forward" not in model[2][0].__dict__


def test_a_class_patched_inside_is_patched_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = net()
    with layerscope.capture(model) as cap:
        monkeypatch.setattr(nn.Linear, "forward", lambda module, x: x * 0)
        assert not model(X).any()
    assert calls(cap) == ONCE


# ---- any model ------------------------------------------------------------------------------------

_NAMES = (
    'q"uote', "back\\slash", "généré", "中文", "line\nend", "tab\t", "x" * 300, "a b", "%41", "generate",
    "layer:0", "phase:x", "compiled:1:?", "\u2028", '\\"', 'é"%',
)  # fmt: skip


def _named(key: str) -> nn.Module:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.add_module(key, nn.Sequential(nn.Linear(8, 8)))

        def forward(self, x: torch.Tensor) -> Any:
            child = self._modules[key]
            assert child is not None
            return child(x)

    return Named()


@pytest.mark.parametrize("key", _NAMES)
def test_every_layer_and_phase_under_its_own_name(key: str) -> None:
    model = _named(key)
    with layerscope.capture(model) as cap, cap.phase(key):
        model(X)
    rows = {row.layer: row for row in cap.table.rows if row.calls}
    assert calls(cap) == {"forward": 1, key: 1, f"{key}.0": 1}
    assert rows[key].module == "Sequential"
    assert rows[f"{key}.0"].params == 72
    assert {row.phase for row in rows.values()} == {key}


def test_a_layer_with_a_buckets_name_is_told_from_the_bucket() -> None:
    model = _named(OUTSIDE_MODEL)
    with layerscope.capture(model) as cap:
        model(X)
    assert calls(cap) == {
        "forward": 1,
        f"range {OUTSIDE_MODEL}": 1,
        f"range {OUTSIDE_MODEL}.0": 1,
    }


def test_exports_show_the_name_itself(tmp_path: Path) -> None:
    model = _named('gé"n')
    with layerscope.capture(model, tmp_path / "t.json") as cap:
        model(X)
    calls(cap)
    source = Run.open(tmp_path / "t.json")
    perfetto = export_perfetto(source, tmp_path).path
    names = [text(event.fields.get("name")) or "" for event in RawTrace(perfetto).events()]
    assert names.count('layer:gé"n') == 1
    assert not any("%" in name for name in names)
    fed = export_tb_profiler(source, tmp_path).path
    names = [text(event.fields.get("name")) or "" for event in RawTrace(fed).events()]
    assert any('gé"n' in name and "Sequential" in name for name in names)


def test_two_hundred_levels_of_nesting() -> None:
    model: nn.Module = nn.Linear(8, 8)
    for _ in range(200):
        model = nn.Sequential(model)
    with layerscope.capture(model) as cap:
        model(X)
    assert set(calls(cap).values()) == {1}
    assert max(row.depth for row in cap.table.rows) == 200


def test_lazy_modules_are_listed_as_their_first_call_makes_them() -> None:
    model = nn.Sequential(nn.LazyLinear(4), nn.Linear(4, 4))
    with layerscope.capture(model) as cap:
        model(X)
    rows = {row.layer: row for row in cap.table.rows}
    assert calls(cap) == {"forward": 1, "0": 1, "1": 1}
    assert (rows["0"].module, rows["0"].params, rows["0"].dtype) == ("Linear", 36, "float32")


def test_a_4_bit_weight_counts_what_it_stands_for() -> None:
    class State:
        shape = torch.Size([64, 32])

    class Quantised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            packed = torch.zeros(64 * 32 // 2, 1, dtype=torch.uint8)
            self.weight = nn.Parameter(packed, requires_grad=False)
            self.weight.quant_state = State()  # type: ignore[attr-defined]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + 0

    model = nn.Sequential(Quantised())
    with layerscope.capture(model) as cap:
        model(X)
    rows = {row.layer: row for row in cap.table.rows}
    assert (rows["0"].params, rows["0"].dtype) == (2048, "uint8")


def test_the_saved_trace_gives_the_same_account(tmp_path: Path) -> None:
    model = net()
    cap = layerscope.capture(model, tmp_path / "t.json.gz")
    with pytest.warns(UserWarning, match="changed"), cap:  # noqa: PT031
        with cap.phase("step"):
            model(X)
        model[0].forward = model[0].forward.__wrapped__  # type: ignore[attr-defined]
    saved = Run.open(tmp_path / "t.json.gz").account
    assert saved.table == cap.table
    assert saved.operators == cap.account.operators
    rows = {row.layer: row for row in saved.table.rows}
    assert (rows["0"].module, rows["0"].params, rows["0"].dtype) == ("Linear", 72, "float32")


def test_a_temporary_trace_goes_with_its_capture_and_without_a_warning() -> None:
    net = torch.nn.Linear(4, 2)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with layerscope.capture(net) as cap:
            net(torch.ones(1, 4))
        folder = cap.trace_path.parent
        assert folder.is_dir()
        del cap
        gc.collect()
    assert not folder.exists()
    assert not [
        item for item in said if item.category is ResourceWarning and "layerscope-" in str(item)
    ]
