"""`Diagnosis`: what `layerscope doctor` found on this machine, one `Check` per question."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "missing", "limited", "unknown"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One question about the machine and its answer.

    Attributes:
        name: stable key, such as `nvml_energy`.
        status: `ok`; `missing`: not there or unusable; `limited`: there, but numbers suffer or
            some work is impossible; `unknown`: it could not be found out, or nobody has tried it.
        found: what was read, with versions and measured values.
        costs: what the user goes without where this is not ok.
        remedy: how to get it; empty when ok.
    """

    name: str
    status: Status
    found: str
    costs: str
    remedy: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagnosis:
    """All checks, in the order asked.

    Attributes:
        layerscope: its version.
        checks: never empty.
        blocking: names of the checks without which not even the bundled model can be profiled on
            the CPU, and which are not met.
    """

    layerscope: str
    checks: tuple[Check, ...]
    blocking: tuple[str, ...]

    @property
    def can_profile(self) -> bool:
        """Whether `layerscope profile --model tiny --device cpu` can run here."""
        return not self.blocking
