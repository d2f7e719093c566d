"""What an optimized run compiled, what of it really ran, and how its answers differ from eager ones."""

from __future__ import annotations

from dataclasses import dataclass, field

# Graphs that a compiled run may hold for one function. Each length bucket and batch size is a graph
# of its own; torch's default of 8 is two batch sizes of one data set, and beyond it everything runs
# uncompiled without a word.
RECOMPILE_LIMIT = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class CompiledPart:
    """One compiled part of the model.

    Attributes:
        part: FQN.
        graphs: compiled in the warm-up; one per shape where nothing breaks.
        later_graphs: compiled afterwards, in measured time.
        calls: of the part, warm-up included; 0 where the model does not use it, or calls methods of it.
        fallbacks: calls in which no compiled code ran.
        compile_s: host time spent compiling.
        left_eager: why it was not compiled after all; "" where it was. Its other counts are 0 then.
    """

    part: str
    graphs: int
    later_graphs: int
    calls: int
    fallbacks: int
    compile_s: float
    left_eager: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenDifference:
    """A sample whose tokens differ from the eager run's.

    Attributes:
        position: of the first token that differs, from 0.
        logit_gap: eager logit of the eager token minus eager logit of ours at that position; a
            near-tie is close to 0. None where one of the two answers had ended.
    """

    sample_id: str
    position: int
    eager_token: int
    token: int
    logit_gap: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class TokensAgainstEager:
    """The quality guard: the same samples, eagerly."""

    samples: int
    equal: int
    differences: tuple[TokenDifference, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizationRecord:
    """How a mode other than eager went.

    Attributes:
        graph_breaks: reason -> how often.
        cudagraph_skips: graphs that were to be CUDA graphs and are not; None without CUDA graphs.
        tuned_graphs: graphs whose matrix-vector products were generated and tuned by coordinate
            descent; None where that was not asked for.
        tokens: None where nothing was compared.
        no_static_cache: why the decoder's cache grows as in an eager run; "" where it is static.
        growing_cache_bytes: keys and values that the eager run held after the last step of the same
            batch, the largest of the compared; the run's own, static cache stands in its memory record.
    """

    mode: str
    parts: tuple[CompiledPart, ...]
    graph_breaks: dict[str, int] = field(default_factory=dict)
    cudagraph_skips: int | None = None
    tuned_graphs: int | None = None
    tokens: TokensAgainstEager | None = None
    growing_cache_bytes: int | None = None
    no_static_cache: str = ""

    @property
    def compiled(self) -> tuple[str, ...]:
        """FQNs of the parts that ran compiled; one inside another may have run as a piece of it."""
        return tuple(part.part for part in self.parts if part.calls and not part.left_eager)

    @property
    def fell_back(self) -> tuple[str, ...]:
        """What did not run as asked, in words; empty when all of it did."""
        said = [
            f"{part.part} was left eager: {part.left_eager}"
            for part in self.parts
            if part.left_eager
        ]
        if self.no_static_cache:
            said.append(f"no static cache: {self.no_static_cache}")
        said += [
            f"{part.part}: {part.fallbacks} of {part.calls} calls ran uncompiled"
            for part in self.parts
            if part.fallbacks
        ]
        said += [
            f"{part.part}: {part.later_graphs} graphs were compiled after the warm-up"
            for part in self.parts
            if part.later_graphs
        ]
        if self.cudagraph_skips:
            said.append(f"{self.cudagraph_skips} graphs were not captured as CUDA graphs")
        if self.tuned_graphs == 0:
            said.append(
                "coordinate descent tuned nothing: no graph multiplies a matrix by one vector"
            )
        return tuple(said)
