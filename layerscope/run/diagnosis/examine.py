"""The folder for runs in, every check of `layerscope doctor` out, in the order shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from layerscope import __version__
from layerscope.core.files import POWER_FILE
from layerscope.measure.clock import SystemClock
from layerscope.records.diagnosis import Diagnosis
from layerscope.run.diagnosis import (
    ceilings,
    energy,
    gpu,
    model,
    optimizations,
    private_names,
    software,
    surroundings,
    tracing,
)
from layerscope.run.diagnosis.probe import DEVICE_TIMEOUT_S, Finding, Probe

# The request itself gives up after three seconds; a name server that is silent is cut off here.
_HUB_S = surroundings.HUB_TIMEOUT_S + 2.0
# More than the polling process gets to start in (30 s) and to stop in (5 s).
_POLLING_S = 40.0


def diagnose(probes: Sequence[Probe], advance: Callable[[int], None]) -> Diagnosis:
    """Ask every probe, one after the other.

    Args:
        advance: told 1 after each.
    """
    checks, blocking = [], []
    for probe in probes:
        check = probe.check()
        checks.append(check)
        if probe.blocks(check):
            blocking.append(check.name)
        advance(1)
    return Diagnosis(layerscope=__version__, checks=tuple(checks), blocking=tuple(blocking))


def all_probes(out: Path) -> tuple[Probe, ...]:
    """The checks of this machine. Nothing is looked at before they are asked.

    Args:
        out: the folder that run folders go to.
    """
    return (*_software(), *_tracing(), *_device(), *_energy(), *_packages(), *_around(out))


def _software() -> tuple[Probe, ...]:
    return (
        Probe(
            name="python",
            costs="layerscope does not run on older Python",
            look=software.python,
            required=True,
        ),
        Probe(
            name="torch",
            costs="no model runs without torch; with an untested version a trace may not add up "
            "(every run checks that and says so)",
            look=software.torch,
        ),
        Probe(
            name="transformers",
            costs="no model of transformers runs without it; an untested version may name or "
            "build layers differently",
            look=software.transformers,
        ),
        Probe(
            name="private_names",
            costs="the features named; everything else works as with a tested version",
            look=_private_names,
        ),
        Probe(
            name="tiny_model",
            costs="`--model tiny`, the way to try layerscope without a GPU or a network",
            look=model.tiny_model,
            required=True,
        ),
    )


def _tracing() -> tuple[Probe, ...]:
    return (
        Probe(
            name="host_tracing",
            costs="the account by layer: without host spans nothing can be attributed",
            look=tracing.host_tracing,
            required=True,
        ),
        Probe(
            name="device_tracing",
            costs="device time by layer, phase and kernel (CUPTI); host time remains",
            look=tracing.device_tracing,
        ),
    )


def _device() -> tuple[Probe, ...]:
    return (
        Probe(
            name="cuda",
            costs="the XL model and every device number; the bundled model runs on the CPU",
            look=_cuda,
        ),
        Probe(
            name="driver",
            costs="every GPU number: torch and NVML both need the NVIDIA driver",
            look=gpu.driver,
            timeout_s=DEVICE_TIMEOUT_S,
        ),
        Probe(
            name="mig",
            costs="energy of a slice: the counter covers the whole GPU, so joules stay absent",
            look=lambda: gpu.mig(_uuids()),
            timeout_s=DEVICE_TIMEOUT_S,
        ),
        Probe(
            name="gpu_state",
            costs="comparable latency and energy: a GPU held back runs slower and draws less",
            look=lambda: gpu.clocks(_uuids(), SystemClock()),
            timeout_s=DEVICE_TIMEOUT_S,
        ),
        Probe(
            name="optimizations",
            costs="those that cannot run, with the default model; every other way of running remains",
            look=optimizations.optimizations,
        ),
    )


def _energy() -> tuple[Probe, ...]:
    return (
        Probe(
            name="nvml_energy",
            costs="joules of the GPU: a run says that energy is absent and why",
            look=lambda: energy.nvml_counter(_uuids(), SystemClock()),
            timeout_s=DEVICE_TIMEOUT_S,
        ),
        Probe(
            name="power_polling",
            costs=f"{POWER_FILE}, the look at the same energy that is independent of the counter",
            look=lambda: energy.power(_uuids(), SystemClock()),
            timeout_s=_POLLING_S,
        ),
        Probe(
            name="rapl",
            costs="joules of CPU runs; GPU runs do not need it",
            look=energy.rapl,
        ),
    )


def _packages() -> tuple[Probe, ...]:
    return (
        Probe(
            name="tensorboard",
            costs="a run folder: its event file cannot be written",
            look=lambda: software.package("tensorboard", "tensorboard.summary.writer"),
            required=True,
        ),
        Probe(
            name="tensorboard_torch_profiler",
            costs="TensorBoard's PYTORCH_PROFILER tab; layerscope's own numbers do not need it",
            look=lambda: software.profiler_plugin(software.plugins()),
        ),
        Probe(
            name="tensorboard_layerscope",
            costs="the layer table as a tab in TensorBoard",
            look=lambda: software.layerscope_plugin(software.plugins()),
        ),
        Probe(
            name="pyarrow",
            costs="a run folder: layers.parquet cannot be written",
            look=lambda: software.package("pyarrow", "pyarrow.parquet"),
            required=True,
        ),
        Probe(
            name="datasets",
            costs="TextVQA, ScienceQA and COCO from the hub; synthetic data remain",
            look=lambda: software.package("datasets", "datasets"),
        ),
        Probe(
            name="jiwer",
            costs="the word error rate (`wer_value`)",
            look=lambda: software.package("jiwer", "jiwer"),
        ),
        Probe(
            name="fvcore",
            costs="the second, independent count of FLOPs; layerscope's own remains",
            look=lambda: software.package("fvcore", "fvcore.nn"),
        ),
    )


def _around(out: Path) -> tuple[Probe, ...]:
    return (
        Probe(
            name="hub",
            costs="downloading models and data sets",
            look=surroundings.hub,
            timeout_s=_HUB_S,
        ),
        Probe(
            name="xl_model",
            costs="a first run of the default model without a download of about 16 GB",
            look=model.xl_in_cache,
        ),
        Probe(
            name="traces_disk",
            costs="run folders: a run writes up to 1 GB while it exports its trace",
            look=lambda: surroundings.traces_disk(out),
            required=True,
        ),
        Probe(
            name="cache_disk",
            costs="the download of the XL model",
            look=surroundings.cache_disk,
        ),
        Probe(
            name="cpu_noise",
            costs="narrow intervals: other work makes latencies scatter, and generate() on a GPU "
            "is often bound by the CPU that launches its kernels",
            look=surroundings.cpu_noise,
        ),
        Probe(
            name="ceilings",
            costs="rooflines and the floor: the first run measures these rates itself, in some "
            "seconds",
            look=ceilings.kept_ceilings,
        ),
    )


def _private_names() -> Finding:
    from layerscope.private.registry import PRIVATE_NAMES

    return private_names.private_names(PRIVATE_NAMES)


def _cuda() -> Finding:
    import torch

    return gpu.cuda_devices(torch.cuda, str(torch.__version__), torch.version.cuda)


def _uuids() -> tuple[str, ...]:
    import torch

    return gpu.identifiers(torch.cuda)
