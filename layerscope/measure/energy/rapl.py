"""RAPL domains as energy meters: the powercap folder in, meters (or why there are none) out."""

from __future__ import annotations

from pathlib import Path

from layerscope.core.errors import EnvironmentProblem
from layerscope.measure.energy.meter import MeterLost
from layerscope.records.energy_record import EnergyAbsent

POWERCAP = Path("/sys/class/powercap")
_MICRO = 1e-6


class RaplDomain:
    """One package or DRAM counter, unwrapped.

    The kernel's counter starts again at `max_energy_range_uj` (about 262 kJ on common packages, so
    every twenty minutes at 200 W). It must be read at least twice in that time, which windows do;
    open a domain when the pass begins. A smaller step back is a reset, not a wrap-around.
    """

    def __init__(self, folder: Path, name: str) -> None:
        """Open a domain and read it once.

        Raises:
            EnvironmentProblem: a file of the domain cannot be read.
        """
        self._folder = folder
        self._name = name
        self._range_uj = _number(folder / "max_energy_range_uj")
        self._last_uj = _number(folder / "energy_uj")
        self._wrapped_uj = 0

    @property
    def name(self) -> str:
        return self._name

    @property
    def source(self) -> str:
        return f"RAPL {self._name} ({self._folder}/energy_uj)"

    @property
    def resolution_j(self) -> float:
        return 61e-6  # the usual unit of MSR_RAPL_POWER_UNIT, 2**-14 J

    def read_j(self) -> float:
        """Joules since the domain was opened plus its value then.

        Raises:
            MeterLost: the counter cannot be read any more.
        """
        try:
            now_uj = _number(self._folder / "energy_uj")
        except EnvironmentProblem as problem:
            raise MeterLost(str(problem)) from None
        if now_uj < self._last_uj:
            if self._last_uj - now_uj < self._range_uj / 2:
                raise MeterLost(
                    f"{self.source}: moved back from {self._last_uj} to {now_uj} µJ, too little for "
                    "a wrap-around, so it was reset; run again."
                )
            self._wrapped_uj += self._range_uj
        self._last_uj = now_uj
        return (now_uj + self._wrapped_uj) * _MICRO


def find_domains(root: Path = POWERCAP) -> tuple[RaplDomain, ...] | EnergyAbsent:
    """Every package and DRAM domain below `root`; core and uncore are parts of their package.

    Args:
        root: `/sys/class/powercap`, whose entries are named `intel-rapl:0` (a package) and
            `intel-rapl:0:2` (a part of it). AMD's counters have the same names. The MMIO twins
            (`intel-rapl-mmio:*`) count the same package again and are left out.
    """
    names: dict[Path, str] = {}
    try:
        folders = sorted(root.glob("intel-rapl:*"))
        for folder in folders:
            label = (folder / "name").read_text().strip()
            if label.startswith("package") or label == "dram":
                names[folder] = label
    except OSError as error:
        return _unreadable(Path(error.filename or root), error.strerror or "unreadable")
    if not names:
        return EnergyAbsent(
            reason=f"no RAPL package counter under {root}; virtual machines and non-x86 CPUs have "
            "none. On bare metal load the module: modprobe intel_rapl_msr."
        )
    try:
        return tuple(RaplDomain(folder, _unique(folder, label)) for folder, label in names.items())
    except EnvironmentProblem as problem:
        return EnergyAbsent(reason=str(problem))


def _unique(folder: Path, label: str) -> str:
    """DRAM domains of two packages share the name `dram`: add the package's number."""
    package = folder.name.split(":")[1]
    return f"{label}-{package}" if label == "dram" else label


def _number(path: Path) -> int:
    """An integer from a sysfs file.

    Raises:
        EnvironmentProblem: it cannot be read or is no number.
    """
    try:
        return int(path.read_text())
    except OSError as error:
        reason = _unreadable(path, error.strerror or "unreadable").reason
        raise EnvironmentProblem(reason) from None
    except ValueError:
        raise EnvironmentProblem(f"{path}: does not hold a number; RAPL is unusable.") from None


def _unreadable(path: Path, why: str) -> EnergyAbsent:
    return EnergyAbsent(
        reason=f"{path}: {why}. RAPL counters are readable by root only on most systems; run as "
        f"root, or: sudo chmod o+r {POWERCAP}/intel-rapl:*/energy_uj"
    )
