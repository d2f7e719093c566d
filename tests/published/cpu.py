"""What docs/results/cpu/README.md says of capturing, the executors and reading a trace on a CPU."""

from __future__ import annotations

from statistics import median

from published.data import document, printed
from published.pages import Page, page

_READING = "cpu/trace_reading.txt"
_EXECUTOR = "cpu/executor_overhead.txt"


@page("docs/results/cpu/README.md")
def on_a_cpu(p: Page) -> None:
    p.given("at 56 px, batch 1,", "cannot resolve 10 %")
    _capturing(p)
    _all_threads(p)
    _executors(p)
    _reading(p)
    _counts_of_long_runs(p)


def _capturing(p: Page) -> None:
    (batch,) = document("cpu/capture_overhead.json")["batches"]
    p.says("{:,} module calls in one `generate()`", batch["module_calls"])
    ways = {name: way["generate_ns"] for name, way in batch["ways"].items()}

    def over_bare(name: str) -> float:
        rounds = zip(ways[name], ways["bare"], strict=True)
        return 100 * (median(mine / bare for mine, bare in rounds) - 1)

    p.says(
        "the profiler alone +{:.1f} %, layerscope +{:.1f} %, `record_function` hooks +{:.1f} %,"
        " `with_stack=True` +{:.1f} %, DeepSpeed's flops profiler +{:.1f} %",
        *map(
            over_bare,
            (
                "profiler alone",
                "layerscope",
                "record_function hooks",
                "with_stack=True",
                "DeepSpeed flops profiler",
            ),
        ),
    )
    ratios = [a / b for a, b in zip(ways["layerscope"], ways["profiler alone"], strict=True)]
    p.says(
        "layerscope took {:.2f} to {:.2f} times what the profiler alone took (median {:.2f})",
        min(ratios),
        max(ratios),
        median(ratios),
    )


_ALL_THREADS = "cpu/capture_all_threads.json"


def share_over(name: str, base: str) -> tuple[float, float, float]:
    """(median, least, most) over the rounds of one way over another in the same round, in per cent."""
    (batch,) = document(_ALL_THREADS)["batches"]
    mine, other = (batch["ways"][way]["generate_ns"] for way in (name, base))
    ratios = [100 * (a / b - 1) for a, b in zip(mine, other, strict=True)]
    return median(ratios), min(ratios), max(ratios)


def us_a_call(name: str, base: str) -> float:
    """Median over the rounds of the difference to another way, per module call."""
    (batch,) = document(_ALL_THREADS)["batches"]
    mine, other = (batch["ways"][way]["generate_ns"] for way in (name, base))
    differences = [a - b for a, b in zip(mine, other, strict=True)]
    return median(differences) / batch["module_calls"] / 1e3


WAYS = {  # as the table says it -> as the benchmark calls it
    "the ranges of faaa1b7": "before",
    "layerscope, the calling thread": "layerscope",
    "layerscope, all threads": "layerscope, all threads",
    "`capture()` as a whole": "capture()",
}


def way_lines() -> list[str]:
    """`| layerscope, all threads | +11.9 % [-3.0, +20.1] | 16.4 |`, over the profiler alone."""
    lines = []
    for words, name in WAYS.items():
        middle, low, high = share_over(name, "profiler alone")
        each = us_a_call(name, "profiler alone")
        lines.append(f"| {words} | {middle:+.1f} % [{low:+.1f}, {high:+.1f}] | {each:+.1f} |")
    return lines


def _all_threads(p: Page) -> None:
    (batch,) = document(_ALL_THREADS)["batches"]
    p.says(
        "{} interleaved rounds of {:,} calls",
        len(batch["ways"]["bare"]["generate_ns"]),
        batch["module_calls"],
    )
    for line in way_lines():
        p.says("{}", line)
    for words, name, base in (
        (
            "today's ranges over those of faaa1b7: {:+.1f} % [{:+.1f}, {:+.1f}]",
            "layerscope",
            "before",
        ),
        (
            "all threads over the calling thread: {:+.1f} % [{:+.1f}, {:+.1f}]",
            "layerscope, all threads",
            "layerscope",
        ),
    ):
        p.says(words, *share_over(name, base))


def _executors(p: Page) -> None:
    line = r" +([\d.]+) s +([\d.]+) s +([\d.]+) s +([\d.]+) ms +([\d.]+)%"
    local, ray, by_bytes = (
        [float(v) for v in printed(_EXECUTOR, f"{name}{line}")]
        for name in ("local", "ray", "ray, by bytes")
    )
    p.says(
        "takes {:.1f} ms, Ray {:.0f} ms with a shared folder and {:.0f} ms where the folder comes as"
        " bytes, {:.1f} % and {:.1f} % of a cell of {:.1f} s",
        local[3],
        ray[3],
        by_bytes[3],
        ray[4],
        by_bytes[4],
        local[2],
    )
    p.says("({:.2f} and {:.2f} of local)", ray[2] / local[2], by_bytes[2] / local[2])
    p.says(
        "Ray pays {:.1f} s for its start and import of torch, and {:.1f} s more in the first cell",
        ray[0],
        ray[1] - local[1],
    )


def _reading(p: Page) -> None:
    def ours(trace: str, rounds: int) -> tuple[str, ...]:
        return printed(
            _READING,
            rf"{trace}[^\n]*, {rounds} rounds\n(?:[^\n]+\n)*?layerscope layers --csv +"
            r"([\d.]+) +[\d.]+ +(\d+) +([\d.]+) +([\d.]+)",
        )

    repeated = ours("xl_b16_eager_h200-repeated", 3)
    (size,) = printed(_READING, r"repeated.json.gz: ([\d,]+) MB")
    p.says("repeated 14 times | {} MB | {} (3 rounds) | {} |", size, repeated[2], repeated[3])
    large = [ours(r"xl_b16_eager_h200\.trace", n) for n in (9, 5, 3)]
    p.says("| {}, {} and {} (9, 5 and 3 rounds) | {} |", *(v[2] for v in large), large[0][3])
    small = ours("xl_b1_cudagraphs_h200", 9)
    p.says("| {} (9 rounds) | {} ({} MB) |", small[2], small[3], small[1])
    p.given("| 75.7 MB |", "| 14.7 MB |", "at 76 MB, and", "at 76 MB, torch", "0.25 s are Python")
    cpu = [float(v[0]) for v in large]
    p.says(
        "14 times the text took {:.1f} to {:.0f} times the CPU",
        float(repeated[0]) / max(cpu),
        float(repeated[0]) / min(cpu),
    )
    (hta,) = printed(_READING, r"HolisticTraceAnalysis parse +[\d.]+ +[\d.]+ +\d+ +([\d.]+)")
    (plugin,) = printed(_READING, r"torch-tb-profiler parse +[\d.]+ +[\d.]+ +\d+ +([\d.]+)")
    p.says("takes {:.1f} times orjson's CPU", float(hta))
    p.says("torch-tb-profiler {} times", str(round(float(plugin) + 1e-9, 1)))


def _counts_of_long_runs(p: Page) -> None:
    """Counts that runs of minutes to hours gave: the commands that repeat them stand on the page."""
    p.given(
        "inputs up to 8 KiB): 1,521,154 inputs in 1,612 s",
        "205,882 more in 721 s",
        "limit of 2 GB, to which its process grows by 1.3 kB",
        "atheris 3.0.0",
        "(41 files and folders",
        "sweep (27) with",
        "full disk: 218 struck runs",
    )
