"""Rows of a sweep in; its groups, scaling exponents and numbers by name out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from layerscope.records.sweep import Setting, SweepRow

# Prefix of the layer table of a sweep: which run a layer's row is of.
LAYER_KEYS = ("dataset", "batch_size", "image_size", "max_input_len", "optimization")
# Axes along which times are expected to follow a power law.
SCALED_AXES = (
    "batch_size",
    "image_size",
    "image_tokens",
    "max_input_len",
    "max_new_tokens",
    "num_beams",
)


def layer_keys(row: SweepRow) -> tuple[str, ...]:
    """The cells under `LAYER_KEYS`, the same for every layer of this run."""
    config = row.config
    size = str(config.image_size)
    length = str(config.max_input_len)
    return (config.dataset, str(config.batch_size), size, length, config.optimization)


def sizes_without_effect(rows: Sequence[SweepRow]) -> str:
    """One sentence when sources of several sizes reached the model at one size; else empty."""
    source = [r for r in rows if r.measured and r.config.image_size_mode == "source"]
    asked = sorted({row.config.image_size for row in source})
    seen = sorted({row.pixels for row in source if row.pixels is not None})
    if len(asked) < 2 or len(seen) != 1:
        return ""
    sizes = ", ".join(str(size) for size in asked)
    return (
        f"image_size_mode source: images of {sizes} px all reached the model at {seen[0]} px, "
        "because the processor resizes every image to its own size; latency and FLOPs cannot "
        "depend on the source's size, only answers can, through the lost detail. "
        "Use image_size_mode model to change what the model sees."
    )


@dataclass(frozen=True, kw_only=True)
class Exponent:
    """How one time follows one axis: time ~ axis ** exponent, by least squares on logarithms.

    Attributes:
        of: "latency", or a group of layers.
        fixed: the other axes' values.
        points: how many cells it rests on; with two the fit is exact and says nothing of its fit.
        residual: largest deviation of a point from the fit, as a share of the point.
    """

    axis: str
    of: str
    fixed: dict[str, Setting]
    points: int
    exponent: float
    residual: float

    @property
    def holds(self) -> bool:
        """Whether a power law describes the points, so that its exponent says something."""
        return self.residual <= LARGEST_MISS


# A fit that misses a point by more than this share of it is no power law.
LARGEST_MISS = 0.25


def exponents(rows: Sequence[SweepRow], axes: Sequence[str]) -> tuple[Exponent, ...]:
    """Scaling exponents of latency and of each group's time, per numeric axis and line of cells.

    A line is a set of measured cells that differ in one axis alone. Along a line of equal work the
    times differ by noise, so it has no exponent.
    """
    found: list[Exponent] = []
    for axis in (name for name in axes if name in SCALED_AXES):
        for fixed, line in lines_along(rows, axis, axes):
            if equal_work(line):
                continue
            points = {
                "latency": [
                    (float(getattr(r.config, axis)), r.latency_s.value)
                    for r in line
                    if r.latency_s.value
                ]
            }
            for group in _groups(line):
                points[group] = [
                    (float(getattr(r.config, axis)), float(r.group_ns.get(group, 0))) for r in line
                ]
            for name, pairs in points.items():
                fitted = fit(pairs)
                if fitted is not None:
                    found.append(
                        Exponent(
                            axis=axis,
                            of=name,
                            fixed=fixed,
                            points=len(pairs),
                            exponent=fitted[0],
                            residual=fitted[1],
                        )
                    )
    return tuple(found)


def equal_work(line: Sequence[SweepRow]) -> bool:
    """Whether every cell of a line gave the model the same shapes and counted the same FLOPs."""
    work = {
        (row.flops, row.pixels, row.image_tokens, row.text_length, row.decoder_steps)
        for row in line
    }
    return len(work) == 1 and line[0].flops is not None


def fit(pairs: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    """Slope of log y over log x by least squares, and the largest relative deviation from it.

    None with fewer than two different x, or where any value is not positive.
    """
    if len({x for x, _ in pairs}) < 2 or any(x <= 0 or y <= 0 for x, y in pairs):
        return None
    xs = [math.log(x) for x, _ in pairs]
    ys = [math.log(y) for _, y in pairs]
    x_mean, y_mean = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - x_mean) ** 2 for x in xs)
    slope = sum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True)) / spread
    worst = max(
        abs(math.expm1(y_mean + slope * (x - x_mean) - y)) for x, y in zip(xs, ys, strict=True)
    )
    return slope, worst


def lines_along(
    rows: Sequence[SweepRow], axis: str, axes: Sequence[str]
) -> list[tuple[dict[str, Setting], list[SweepRow]]]:
    """Measured cells that differ in `axis` alone, by the values of the other axes, in plan order."""
    found: dict[tuple[str, ...], tuple[dict[str, Setting], list[SweepRow]]] = {}
    for row in rows:
        if not row.measured:
            continue
        fixed = {name: row.settings.get(name) for name in axes if name != axis}
        key = tuple(repr(value) for value in fixed.values())
        found.setdefault(key, (fixed, []))[1].append(row)
    return [(fixed, line) for fixed, line in found.values() if len(line) > 1]


def _groups(line: Sequence[SweepRow]) -> list[str]:
    """Groups that took time in every cell of the line, largest first."""
    common = set.intersection(*({g for g, ns in row.group_ns.items() if ns > 0} for row in line))
    return sorted(common, key=lambda group: -line[-1].group_ns[group])


def value(row: SweepRow, name: str) -> float | None:
    """A number of a row by the name that tables and `--where` use; None when not measured."""
    config = row.config
    latency = row.latency_s.value
    numbers: dict[str, float | None] = {
        "wer": row.wer.value,
        "latency": latency,
        "latency_per_sample": None if latency is None else latency / config.batch_size,
        "samples_per_s": None if not latency else config.batch_size / latency,
        "first_token": row.first_token_s.value,
        "energy": row.energy_j.value,
        "flops": None if row.flops is None else float(row.flops),
        "flops_per_sample": None if row.flops is None else row.flops / config.batch_size,
        "batch_size": float(config.batch_size),
        "batch": float(config.batch_size),
        "image_size": float(config.image_size),
        "image_tokens": None if row.image_tokens is None else float(row.image_tokens),
        "max_input_len": float(config.max_input_len),
        "max_new_tokens": float(config.max_new_tokens),
        "num_beams": float(config.num_beams),
    }
    return numbers[name]


NUMBERS = (
    "wer",
    "latency",
    "latency_per_sample",
    "samples_per_s",
    "first_token",
    "energy",
    "flops",
    "flops_per_sample",
    "batch_size",
    "batch",
    "image_size",
    "image_tokens",
    "max_input_len",
    "max_new_tokens",
    "num_beams",
)
