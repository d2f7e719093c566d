"""What to do where the profiler does not see the device: in words, and without importing torch."""

from __future__ import annotations

REMEDY = (
    "close other profilers (nsys, ncu, DCGM's profiling module), which hold CUPTI; check that "
    "torch was installed with its own CUPTI (pip install nvidia-cuda-cupti for its CUDA) and "
    "that the container was started with --gpus"
)
NO_DEVICE_EVENTS = (
    f"the model ran on the device and the trace holds no device event; {REMEDY}; "
    "`layerscope doctor` tries it"
)
