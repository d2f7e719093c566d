"""Two run records in, everything they were unlike in before measuring out, sorted into four kinds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields

from layerscope.core.run_config import RunConfig
from layerscope.records.comparison import Difference, Kind
from layerscope.records.run_record import Environment, RunRecord

_Read = Callable[[Environment], object]

# Each of these alone can move latency or energy by more than what a comparison looks for.
_MACHINE: tuple[tuple[str, _Read], ...] = (
    ("CPU", lambda e: e.cpu_model),
    ("CPU cores", lambda e: e.cpu_count),
    ("torch", lambda e: e.torch),
    ("torch threads", lambda e: e.torch_threads),
    ("transformers", lambda e: e.packages.get("transformers")),
    ("triton", lambda e: e.packages.get("triton")),
)
# Asked only of two CUDA runs: that a CPU run has no GPU is its device, not its environment.
_GPU: tuple[tuple[str, _Read], ...] = (
    ("GPU", lambda e: e.gpu_name),
    ("GPU memory in bytes", lambda e: e.gpu_memory_bytes),
    ("GPU power limit in W", lambda e: e.gpu_power_limit_w),
    ("driver", lambda e: e.driver),
    ("CUDA", lambda e: e.cuda),
)
_NOTED: tuple[tuple[str, _Read], ...] = (
    ("layerscope", lambda e: e.layerscope),
    ("Python", lambda e: e.python),
    ("platform", lambda e: e.platform),
    ("memory in bytes", lambda e: e.memory_bytes),
    ("GPUs", lambda e: e.gpu_count),
)
_JUDGED_PACKAGES = frozenset({"torch", "transformers", "triton"})
_WARMER_C = 10

# What the run was asked to do; the other fields say how.
_WORK = frozenset(
    {
        *("model", "weights", "revision", "processor", "batch_size", "image_size"),
        *("image_size_mode", "max_input_len", "max_new_tokens", "min_new_tokens", "num_beams"),
        *("dataset", "answer_form", "normalisation", "samples", "seed"),
    }
)
# How long it was measured and where files lie: no run is another run because of them.
_NEITHER = frozenset(
    {"out", "data_dir", "measure_limit_s", "warmup", "quick", "trace", "traced_batches"}
)


def differences(base: RunRecord, other: RunRecord) -> tuple[Difference, ...]:
    """Everything unlike: environment first, then work, way and what is only noted."""
    first, second = base.environment, other.environment
    asked = [*_MACHINE]
    noted = [*_NOTED]
    if base.how.device == other.how.device == "cuda":
        asked = [*_GPU, *_MACHINE]
    found = [
        *_unlike("environment", asked, first, second),
        *_asked(base, other),
        *_weights(base, other),
        *_unlike("noted", noted, first, second),
        *_packages(first, second),
        *_warmth(first, second),
    ]
    order = ("environment", "work", "way", "noted")
    return tuple(sorted(found, key=lambda item: order.index(item.kind)))


def unlike_environments(found: Iterable[Difference]) -> tuple[Difference, ...]:
    """Those that make a comparison unfair."""
    return tuple(item for item in found if item.kind == "environment")


def _unlike(
    kind: Kind,
    asked: Iterable[tuple[str, _Read]],
    base: Environment,
    other: Environment,
) -> list[Difference]:
    return [
        _difference(kind, name, read(base), read(other))
        for name, read in asked
        if read(base) != read(other)
    ]


def _asked(base: RunRecord, other: RunRecord) -> list[Difference]:
    """How the configurations differ; of a capture, which has none, what was seen in its place."""
    if base.config is not None and other.config is not None:
        return _config(base.config, other.config)
    kinds = ["run of profile" if run.config is not None else "capture" for run in (base, other)]
    seen: list[tuple[Kind, str, str, str]] = [
        ("way", "device", base.how.device, other.how.device),
        ("way", "fp32_matmul", base.how.fp32_matmul, other.how.fp32_matmul),
        ("noted", "kind of run", kinds[0], kinds[1]),
    ]
    return [_difference(kind, name, one, two) for kind, name, one, two in seen if one != two]


def _config(base: RunConfig, other: RunConfig) -> list[Difference]:
    return [
        _difference(
            "work" if field.name in _WORK else "way",
            field.name,
            getattr(base, field.name),
            getattr(other, field.name),
        )
        for field in fields(RunConfig)
        if field.name not in _NEITHER and getattr(base, field.name) != getattr(other, field.name)
    ]


def _weights(base: RunRecord, other: RunRecord) -> list[Difference]:
    """What no configuration says: a folder whose weights were replaced has the same name."""
    asked: tuple[tuple[str, object, object], ...] = (
        ("parameters", base.model.params, other.model.params),
        ("model class", base.model.cls, other.model.cls),
    )
    if (base.captured is None) == (other.captured is None):  # a capture does not know its weights
        asked = (asked[0], ("weights loaded", base.model.weights, other.model.weights), asked[1])
    return [_difference("work", name, one, two) for name, one, two in asked if one != two]


def _packages(base: Environment, other: Environment) -> list[Difference]:
    names = sorted((base.packages.keys() | other.packages.keys()) - _JUDGED_PACKAGES)
    return [
        _difference("noted", name, base.packages.get(name), other.packages.get(name))
        for name in names
        if base.packages.get(name) != other.packages.get(name)
    ]


def _warmth(base: Environment, other: Environment) -> list[Difference]:
    one, two = base.gpu_temperature_c, other.gpu_temperature_c
    if one is None or two is None or abs(one - two) < _WARMER_C:
        return []
    return [_difference("noted", "GPU temperature at the start in °C", one, two)]


def _difference(kind: Kind, name: str, base: object, other: object) -> Difference:
    return Difference(kind=kind, name=name, base=_text(base), other=_text(other))


def _text(value: object) -> str:
    return "not known" if value is None else str(value)
