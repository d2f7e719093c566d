"""Event categories of every Kineto back end in, their role in an account out."""

from __future__ import annotations

from layerscope.core.vocabulary import COMPILED_PREFIX
from layerscope.records.tables import Launch

LAUNCH_KINDS: tuple[Launch, ...] = ("none", "runtime", "driver", "graph")
GRAPH_LAUNCHES = ("cudaGraphLaunch", "cuGraphLaunch", "hipGraphLaunch")
# An id that the trace does not give.
ABSENT = -1

# Today's names first, then those that torch 1.8 to 1.11 wrote.
OPERATOR_CATEGORIES = frozenset({"cpu_op", "Operator"})
ANNOTATION_CATEGORIES = frozenset({"user_annotation", "UserAnnotation"})
SPAN_CATEGORIES = OPERATOR_CATEGORIES | ANNOTATION_CATEGORIES
LAUNCH_CATEGORIES: dict[str, Launch] = {
    "cuda_runtime": "runtime",
    "cuda_driver": "driver",
    "Runtime": "runtime",
    "runtime": "runtime",
    "hip_runtime": "runtime",
    "hip_driver": "driver",
    "xpu_runtime": "runtime",
    "xpu_driver": "driver",
    "mtia_runtime": "runtime",
    "glow_runtime": "runtime",
    "privateuse1_runtime": "runtime",
    "privateuse1_driver": "driver",
}
# gpu_user_annotation lies on the device's rows too, but it is a projected range, not work.
DEVICE_CATEGORIES = frozenset(
    {
        "kernel",
        "gpu_memcpy",
        "gpu_memset",
        "Kernel",
        "Memcpy",
        "Memset",
        "mtia_ccp_events",
        "hpu_op",
    }
)
# What torch writes around compiled code, and layerscope around a call of it: no operators.
COMPILER_RANGES = (
    COMPILED_PREFIX,
    "## Call CompiledFxGraph",
    "Torch-Compiled Region",
    "CompiledFunction",
    "TorchDynamo Cache Lookup",
    "Pregraph bytecode",
    "AOTDispatcher Runtime Wrapper",
)
PYTHON_CATEGORIES = frozenset({"python_function", "PythonFunction"})
MODULE_MARK = "nn.Module: "
# No work of their own: projections, flow, marks, and what the profiler itself cost.
IGNORED_CATEGORIES = PYTHON_CATEGORIES | {
    "gpu_user_annotation",
    "cuda_sync",
    "cuda_event",
    "cpu_instant_event",
    "overhead",
    "Trace",
    "ac2g",
    "async_cpu_to_gpu",
    "fwdbwd",
    "forward_backward",
    "cuda_profiler_range",
    "collective_comm",
    "mtia_insight",
    "external_correlation",
}

# Between the names of several modules that one kernel says it works for.
MODULES_BETWEEN = "\x1f"
