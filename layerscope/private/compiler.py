"""What torch.compile keeps to itself: dynamo's limits and counters, inductor's passes and notes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from types import SimpleNamespace
from typing import Any

from layerscope.private.features import COMPILING, NOTES
from layerscope.private.names import Feature, PrivateName, is_function, is_of, takes

# dynamo's words for an operator whose result is a number or a shape that only the device knows.
_DATA = re.compile(r"data[- ]dependent|dynamic shape operator|Tensor\.item\(\)", re.IGNORECASE)
_REPEATS = Feature(
    "layers of a region that compiled code calls several times",
    "Such a region is one row; all else in the account stays.",
)
_INDUCTOR = "torch._inductor.compile_fx"
_CONFIG = "torch._inductor.config"
_DYNAMO = "torch._dynamo.config"


def _stored_fields() -> object:
    """An object with the fields of a compiled graph, which has no attributes before it is made."""
    return SimpleNamespace(**GRAPH.get().__dataclass_fields__)


@cache
def _traced() -> Any:
    """The graph that dynamo makes of a small linear layer."""
    import torch

    graphs: list[Any] = []

    def keep(graph: Any, _inputs: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    with torch.no_grad():
        torch.compile(torch.nn.Linear(2, 2), backend=keep)(torch.zeros(1, 2))
    return graphs[0]


def _held_input() -> object:
    """The input of a traced graph that a module holds as a parameter."""
    return next(n for n in _traced().graph.nodes if n.op == "placeholder" and "weight" in n.name)


def _knows_a_parameter(source: Any) -> str:
    name = _name_of(source)
    return "" if any(kind in name for kind in HELD) else f"a parameter's source is called {name}"


def _patches(key: str) -> Callable[[Any], str]:
    def probe(_value: Any) -> str:
        with inductor_settings({key: True}):
            return ""

    return probe


def _counts(counters: Any) -> str:
    return "" if counters["graph_break"] is not None else "it has no graph_break"


GRAPH = PrivateName(
    module="torch._inductor.output_code",
    path="CompiledFxGraph",
    what_for="a compiled graph: what is called, and what holds our notes",
    feature=NOTES,
)
COMPILE_FX = PrivateName(
    module=_INDUCTOR,
    path="compile_fx",
    what_for="compiles one graph: called with settings of ours, and wrapped to see what dynamo traced",
    feature=COMPILING,
    probe=takes("model_", "example_inputs_", "config_patches"),
)
JOINT_PASSES = PrivateName(
    module=_INDUCTOR,
    path="_recursive_joint_graph_passes",
    what_for="wrapped: products are marked before the first passes rewrite them",
    feature=NOTES,
    probe=is_function,
)
POST_GRAD_PASSES = PrivateName(
    module=_INDUCTOR,
    path="_recursive_post_grad_passes",
    what_for="wrapped: products are followed through the last passes",
    feature=NOTES,
    probe=is_function,
)
DUMP_NOTES = PrivateName(
    module="torch._inductor.debug",
    path="dump_inductor_provenance_info",
    what_for="wrapped: our notes are stored beside inductor's own, in its cache, too",
    feature=NOTES,
    probe=is_function,
)
POST_COMPILE = PrivateName(
    module=GRAPH.module,
    path="CompiledFxGraph.post_compile",
    what_for="wrapped: a graph is ready, compiled now or from the cache",
    feature=NOTES,
    probe=takes("self", "example_inputs"),
)
CALL_GRAPH = PrivateName(
    module=GRAPH.module,
    path="CompiledFxGraph.__call__",
    what_for="wrapped: a range around each call of a compiled graph",
    feature=NOTES,
    probe=takes("self", "inputs"),
)
SOURCE_CODE = PrivateName(
    module=GRAPH.module,
    path="CompiledFxGraph.source_code",
    what_for="the code inductor wrote, in which call sites are found",
    feature=NOTES,
    sample=_stored_fields,
)
MAPPING = PrivateName(
    module=GRAPH.module,
    path="CompiledFxGraph.inductor_provenance_mapping_str",
    what_for="inductor's own notes and ours: which operations a kernel was made of",
    feature=NOTES,
    sample=_stored_fields,
)
LEVEL = PrivateName(
    module=_CONFIG,
    path="trace.provenance_tracking_level",
    what_for="1: have inductor note which operations a kernel was made of",
    feature=NOTES,
    probe=is_of(int),
)
KERNEL_PROFILE = PrivateName(
    module=_CONFIG,
    path="cpp.enable_kernel_profile",
    what_for="have C++ kernels appear in a trace by name",
    feature=NOTES,
    probe=is_of(bool),
)
CACHE_TAG = PrivateName(
    module="torch.compiler.config",
    path="cache_key_tag",
    what_for="keep code with our notes apart from code cached without",
    feature=NOTES,
    probe=is_of(str),
)
ORIGIN = PrivateName(
    module="torch.fx.traceback",
    path="NodeSource",
    what_for="meta['from_node']: which traced operation one of inductor's graph came from",
    feature=NOTES,
)
INPUT_SOURCE = PrivateName(
    module="torch.fx",
    path="Node._dynamo_source",
    what_for="which module holds an input of a compiled graph as its parameter",
    feature=_REPEATS,
    probe=_knows_a_parameter,
    sample=_held_input,
    trial=True,
)
LIMIT = PrivateName(
    module=_DYNAMO,
    path="recompile_limit",
    what_for="raised while our parts are compiled: one graph a shape",
    feature=COMPILING,
    probe=is_of(int),
)
SUM_LIMIT = PrivateName(
    module=_DYNAMO,
    path="accumulated_recompile_limit",
    what_for="the same over all of one code's graphs",
    feature=COMPILING,
    probe=is_of(int),
)
COUNTERS = PrivateName(
    module="torch._dynamo.utils",
    path="counters",
    what_for="graph breaks and graphs that were not captured as CUDA graphs",
    feature=COMPILING,
    probe=_counts,
)
CUDAGRAPHS = PrivateName(
    module=_CONFIG,
    path="triton.cudagraphs",
    what_for="capture a compiled graph as a CUDA graph",
    feature=COMPILING,
    probe=_patches("triton.cudagraphs"),
)
TUNING = PrivateName(
    module=_CONFIG,
    path="coordinate_descent_tuning",
    what_for="tune the kernels of graphs with a product of one row",
    feature=COMPILING,
    probe=_patches("coordinate_descent_tuning"),
)
WARMING = PrivateName(
    module=_CONFIG,
    path="triton.force_cudagraphs_warmup",
    what_for="no CUDA graph is captured before the call in which captures are looked at",
    feature=NOTES,
    probe=_patches("triton.force_cudagraphs_warmup"),
)
NOTED = (JOINT_PASSES, POST_GRAD_PASSES, DUMP_NOTES, POST_COMPILE, CALL_GRAPH, SOURCE_CODE, MAPPING,
         LEVEL, KERNEL_PROFILE, CACHE_TAG, ORIGIN, INPUT_SOURCE, WARMING)  # fmt: skip
COMPILED = (COMPILE_FX, LIMIT, SUM_LIMIT, COUNTERS, CUDAGRAPHS, TUNING)
NAMES = (GRAPH, *NOTED, *COMPILED)
# What holds an input of a graph, as the name of its source says it.
HELD = ("._parameters[", "._buffers[")


def inductor_settings(settings: Mapping[str, Any]) -> AbstractContextManager[None]:
    """Inside, inductor's configuration with these values."""
    from torch._inductor import config

    patched: AbstractContextManager[None] = config.patch(dict(settings))
    return patched


def notes_kept() -> AbstractContextManager[None]:
    """Inside, inductor keeps notes of what it makes kernels of, and names them in traces."""
    keys = (name.path for name in (LEVEL, KERNEL_PROFILE))
    return inductor_settings(dict(zip(keys, (1, True), strict=True)))


def none_captured() -> AbstractContextManager[None]:
    """Inside, calls that would be captured as CUDA graphs run as the calls before a capture do."""
    return inductor_settings({WARMING.path: True})


def cache_tagged(tag: str) -> AbstractContextManager[None]:
    """Inside, compiled code has a cache of its own under this tag."""
    from torch.compiler import config

    patched: AbstractContextManager[None] = config.patch(cache_key_tag=tag)  # type: ignore[attr-defined]
    return patched


def inductor(graph: Any, inputs: Any, settings: dict[str, Any]) -> Any:
    """One graph compiled by inductor with these settings."""
    return COMPILE_FX.get()(graph, inputs, config_patches=settings)


@contextmanager
def recompile_limits(limit: int, least_sum: int) -> Iterator[None]:
    """Inside, dynamo compiles one code up to `limit` times, and at least `least_sum` times in all."""
    from torch._dynamo import config

    before = config.recompile_limit, config.accumulated_recompile_limit
    config.recompile_limit = limit
    config.accumulated_recompile_limit = max(config.accumulated_recompile_limit, least_sum)
    try:
        yield
    finally:
        config.recompile_limit, config.accumulated_recompile_limit = before


def counters() -> Any:
    """What dynamo and inductor count: counters by group."""
    return COUNTERS.get()


def graph_breaks() -> Counter[str]:
    """Why dynamo has broken graphs so far -> how often: a copy."""
    return Counter(counters()["graph_break"])


def set_graph_breaks(breaks: Counter[str]) -> None:
    """Have it say these instead."""
    counted = counters()["graph_break"]
    counted.clear()
    counted.update(breaks)


def depends_on_data(reason: str) -> bool:
    """Whether a graph broke because a value in a tensor decides a shape or a way to go."""
    return _DATA.search(reason) is not None


def input_source(node: Any) -> str:
    """What dynamo calls the source of a traced graph's input; "" where it has none."""
    try:
        return _name_of(getattr(node, INPUT_SOURCE.attribute, None))
    except Exception:  # not every source has a name
        return ""


def _name_of(source: Any) -> str:
    return str(source.name if isinstance(source.name, str) else source.name())
