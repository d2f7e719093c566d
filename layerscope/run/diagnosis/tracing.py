"""One traced operator in, read back from its file: findings on host and device tracing out."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from layerscope.core.files import TRACE_FILE
from layerscope.instrument import cupti
from layerscope.run.diagnosis.probe import Finding
from layerscope.trace.columns import ABSENT, TraceColumns, read_trace

_OPERATOR = "aten::mul"


def host_tracing() -> Finding:
    """Trace one operator on the CPU."""
    return judge_host(_traced(cuda=False))


def device_tracing() -> Finding:
    """Trace one kernel on the CUDA device."""
    import torch

    if not torch.cuda.is_available():
        return Finding(
            status="missing",
            found="torch sees no CUDA device to trace",
            remedy="see the check `cuda`",
        )
    return judge_device(_traced(cuda=True))


def judge_host(columns: TraceColumns) -> Finding:
    """Whether the operator that ran is in the trace."""
    spans = len(columns.spans.name)
    if _OPERATOR in columns.names and spans:
        return Finding(
            status="ok", found=f"a real trace, written and read back: {spans} host spans"
        )
    return Finding(
        status="missing",
        found=f"{_OPERATOR} ran under torch.profiler and is not in its trace ({spans} host spans)",
        remedy="stop a profiler that runs in this process already, or reinstall torch",
    )


def judge_device(columns: TraceColumns) -> Finding:
    """Whether the kernel is in the trace, and every device event leads back to its launch."""
    device, launches = columns.device, columns.launches
    events = len(device.name)
    if not events:
        return Finding(
            status="missing",
            found=f"a kernel ran and the trace has no device events ({len(launches.name)} launches)",
            remedy=cupti.REMEDY,
        )
    known = launches.correlation[launches.correlation != ABSENT]
    linked = int(np.isin(device.correlation, known).sum())
    found = (
        f"a real trace, written and read back: {events} device events, {linked} linked to a launch"
    )
    if linked < events:
        return Finding(
            status="limited",
            found=found,
            remedy="use a torch release that layerscope is tested with (check `torch`): its CUPTI "
            "drops launch records",
        )
    return Finding(status="ok", found=found)


def _traced(*, cuda: bool) -> TraceColumns:
    import torch

    from layerscope.instrument.profiler import ProfilerSession

    ones = torch.ones(1 << 16, device="cuda" if cuda else "cpu")
    session = ProfilerSession(cuda=cuda)
    with session:
        ones.mul(2.0)
    with tempfile.TemporaryDirectory(prefix="layerscope-doctor-") as folder:
        path = Path(folder) / TRACE_FILE
        session.export(path)
        return read_trace(path)
