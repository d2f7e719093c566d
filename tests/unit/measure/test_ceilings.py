"""Ceilings: rounds of a scripted bench, the doubt about what is kept, and one real measurement."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import torch

from layerscope.core.errors import EnvironmentProblem
from layerscope.measure import ceilings, ceilings_cache, ceilings_cpu
from layerscope.measure.ceilings import (
    best_of,
    cache_file,
    ceilings_for,
    ceilings_key,
    device_name,
    keep_raised,
    measure_ceilings,
)
from layerscope.measure.ceilings_bench import RATES, NoRoom, NotMeasured, Reading
from layerscope.measure.ceilings_cache import ENOUGH_BUSY_TRIES, load_kept, store
from layerscope.measure.datasheets import Datasheet, datasheet_of
from layerscope.measure.machine_load import Load
from layerscope.records.work import CEILINGS_FORM, Ceilings, Raised

CPU = torch.device("cpu")
QUIET, BUSY = Load(True, "quiet: nothing"), Load(False, "busy: 1.0 of 2 cores")
TRUE = {"float16": 4e11, "bfloat16": 2e12, "float32": 3e11, "copy": 2e10}


class FakeBench:
    """Gives the scripted rates of a rate's rounds, the last one again and again."""

    method = "by script"

    def __init__(self, **rounds: list[float]) -> None:
        self._rounds = {**{name: [rate] for name, rate in TRUE.items()}, **rounds}
        self.asked: list[str] = []

    def round(self, rate: str) -> Reading:
        if rate not in self._rounds:
            raise NotMeasured("a CPU has no TF32")
        values = self._rounds[rate]
        place = min(self.asked.count(rate), len(values) - 1)
        self.asked.append(rate)
        return Reading(values[place], f"shape {place}", 10)

    def glance(self, rate: str) -> tuple[float, float]:
        if rate not in self._rounds:
            raise NotMeasured("a CPU has no TF32")
        best = max(self._rounds[rate])
        return 0.6 * best, 4 * best


def measured(bench: FakeBench, load: Load = QUIET) -> Ceilings:
    return measure_ceilings(CPU, key="k", bench=bench, look=lambda: load, clock=lambda: 0.0)


def kept_in(path: Path, bench: FakeBench, load: Load = QUIET, *, again: bool = False) -> Ceilings:
    return ceilings_for(CPU, cache=path, bench=bench, look=lambda: load, remeasure=again)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "wait_for_quiet", lambda look: look())


def test_a_ceiling_is_the_best_of_all_rounds_and_says_how_they_scatter() -> None:
    # The best in the second round, confirmed in the fifth: 5 rounds, median 80.
    bench = FakeBench(float32=[50.0, 100.0, 60.0, 80.0, 98.0, 1000.0])
    found = measured(bench)
    assert found.matmul_flops_per_s["float32"] == 100.0
    assert found.matmul_shape["float32"] == "shape 1"
    assert found.scatter["float32"] == pytest.approx(0.2)
    assert found.measurements["float32"] == 50
    assert bench.asked.count("float16") == 4  # settled at once: the least number of rounds
    assert found.scatter["float16"] == 0.0
    assert "TF32" in found.absent["tf32"]
    assert (found.quiet, found.form, found.busy_tries) == (True, CEILINGS_FORM, 0)


def test_workers_that_were_never_undisturbed_together_go_on() -> None:
    """Rounds agree at one thread's rate, but the threads never ran at once: not settled."""

    class Disturbed(FakeBench):
        def round(self, rate: str) -> Reading:
            reading = super().round(rate)
            if rate != "float32":
                return reading
            return replace(reading, apart_per_s=100.0, together=5 if reading.per_s > 90 else 0)

    bench = Disturbed(float32=[50.0, 50.0, 50.0, 50.0, 50.0, 97.0, 96.0])
    assert measured(bench).matmul_flops_per_s["float32"] == 97.0
    assert bench.asked.count("float32") == 7


def test_workers_that_never_ran_at_once_are_added_up_on_a_busy_machine_only() -> None:
    class Apart(FakeBench):
        def round(self, rate: str) -> Reading:
            return replace(super().round(rate), apart_per_s=100.0, together=0)

    rounds = {name: [50.0] for name in TRUE}
    busy = measured(Apart(**rounds), BUSY)
    assert busy.rates() == dict.fromkeys(TRUE, 100.0)
    assert busy.matmul_shape["float32"] == "shape 0, threads added up"
    quiet = measured(Apart(**rounds), QUIET)
    assert quiet.rates() == dict.fromkeys(TRUE, 50.0)


def test_the_rounds_of_a_rate_are_spread_over_the_whole_time() -> None:
    bench = FakeBench()
    measured(bench)
    assert bench.asked[:8] == ["float16", "bfloat16", "float32", "copy"] * 2


def test_measuring_ends_in_bounded_time() -> None:
    times = iter(range(0, 1000, 3))
    bench = FakeBench(float32=[float(2**n) for n in range(20)])  # never settles
    found = measure_ceilings(
        CPU, key="k", bench=bench, look=lambda: QUIET, clock=lambda: float(next(times))
    )
    assert bench.asked.count("float32") == 3  # at 0, 3 and 6 s; 9 s are the limit
    assert found.matmul_flops_per_s["float32"] == 4.0
    measured(endless := FakeBench(float32=[float(2**n) for n in range(20)]))
    assert endless.asked.count("float32") == ceilings.MOST_ROUNDS


def test_a_device_without_room_for_the_copy_has_no_ceilings() -> None:
    bench = FakeBench()
    del bench._rounds["copy"]
    with pytest.raises(EnvironmentProblem, match="the copy cannot be measured"):
        measured(bench)


# what is kept


def poison(path: Path, change: Callable[[dict[str, object]], object]) -> None:
    held = json.loads(path.read_text())
    (entry,) = held.values()
    changed = change(entry)
    path.write_text(json.dumps(held) if changed is None else str(changed))


def rates_of(entry: dict[str, object]) -> dict[str, object]:
    rates = entry["matmul_flops_per_s"]
    assert isinstance(rates, dict)
    return rates


POISONS: dict[str, tuple[Callable[[dict[str, object]], object], str]] = {
    "far too low": (lambda e: rates_of(e).update(float32=1.4e9), "float32: 0.00140 TFLOP/s kept"),
    "low by half": (lambda e: rates_of(e).update(bfloat16=1e12), "bfloat16: 1.00 TFLOP/s kept"),
    "far too high": (lambda e: rates_of(e).update(float16=5e15), "far above"),
    "negative": (lambda e: rates_of(e).update(float32=-3e11), "no rate"),
    "zero copy": (lambda e: e.update(copy_bytes_per_s=0), "copy: 0 per second is no rate"),
    "slow copy": (lambda e: e.update(copy_bytes_per_s=1e9), "copy: 1.00 GB/s kept"),
    "fast copy": (lambda e: e.update(copy_bytes_per_s=1e15), "far above"),
    "a word": (lambda e: rates_of(e).update(float32="fast"), "damaged"),
    "null": (lambda e: e.update(copy_bytes_per_s=None), "damaged"),
    "a list": (lambda e: e.update(matmul_flops_per_s=[1, 2]), "damaged"),
    "one rate gone": (lambda e: rates_of(e).pop("float32") and None, "no rate of float32"),
    "none left": (lambda e: e.update(matmul_flops_per_s={}), "no rate of float16"),
    "a field gone": (lambda e: e.pop("method") and None, "damaged"),
    "not measurable": (lambda e: rates_of(e).update(tf32=1e12), "not measurable now"),
    "no date": (lambda e: e.update(measured_utc="\x1b[2Jyesterday"), "no date"),
    "of the future": (lambda e: e.update(measured_utc="2999-01-01T00:00:00Z"), "no date"),
    "another device": (lambda e: e.update(key="H200", device="H200"), "to be of 'H200'"),
    "an older form": (lambda e: e.update(form=0), "older layerscope"),
    "not finite": (lambda e: '{"a": {"copy_bytes_per_s": NaN}}', "damaged"),
    "no object": (lambda e: "[1, 2, 3]", "damaged"),
    "half a file": (lambda e: '{"a": {"key": ', "damaged"),
    "nothing": (lambda e: " ", "damaged"),
    "nested": (lambda e: "[" * 100_000, "damaged"),
}


@pytest.mark.parametrize("name", POISONS)
def test_a_poisoned_file_is_detected_said_and_replaced(tmp_path: Path, name: str) -> None:
    path = tmp_path / "ceilings.json"
    change, said = POISONS[name]
    kept_in(path, FakeBench())
    poison(path, change)
    bench = FakeBench()
    found = kept_in(path, bench)
    assert bench.asked
    assert not found.kept
    (note,) = found.notes
    assert note.startswith("what was kept is replaced: ")
    assert said in note
    assert "\n" not in note
    assert "\x1b" not in note
    assert found.rates() == TRUE
    after = FakeBench()
    assert kept_in(path, after).kept
    assert not after.asked


def test_bytes_that_are_no_text_and_numbers_beyond_a_float(tmp_path: Path) -> None:
    path = tmp_path / "ceilings.json"
    key = ceilings_key(CPU, None, None)
    for raw in (b"\xff\xfe\x00", b'{"' + key.encode() + b'": {"copy_bytes_per_s": 1e999}}'):
        path.write_bytes(raw)
        assert "damaged" in kept_in(path, FakeBench()).notes[0]


def test_what_is_kept_is_used_without_measuring(tmp_path: Path) -> None:
    path = tmp_path / "ceilings.json"
    first = kept_in(path, FakeBench())
    bench = FakeBench()
    again = kept_in(path, bench)
    assert not bench.asked
    assert again == replace(first, kept=True)
    assert kept_in(path, bench, again=True).kept is False
    assert bench.asked


def test_a_device_without_room_now_says_nothing_against_what_is_kept(tmp_path: Path) -> None:
    class Full(FakeBench):
        def glance(self, rate: str) -> tuple[float, float]:
            raise NoRoom("out of memory")

    path = tmp_path / "ceilings.json"
    kept_in(path, FakeBench())
    assert kept_in(path, bench := Full()).kept
    assert not bench.asked


def test_a_busy_measurement_is_made_again_and_the_larger_rates_stay(tmp_path: Path) -> None:
    path = tmp_path / "ceilings.json"
    kept_in(path, FakeBench(float32=[2.9e11]), BUSY)
    second = kept_in(path, FakeBench(float32=[2.7e11], copy=[2.2e10]), BUSY)
    assert second.rates()["float32"] == 2.9e11
    assert second.rates()["copy"] == 2.2e10
    assert "busy: 1.0 of 2 cores" in second.notes[0]
    last = second
    for _ in range(ENOUGH_BUSY_TRIES - 2):
        last = kept_in(path, FakeBench(), BUSY)
    assert last.busy_tries == ENOUGH_BUSY_TRIES
    bench = FakeBench()
    assert kept_in(path, bench, BUSY).kept  # a machine that is never quiet: enough
    assert not bench.asked


def test_a_quiet_measurement_ends_the_doubt(tmp_path: Path) -> None:
    path = tmp_path / "ceilings.json"
    kept_in(path, FakeBench(), BUSY)
    assert kept_in(path, FakeBench()).busy_tries == 0
    assert kept_in(path, bench := FakeBench()).kept
    assert not bench.asked


def test_the_larger_of_each_rate() -> None:
    old = measured(FakeBench(float32=[5.0], copy=[7.0]))
    new = measured(FakeBench(float32=[4.0], copy=[8.0]))
    both = best_of(new, old)
    assert (both.matmul_flops_per_s["float32"], both.copy_bytes_per_s) == (5.0, 8.0)


def test_the_makers_rates_are_a_limit_whatever_the_file_says_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ceilings.json"
    kept_in(path, FakeBench())
    sheet = Datasheet({"float16": 3e11, "float32": 3e11}, 2e10)
    monkeypatch.setattr(ceilings_cache, "datasheet_of", lambda device: sheet)
    poison(path, lambda e: e.update(datasheet_flops_per_s={"float16": 1e15}))
    found = kept_in(path, FakeBench())
    assert "float16: 0.400 TFLOP/s, the maker states 0.300 TFLOP/s" in found.notes[0]


def test_raised_ceilings_are_kept_and_a_far_raise_is_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "ceilings.json"
    first = kept_in(path, FakeBench())

    def raised_to(rate: float) -> Ceilings:
        step = Raised(rate="float32", before_per_s=3e11, after_per_s=rate, by="layer x")
        return replace(first.with_rates({"float32": rate}), raised=(step,))

    keep_raised(raised_to(3.3e11), first.rates(), path)
    assert kept_in(path, FakeBench()).rates()["float32"] == 3.3e11
    keep_raised(raised_to(9e11), first.rates(), path)
    bench = FakeBench()
    found = kept_in(path, bench)
    assert bench.asked
    assert "float32 was beaten by layer x" in found.notes[0]
    assert found.rates()["float32"] == 3e11


def test_other_devices_stay_in_the_file_and_old_forms_leave_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "ceilings.json"
    assert load_kept(path, "a", "d").ceilings is None
    some = measured(FakeBench())
    store(path, replace(some, key="a", device="d"))
    store(path, replace(some, key="old", form=0))
    store(path, replace(some, key="b", device="d"))
    assert sorted(msgspec.json.decode(path.read_bytes())) == ["a", "b"]
    assert load_kept(path, "a", "d").ceilings == replace(some, key="a", device="d")
    assert load_kept(path, "a", "d").doubt == ""
    assert list(path.parent.iterdir()) == [path]  # no temporary file left


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    stored = store(tmp_path / "file" / "ceilings.json", measured(FakeBench()))
    assert "not kept" in stored.notes[0]
    (tmp_path / "folder.json").mkdir()
    found = kept_in(tmp_path / "folder.json", FakeBench())
    assert "cannot be read" in found.notes[-1] or "cannot be read" in found.notes[0]
    assert found.rates() == TRUE


def test_the_key_says_on_what_they_were_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    key = ceilings_key(CPU, None, None)
    assert f"{torch.get_num_threads()} threads" in key
    assert " cores | " in key
    assert torch.__version__ in key

    class Properties:
        uuid = "11111111-2222"

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: Properties)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100")
    cuda = torch.device("cuda")
    one = ceilings_key(cuda, "580.1", 700.0)
    assert "NVIDIA H100 | board " in one
    assert "700 W | driver 580.1 | torch" in one
    assert "11111111" not in one  # a board is told from another, and not named
    assert one != ceilings_key(cuda, "580.1", 500.0)
    Properties.uuid = "GPU-11111111-2222"
    assert one == ceilings_key(cuda, "580.1", 700.0)
    Properties.uuid = "33333333-2222"
    assert one != ceilings_key(cuda, "580.1", 700.0)


def test_cache_folder_follows_the_platform(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ceilings.sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_file() == tmp_path / "layerscope" / "ceilings.json"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_file() == Path.home() / ".cache" / "layerscope" / "ceilings.json"
    monkeypatch.setattr(ceilings.sys, "platform", "darwin")
    assert "Library/Caches" in cache_file().as_posix()


def test_real_measurement_is_quick_plausible_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ceilings.json"
    monkeypatch.setattr(ceilings_cpu, "SIDES", (128,))
    monkeypatch.setattr(ceilings_cpu, "SPREAD_SIDE", 128)
    monkeypatch.setattr(ceilings_cpu, "MANY_THREADS", 1)  # a product over all of them, too
    monkeypatch.setattr(ceilings_cpu, "TURN_S", 0.02)
    monkeypatch.setattr(ceilings_cpu, "LEAST_COPY_BYTES", 1 << 24)
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    found = ceilings_for(CPU, cache=path, look=lambda: QUIET)
    assert found.key == ceilings_key(CPU, None, None)
    assert found.device == device_name(CPU)
    assert 1e8 < found.matmul_flops_per_s["float32"] < 1e14
    assert 1e8 < found.copy_bytes_per_s < 1e13
    assert set(found.rates()) | set(found.absent) == set(RATES)
    assert "monotonic clock" in found.method
    assert torch.get_num_threads() == threads
    assert torch.get_float32_matmul_precision() == precision
    held = load_kept(path, found.key, found.device)
    assert (held.ceilings, held.doubt) == (found, "")


def test_datasheet_of_known_and_unknown_devices() -> None:
    sheet = datasheet_of("NVIDIA H200")
    assert sheet is not None
    assert sheet.flops_per_s == {
        "float16": 989e12,
        "bfloat16": 989e12,
        "tf32": 494e12,
        "float32": 67e12,
    }
    assert sheet.bytes_per_s == 4.8e12
    assert datasheet_of("NVIDIA H200 NVL") is None
