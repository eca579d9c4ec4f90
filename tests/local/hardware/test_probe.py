from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from dspark_local.hardware import probe as probing
from dspark_local.hardware.facts import Gpu
from dspark_local.hardware.gpu_rate import GpuRates
from dspark_local.hardware.gpus import GpuList
from dspark_local.hardware.measurements import Measurements, fingerprint, load, store
from dspark_local.hardware.probe import probe, survey
from dspark_local.hardware.unmeasured import NotMeasuredError

CARD = Gpu("A card", "nvidia", (8, 9), 24 * 2**30, 20 * 2**30)


class Rates:
    """Stands in for the two measurements, whose own tests run them; counts how often each is asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.disk_fails = False

    def ram(self, threads: int, available: int) -> float:
        self.asked.append("ram")
        return 4e10

    def disk(self, folder: Path) -> float:
        self.asked.append("disk")
        if self.disk_fails:
            raise NotMeasuredError("The folder is read-only.")
        return 3e9


@pytest.fixture
def rates(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Rates:
    rates = Rates()
    monkeypatch.setenv("DSPARK_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(probing, "measure_read_rate", rates.ram)
    monkeypatch.setattr(probing, "measure_random_reads", rates.disk)
    monkeypatch.setattr(probing, "read_gpus", lambda: GpuList((), 0, ""))
    return rates


def test_the_real_probe_takes_a_few_seconds_and_the_second_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DSPARK_HOME", str(tmp_path / "state"))
    steps: list[str] = []
    start = time.monotonic()
    hardware = probe(tmp_path, progress=steps.append)
    assert time.monotonic() - start < 6
    assert steps[:2] == ["measuring memory bandwidth", "measuring the disk"]
    assert hardware.cpu.read_rate is not None
    assert hardware.cpu.read_rate > 5e8
    start = time.monotonic()
    again = probe(tmp_path, progress=steps.append)
    assert again.cpu.read_rate == hardware.cpu.read_rate
    assert again.disk.random_read_rate == hardware.disk.random_read_rate
    if hardware.disk.random_read_rate is not None:  # else the temporary folder lies in memory
        assert time.monotonic() - start < 1
        assert len(steps) == 2 + len(hardware.gpus)


def test_rates_are_kept_and_free_amounts_are_fresh(
    rates: Rates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert probe(tmp_path).cpu.read_rate == 4e10
    memory = psutil.virtual_memory()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory._replace(available=123))
    hardware = probe(tmp_path)
    assert rates.asked == ["ram", "disk"]
    assert (hardware.cpu.read_rate, hardware.disk.random_read_rate) == (4e10, 3e9)
    assert hardware.memory.available_bytes == 123


def test_refresh_measures_again(rates: Rates, tmp_path: Path) -> None:
    probe(tmp_path)
    probe(tmp_path, refresh=True)
    assert rates.asked == ["ram", "disk"] * 2


def test_another_card_measures_again_and_the_old_one_is_remembered(
    rates: Rates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe(tmp_path)
    monkeypatch.setattr(probing, "read_gpus", lambda: GpuList((CARD,), 1, "560.94"))
    monkeypatch.setattr(probing, "measure_gpu", lambda index: GpuRates(9e11, 2.4e10))
    gpu = probe(tmp_path).gpus[0]
    assert rates.asked == ["ram", "disk"] * 2
    assert (gpu.memory_rate, gpu.host_to_device_rate) == (9e11, 2.4e10)
    monkeypatch.setattr(probing, "read_gpus", lambda: GpuList((), 0, ""))
    probe(tmp_path)
    assert rates.asked == ["ram", "disk"] * 2


@pytest.mark.parametrize("change", ["cpu", "cores", "memory", "version", "disk"])
def test_a_changed_machine_measures_again(
    rates: Rates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    probe(tmp_path)
    cpu, memory = probing.read_cpu(), probing.read_memory()
    if change == "cpu":
        monkeypatch.setattr(probing, "read_cpu", lambda: replace(cpu, model="another"))
    elif change == "cores":
        monkeypatch.setattr(probing, "read_cpu", lambda: replace(cpu, cores=cpu.cores + 1))
    elif change == "memory":
        monkeypatch.setattr(probing, "read_memory", lambda: replace(memory, total_bytes=2 * memory.total_bytes))
    elif change == "version":
        monkeypatch.setattr(probing, "VERSION", probing.VERSION + 1)
    folder = Path("/proc") if change == "disk" else tmp_path
    if not folder.is_dir():
        pytest.skip("there is no second file system that every machine has")
    probe(folder)
    assert rates.asked == ["ram", "disk"] * 2


def test_a_card_that_is_only_seen_is_not_measured(
    rates: Rates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "read_gpus", lambda: GpuList((CARD,), 0, "560.94"))
    monkeypatch.setattr(probing, "measure_gpu", None)  # calling it would be a TypeError
    found = survey(tmp_path)
    assert (found.hardware.gpus, found.usable_gpus) == ((CARD,), 0)


def test_a_card_that_fails_is_a_remark_and_the_rest_stands(
    rates: Rates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(index: int) -> GpuRates:
        raise NotMeasuredError("The card could not be measured: CUDA error: out of memory.")

    monkeypatch.setattr(probing, "read_gpus", lambda: GpuList((CARD,), 1, "560.94"))
    monkeypatch.setattr(probing, "measure_gpu", fail)
    found = survey(tmp_path)
    assert found.remarks == {"gpu": "The card could not be measured: CUDA error: out of memory."}
    assert found.hardware.gpus == (CARD,)
    assert found.hardware.cpu.read_rate == 4e10


def test_a_card_that_cannot_pin_has_that_limit(rates: Rates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "read_gpus", lambda: GpuList((CARD,), 1, "560.94"))
    monkeypatch.setattr(probing, "measure_gpu", lambda index: GpuRates(9e11, None))
    monkeypatch.setattr(probing, "locked_memory_limit", lambda: 65536)
    for _ in range(2):  # measured, then remembered
        gpu = probe(tmp_path).gpus[0]
        assert (gpu.memory_rate, gpu.host_to_device_rate, gpu.pinned_limit_bytes) == (9e11, None, 65536)


def test_what_could_not_be_measured_is_tried_again(rates: Rates, tmp_path: Path) -> None:
    rates.disk_fails = True
    found = survey(tmp_path)
    assert found.hardware.disk.random_read_rate is None
    assert found.remarks == {"disk": "The folder is read-only."}
    rates.disk_fails = False
    assert probe(tmp_path).disk.random_read_rate == 3e9
    assert rates.asked == ["ram", "disk", "disk"]


def test_without_measuring_only_known_rates_are_given(rates: Rates, tmp_path: Path) -> None:
    assert survey(tmp_path, measure=False).hardware.cpu.read_rate is None
    probe(tmp_path)
    assert survey(tmp_path, measure=False).hardware.cpu.read_rate == 4e10
    assert rates.asked == ["ram", "disk"]


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"KEY": {"cpu_read_rate": -1}}', b'{"KEY": {"cpu_read_rate": "fast"}}'],
)
def test_a_damaged_file_is_ignored_and_replaced(rates: Rates, tmp_path: Path, damage: bytes) -> None:
    probe(tmp_path)
    path = tmp_path / "state/hardware.json"
    key = next(iter(json.loads(path.read_text())))
    path.write_bytes(damage.replace(b"KEY", key.encode()))
    assert probe(tmp_path).cpu.read_rate == 4e10
    assert json.loads(path.read_text())[key]["disk_random_read_rate"] == 3e9


def test_a_state_folder_that_cannot_be_made_stops_nothing(
    rates: Rates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DSPARK_HOME", str(tmp_path / "file/state"))
    assert probe(tmp_path).cpu.read_rate == 4e10


def test_only_the_newest_machines_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "hardware.json"
    for number in range(20):
        store(path, fingerprint(number), Measurements(cpu_read_rate=number + 1))
    assert load(path, fingerprint(19)) == Measurements(cpu_read_rate=20)
    assert load(path, fingerprint(0)) is None
    assert len(json.loads(path.read_text())) == 8
