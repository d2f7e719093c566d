"""The versions that layerscope was tried with; a test compares them with CI's files.

All tests run on Python 3.11; on 3.12 what ran on GPUs, on 3.13 the commands' and the doctor's tests.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TorchTested:
    """A series of torch that the tests ran with.

    Attributes:
        series: its first two numbers.
        build: "CPU" or "CUDA".
        on_gpu: whether a GPU was there; without one only what runs on the CPU was tried.
    """

    series: str
    build: str
    on_gpu: bool

    def __str__(self) -> str:
        where = "on a GPU" if self.on_gpu else "without a GPU"
        return f"{self.series} ({self.build} build{f', {where}' if self.build == 'CUDA' else ''})"


PYTHON = ("3.11", "3.12", "3.13")
TORCH = (
    TorchTested("2.11", "CUDA", on_gpu=True),
    TorchTested("2.13", "CPU", on_gpu=False),
    TorchTested("2.14", "CUDA", on_gpu=False),
)
TRANSFORMERS = ("5.17", "5.24")
# The least that pyproject.toml asks for, and the first that it refuses.
PYTHON_LEAST = "3.11"
TORCH_LEAST = "2.11"
TRANSFORMERS_LEAST = "5.17"
TRANSFORMERS_BELOW = "6"
