"""RAPL meters over real files laid out as powercap does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from layerscope.measure.energy.meter import MeterLost
from layerscope.measure.energy.rapl import find_domains
from layerscope.records.energy_record import EnergyAbsent

RANGE_UJ = 262_143_328_850


def domain(root: Path, folder: str, name: str, energy_uj: int) -> Path:
    path = root / folder
    path.mkdir(parents=True)
    (path / "name").write_text(f"{name}\n")
    (path / "energy_uj").write_text(f"{energy_uj}\n")
    (path / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
    return path


def test_packages_and_dram_only(tmp_path: Path) -> None:
    domain(tmp_path, "intel-rapl:0", "package-0", 5_000_000)
    domain(tmp_path, "intel-rapl:0:0", "core", 1)
    domain(tmp_path, "intel-rapl:0:2", "dram", 2_000_000)
    domain(tmp_path, "intel-rapl:1", "package-1", 7_500_000)
    domain(tmp_path, "intel-rapl:1:2", "dram", 3_000_000)
    domain(tmp_path, "intel-rapl-mmio:0", "package-0", 9)
    (tmp_path / "intel-rapl").mkdir()
    found = find_domains(tmp_path)
    assert not isinstance(found, EnergyAbsent)
    readings = {meter.name: meter.read_j() for meter in found}
    assert readings == pytest.approx(
        {"package-0": 5.0, "dram-0": 2.0, "package-1": 7.5, "dram-1": 3.0}
    )
    assert str(tmp_path) in found[0].source


def test_wrap_around_goes_on_and_a_reset_is_noticed(tmp_path: Path) -> None:
    path = domain(tmp_path, "intel-rapl:0", "package-0", RANGE_UJ - 1_000_000)
    found = find_domains(tmp_path)
    assert not isinstance(found, EnergyAbsent)
    (meter,) = found
    before_j = meter.read_j()
    (path / "energy_uj").write_text("4000000\n")
    assert meter.read_j() - before_j == pytest.approx(5.0)
    assert meter.read_j() - before_j == pytest.approx(5.0)
    (path / "energy_uj").write_text("3000000\n")
    with pytest.raises(MeterLost, match="reset"):
        meter.read_j()


def test_a_counter_that_vanishes_raises_meter_lost(tmp_path: Path) -> None:
    path = domain(tmp_path, "intel-rapl:0", "package-0", 1)
    found = find_domains(tmp_path)
    assert not isinstance(found, EnergyAbsent)
    (path / "energy_uj").unlink()
    with pytest.raises(MeterLost, match="No such file"):
        found[0].read_j()


def test_no_powercap_is_absent_with_the_reason(tmp_path: Path) -> None:
    found = find_domains(tmp_path / "missing")
    assert isinstance(found, EnergyAbsent)
    assert "virtual machines" in found.reason


def test_an_unreadable_counter_says_what_to_do(tmp_path: Path) -> None:
    path = domain(tmp_path, "intel-rapl:0", "package-0", 1)
    (path / "energy_uj").unlink()
    if os.geteuid() == 0:
        # Root reads everything; a folder in its place is unreadable for root too.
        (path / "energy_uj").mkdir()
    else:
        (path / "energy_uj").touch(mode=0o000)
    found = find_domains(tmp_path)
    assert isinstance(found, EnergyAbsent)
    assert "sudo chmod" in found.reason


def test_a_counter_that_holds_no_number_is_absent(tmp_path: Path) -> None:
    path = domain(tmp_path, "intel-rapl:0", "package-0", 1)
    (path / "energy_uj").write_text("\n")
    found = find_domains(tmp_path)
    assert isinstance(found, EnergyAbsent)
    assert "number" in found.reason
