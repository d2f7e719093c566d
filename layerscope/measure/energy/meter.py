"""What an energy meter is: a cumulative joule counter goes in, named readings come out."""

from __future__ import annotations

from typing import Protocol

from layerscope.core.errors import EnvironmentProblem


class MeterLost(EnvironmentProblem):
    """A counter that answered before and does not any more. Windows turn it into a reason."""


class Meter(Protocol):
    """One cumulative counter of joules. Each has its own edges, so meters are never added up here.

    Attributes:
        name: short and unique among the meters of a window ("gpu 0", "package-0").
        source: what was read, in words ("nvml total energy counter, device 0: NVIDIA H200").
        resolution_j: smallest difference that two readings can show.
    """

    @property
    def name(self) -> str: ...

    @property
    def source(self) -> str: ...

    @property
    def resolution_j(self) -> float: ...

    def read_j(self) -> float:
        """Joules since an arbitrary fixed moment.

        Raises:
            MeterLost: the counter cannot be read any more.
        """
        ...
