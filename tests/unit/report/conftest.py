"""A hand-made account and its run record, on a device and on a CPU, and the golden-text comparison."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from layerscope.core.vocabulary import NO_LAUNCH_RECORD, OUTSIDE_MODEL
from layerscope.records import (
    BatchRecord,
    Environment,
    LayerRow,
    LayerTable,
    ModelRecord,
    Report,
    Reported,
    RunConfig,
    RunRecord,
    TracePass,
    Whole,
    WorkloadRecord,
)
from layerscope.records.tables import Account, KernelRow, OperatorRow, StepRow

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with `golden/<name>.txt`; with --update-golden, write that file."""
    update = request.config.getoption("--update-golden")

    def compare(name: str, text: str) -> None:
        path = GOLDEN / f"{name}.txt"
        if update:
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8")

    return compare


class Screen:
    """A console that keeps what it prints."""

    def __init__(self, **options: object) -> None:
        self.file = StringIO()
        self.console = Console(file=self.file, _environ={}, **options)  # type: ignore[arg-type]

    @property
    def text(self) -> str:
        return self.file.getvalue()


@pytest.fixture
def screen() -> type[Screen]:
    return Screen


# layer, phase, module, group, depth, calls, kernels, device self and total, host self and total (ns)
_ROWS = (
    ("generate", "vision", "Tiny", "other", 0, 1, 0, 0, 15_514_679, 1_000_000, 101_000_000),
    ("vision_model", "vision", "Vision", "other", 1, 1, 999, 15_261_623, 15_514_679, 60_000_000,
     100_000_000),
    ("vision_model.patch_embedding", "vision", "Conv2d", "vision.conv", 2, 1, 1, 253_056, 253_056,
     40_000_000, 40_000_000),
    ("generate", "decode", "Tiny", "other", 0, 0, 21, 1_432_888, 194_581_666, 9_000_000,
     909_000_000),
    ("language_model", "decode", "T5", "other", 1, 19, 32_860, 193_148_778, 193_148_778,
     900_000_000, 900_000_000),
)  # fmt: skip


def _rows(device: bool) -> list[LayerRow]:
    return [
        LayerRow(
            layer=layer,
            phase=phase,
            module=module,
            group=group,
            depth=depth,
            calls=calls,
            kernels=kernels if device else 0,
            gpu_self_ns=gpu_self if device else None,
            gpu_total_ns=gpu_total if device else None,
            cpu_self_ns=cpu_self,
            cpu_total_ns=cpu_total,
            params=10 * depth if (layer, phase) != ("generate", "decode") else None,
            layer_kind=layer,
        )
        for (
            layer, phase, module, group, depth, calls, kernels, gpu_self, gpu_total, cpu_self,
            cpu_total,
        ) in _ROWS
    ]  # fmt: skip


def bucket(name: str, kernels: int, gpu_ns: int | None, cpu_ns: int | None) -> LayerRow:
    return LayerRow(
        layer=name,
        phase="other",
        module="",
        group="other",
        depth=0,
        calls=0,
        kernels=kernels,
        gpu_self_ns=gpu_ns,
        gpu_total_ns=gpu_ns,
        cpu_self_ns=cpu_ns,
        cpu_total_ns=cpu_ns,
        params=None,
        layer_kind=name,
    )


@pytest.fixture
def gpu_table() -> LayerTable:
    """210,096.345 us in 33,881 device events: the sums of the shared XL trace, in three modules."""
    table = LayerTable(
        rows=(*_rows(True), bucket(NO_LAUNCH_RECORD, 0, 0, None)),
        root="generate",
        whole=Whole(
            device_events=33_881,
            device_sum_ns=210_096_345,
            device_active_ns=210_000_000,
            window_span_ns=1_010_500_000,
            host_window_ns=1_010_000_000,
        ),
        notes=("rule 4 does not apply: the model is not InstructBLIP",),
        warnings=("3 mis-ended spans were clamped to the range around them",),
    )
    table.check()
    return table


@pytest.fixture
def cpu_table() -> LayerTable:
    table = LayerTable(
        rows=(*_rows(False), bucket(OUTSIDE_MODEL, 0, None, 5_000_000)),
        root="generate",
        whole=Whole(
            device_events=0,
            device_sum_ns=None,
            device_active_ns=None,
            window_span_ns=None,
            host_window_ns=1_015_000_000,
        ),
    )
    table.check()
    return table


def _account(table: LayerTable, gpu_ns: int | None) -> Account:
    return Account(
        table=table,
        kernels=(KernelRow("gemm<a, b>", "language_model", "decode", 7, 1_234_567, "driver"),),
        operators=(OperatorRow("aten::mm", "language_model", "decode", 7, 1_000, 2_500),),
        steps=(StepRow(0, "prefill", gpu_ns, 2_000_001, 12 if gpu_ns else 0),),
        source="trace.json.gz",
    )


@pytest.fixture
def gpu_account(gpu_table: LayerTable) -> Account:
    return _account(gpu_table, 9_863_720)


@pytest.fixture
def cpu_account(cpu_table: LayerTable) -> Account:
    return _account(cpu_table, None)


@pytest.fixture
def cpu_record() -> RunRecord:
    """A CPU run of one batch of two; what it could not measure carries its reason."""
    return RunRecord(
        name="20261124-tiny-b2-32px",
        created_utc="2026-11-24T12:00:00Z",
        choices=("no CUDA device, so the bundled tiny model on the CPU",),
        config=RunConfig(model="tiny", dataset="[red]", device="cpu", dtype="fp32", batch_size=2),
        environment=Environment(
            layerscope="0.1.0",
            python="3.11.0",
            platform="Linux",
            cpu_model="Example CPU",
            cpu_count=2,
            memory_bytes=None,
            torch="2.13.0",
            torch_threads=2,
            packages={},
        ),
        model=ModelRecord(
            name="tiny[/]",
            source="bundled",
            cls="InstructBlip",
            weights="seeded, not trained",
            trained=False,
            params=5_000_000,
            param_bytes=20_000_000,
            dtypes={"float32": 5_000_000},
            attention={"": "sdpa"},
            modules=(),
        ),
        workload=WorkloadRecord(
            dataset="[red]",
            synthetic=True,
            source="drawn with seed 0",
            batches=(
                BatchRecord(
                    index=0,
                    sample_ids=("a", "b"),
                    pixel_values_shape=(2, 3, 32, 32),
                    text_lengths=(7, 9),
                    padded_text_length=9,
                    qformer_lengths=(8, 8),
                    padded_qformer_length=8,
                ),
            ),
        ),
        trace=TracePass(
            batch=0,
            size=2,
            decoder_steps=5,
            new_tokens=(5, 3),
            profiled_ns=1_500_000_000,
            unprofiled_ns=1_000_000_000,
            root="generate",
        ),
        report=Report(
            wer_value=Reported(
                value=None, unit="", definition="corpus WER", reason="the weights are not trained"
            ),
            latency=Reported(value=1.0, unit="s/batch", definition="median time of generate()"),
            energy=Reported(
                value=None, unit="J/sample", definition="NVML counter", reason="no NVML device"
            ),
            flops=Reported(
                value=1_268_568_840_704, unit="FLOP/sample", definition="2 per multiply-accumulate"
            ),
        ),
        files={"layers": "layers.csv", "trace": "trace.json.gz"},
        warnings=("a [bold]warning[/bold]",),
    )


@pytest.fixture
def gpu_record(cpu_record: RunRecord) -> RunRecord:
    return replace(
        cpu_record,
        config=replace(cpu_record.config, device="cuda"),
        environment=replace(
            cpu_record.environment, gpu_name="Example GPU", cuda="13.0", driver="580.1"
        ),
    )
