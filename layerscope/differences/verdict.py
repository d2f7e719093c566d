"""A change with its interval and floor in, the verdict in words out."""

from __future__ import annotations

from layerscope.differences.noise import excludes_zero
from layerscope.records.comparison import Metric
from layerscope.records.interval import Interval

# metric -> the words for less and for more of it
_WORDS: dict[Metric, tuple[str, str]] = {
    "latency": ("faster", "slower"),
    "ttft": ("faster", "slower"),
    "energy": ("less energy", "more energy"),
    "wer": ("better", "worse"),
    "flops": ("fewer FLOPs", "more FLOPs"),
    "device": ("less device time", "more device time"),
    "host": ("shorter", "longer"),
}


def relative_verdict(
    metric: Metric, relative: float, interval: Interval, noise_floor: float, *, shown: bool
) -> str:
    """`faster by 12 % [9, 15]`, or why no difference is shown. Fractions in, per cent out."""
    if shown:
        return (
            f"{_word(metric, relative)} by {_percent(abs(relative))} {_bracket(relative, interval)}"
        )
    if not excludes_zero(interval):
        return (
            "no difference shown: interval includes 0 "
            f"[{_signed(interval.low)}, {_signed(interval.high)}] %"
        )
    return (
        f"no difference shown: {_signed(relative)} % is within the noise floor of "
        f"±{_percent(noise_floor)}"
    )


def points_verdict(
    metric: Metric, change: float, interval: Interval, noise_floor: float, *, shown: bool
) -> str:
    """The same for a change in the metric's own unit."""
    ends = sorted((abs(interval.low), abs(interval.high)))
    if shown:
        return f"{_word(metric, change)} by {abs(change):.4f} [{ends[0]:.4f}, {ends[1]:.4f}]"
    if not excludes_zero(interval):
        return (
            f"no difference shown: interval includes 0 [{interval.low:+.4f}, {interval.high:+.4f}]"
        )
    return f"no difference shown: {change:+.4f} is within the noise floor of ±{noise_floor:.4f}"


def count_verdict(metric: Metric, base: float, other: float) -> str:
    """For a number that is counted, not measured: equal or not."""
    if base == other:
        return "unchanged"
    by = f"{_percent(abs(other / base - 1))}" if base else f"{abs(other - base):,.0f}"
    return f"{_word(metric, other - base)} by {by} (a count: exact)"


def reasons(base: str | None, other: str | None) -> str:
    """Why one side or both have no number; a reason both share is said once."""
    given = [reason and reason.rstrip(".") for reason in (base, other)]
    if given[0] == given[1]:
        return f"both: {given[0]}"
    return "; ".join(
        f"{label}: {reason}"
        for label, reason in zip(("BASE", "OTHER"), given, strict=True)
        if reason
    )


def _word(metric: Metric, change: float) -> str:
    less, more = _WORDS[metric]
    return less if change < 0 else more


def _bracket(relative: float, interval: Interval) -> str:
    low, high = (interval.low, interval.high) if relative > 0 else (-interval.high, -interval.low)
    return f"[{_number(100 * low)}, {_number(100 * high)}]"


def _percent(fraction: float) -> str:
    return f"{_number(100 * fraction)} %"


def _signed(fraction: float) -> str:
    return f"{'+' if fraction > 0 else ''}{_number(100 * fraction)}"


def _number(value: float) -> str:
    """Whole numbers from ten up, one decimal from one up, else two significant digits."""
    if abs(value) >= 9.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 1 else f"{value:.2g}"
