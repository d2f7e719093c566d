"""The window of a choice: its device time is the layer table's, for every layer, phase and step."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.kineto import TraceWriter
from support.shared import shared

from layerscope.account.account import account, work_out
from layerscope.core.errors import UsageError
from layerscope.records.tables import Account
from layerscope.timeline.choice import Choice
from layerscope.timeline.window import Row, Timeline, Window
from layerscope.trace.columns import read_trace


def prepared(path: Path) -> tuple[Timeline, Account]:
    workings = work_out(read_trace(path))
    return Timeline(workings), account(workings, source=str(path))


@pytest.fixture
def small(tmp_path: Path) -> Timeline:
    """`block` runs twice under `forward`, its kernels after it on the device; times in ns."""
    trace = TraceWriter()
    zero = 5_000
    trace.layer("forward", zero, 1000)
    for number, at in enumerate((100, 500)):
        trace.layer("block", zero + at, 200)
        trace.layer("block.lin", zero + at + 10, 100)
        trace.op("aten::linear", zero + at + 20, 60)
        trace.op("aten::mm", zero + at + 30, 40)
        trace.launch(number, zero + at + 40)
        trace.kernel(number, zero + at + 190, 50)
    trace.launch(9, zero + 800)
    trace.kernel(9, zero + 850, 20)
    return prepared(trace.write(tmp_path / "t.json"))[0]


def row(window: Window, kind: str) -> Row:
    """The row of a kind; of layers and phases, which host and device have, the host's."""
    found = [one for one in window.rows if one.kind == kind]
    assert len(found) == 1 or {one.place for one in found} == {"host", "device 0"}
    return found[0]


def shown(window: Window, kind: str) -> list[tuple[str, int, int, int, int]]:
    one = row(window, kind)
    return [
        (window.names[name], start, dur, level, chosen)
        for name, start, dur, level, chosen in zip(
            one.name, one.start_ns, one.dur_ns, one.level, one.chosen, strict=True
        )
    ]


def test_one_call_by_hand(small: Timeline) -> None:
    window = small.window(Choice(layer="block", call=1))
    # From the range's start to the end of the kernel that it launched.
    assert (window.start_ns, window.end_ns, window.calls) == (500, 740, 2)
    assert (window.device_events, window.device_ns, window.host_ns) == (1, 50, 200)
    assert shown(window, "layer")[:3] == [
        ("forward", 0, 1000, 0, 0),
        ("block", 500, 200, 1, 1),
        ("block.lin", 510, 100, 2, 1),
    ]
    assert shown(window, "operator") == [
        ("aten::linear", 520, 60, 0, 1),
        ("aten::mm", 530, 40, 1, 1),
    ]
    assert shown(window, "launch") == [("cudaLaunchKernel", 540, 1, 0, 1)]
    assert shown(window, "kernel") == [("gemm", 690, 50, 0, 1)]
    kernel = row(window, "kernel")
    assert kernel.cause_ns == [540]
    assert [window.names[owner] for owner in kernel.owner] == ["block.lin"]
    assert shown(window, "wait") == [("waits for block.lin", 340, 350, 0, 0)]


def test_all_calls_reach_from_the_first_to_the_last(small: Timeline) -> None:
    window = small.window(Choice(layer="block"))
    assert (window.start_ns, window.end_ns, window.device_ns) == (100, 740, 100)
    assert small.window(Choice()).device_ns == 120


def test_what_overlaps_the_window_is_shown_and_not_chosen(small: Timeline) -> None:
    window = small.window(Choice(layer="block.lin", call=0))
    assert (window.start_ns, window.end_ns) == (110, 340)
    assert [(name, chosen) for name, _, _, _, chosen in shown(window, "layer")][:3] == [
        ("forward", 0),
        ("block", 0),
        ("block.lin", 1),
    ]


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (Choice(layer="gone"), "gone: no call"),
        (Choice(layer="block", phase="decode"), "block, phase decode: no call"),
        (Choice(step=0), "step 0: no call"),
        (Choice(layer="block", call=2), "call 2 of 2"),
    ],
)
def test_what_does_not_fit_is_said(small: Timeline, choice: Choice, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        small.window(choice)


def test_a_module_that_is_never_called_stands_for_those_below(small: Timeline) -> None:
    trace_of = small.window(Choice(layer="block"))
    assert trace_of.calls == 2
    with pytest.raises(UsageError):
        small.window(Choice(layer="bloc"))


def test_too_much_for_a_browser_leaves_operators_out_and_says_how_many(small: Timeline) -> None:
    window = small.window(Choice(), most_slices=20)
    assert window.left_out == 4
    assert all(one.kind != "operator" for one in window.rows)
    assert small.window(Choice()).left_out == 0


def test_every_row_of_the_xl_table_is_a_choice_with_its_device_time() -> None:
    timeline, found = prepared(shared("traces/xl_b16_eager_h200.trace.json.gz"))
    root = found.table.root
    tops = [r for r in found.table.rows if r.layer.count(".") <= 3 and r.calls]
    assert len(tops) > 60
    for line in tops:
        window = timeline.window(Choice(layer=line.layer, phase=line.phase))
        if line.layer == root and line.phase != "other":
            continue  # the root's row of a phase is that phase's ranges together
        expected = line.gpu_self_ns if line.layer == root else line.gpu_total_ns
        assert window.device_ns == expected, (line.layer, line.phase)
        assert window.calls == line.calls, (line.layer, line.phase)
    steps = {step.step: step for step in found.steps}
    for number in (0, 7, 19):
        window = timeline.window(Choice(step=number))
        assert (window.device_ns, window.host_ns) == (steps[number].gpu_ns, steps[number].cpu_ns)
        assert window.device_events == steps[number].kernels
    assert timeline.window(Choice()).device_ns == 210_096_345
