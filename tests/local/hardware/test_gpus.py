from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import torch

from dspark_local.hardware import gpus, nvidia_smi
from dspark_local.hardware.display_cards import read_display_cards
from dspark_local.hardware.facts import Gpu
from dspark_local.hardware.gpu_rate import measure_gpu
from dspark_local.hardware.gpus import read_gpus
from dspark_local.hardware.nvidia_smi import NvidiaCards, parse_nvidia_smi, read_nvidia_cards
from dspark_local.hardware.pinned import pinned_limit
from dspark_local.hardware.torch_gpus import read_torch_gpus

RTX_4090 = Gpu("NVIDIA GeForce RTX 4090", "nvidia", (8, 9), 24564 * 2**20, 23010 * 2**20)
INTEGRATED = Gpu("Intel graphics 0xa780", "intel", None, 0, 0)


def card(root: Path, name: str, **files: str) -> None:
    folder = root / "sys/class/drm" / name / "device"
    folder.mkdir(parents=True)
    for file, text in files.items():
        (folder / file).write_text(text + "\n")


def test_nvidias_answer_is_read_card_by_card() -> None:
    answer = "560.94, NVIDIA GeForce RTX 4090, 8.9, 24564, 23010\n560.94, NVIDIA A100, 8.0, 40960, 40000\n"
    cards = parse_nvidia_smi(answer)
    assert cards.driver == "560.94"
    assert cards.gpus[0] == RTX_4090
    assert cards.gpus[1].capability == (8, 0)


@pytest.mark.parametrize("answer", ["", "No devices were found\n", "NVIDIA-SMI has failed, it, could, not, talk\n"])
def test_an_answer_without_cards_has_none(answer: str) -> None:
    assert parse_nvidia_smi(answer) == NvidiaCards("", ())


def test_a_card_that_tells_no_capability_is_still_a_card() -> None:
    assert parse_nvidia_smi("390.1, Quadro 600, [N/A], 961, 900\n").gpus[0].capability is None


def test_a_driver_that_hangs_is_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*_: object, **__: object) -> None:
        raise subprocess.TimeoutExpired("nvidia-smi", 5)

    monkeypatch.setattr(nvidia_smi.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(nvidia_smi.subprocess, "run", hang)
    assert read_nvidia_cards() == NvidiaCards("", ())


def test_cards_of_every_vendor_are_seen_and_sockets_and_virtual_cards_are_not(tmp_path: Path) -> None:
    card(tmp_path, "card0", vendor="0x8086", device="0xa780")
    card(tmp_path, "card0-HDMI-A-1", vendor="0x8086")
    card(
        tmp_path,
        "card1",
        vendor="0x1002",
        device="0x744c",
        mem_info_vram_total="25753026560",
        mem_info_vram_used="1000000000",
    )
    card(tmp_path, "card2", vendor="0x1234")
    seen = read_display_cards(tmp_path)
    assert seen == (INTEGRATED, Gpu("AMD graphics 0x744c", "amd", None, 25753026560, 24753026560))


def test_torchs_cards_come_first_and_no_card_comes_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "read_torch_gpus", lambda: (RTX_4090,))
    monkeypatch.setattr(gpus, "read_nvidia_cards", lambda: NvidiaCards("560.94", (RTX_4090,)))
    monkeypatch.setattr(
        gpus, "read_display_cards", lambda: (INTEGRATED, Gpu("NVIDIA graphics card", "nvidia", None, 0, 0))
    )
    found = read_gpus()
    assert found.gpus == (RTX_4090, INTEGRATED)
    assert (found.usable, found.driver) == (1, "560.94")


def test_a_card_that_torch_cannot_use_is_listed_but_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "read_torch_gpus", lambda: ())
    monkeypatch.setattr(gpus, "read_nvidia_cards", lambda: NvidiaCards("560.94", (RTX_4090,)))
    monkeypatch.setattr(gpus, "read_display_cards", lambda: ())
    found = read_gpus()
    assert (found.gpus, found.usable) == ((RTX_4090,), 0)


def test_the_graphics_of_an_apple_chip_are_seen_and_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 48 * 2**30)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 2**30)
    monkeypatch.setattr(gpus, "read_torch_gpus", lambda: ())
    monkeypatch.setattr(gpus, "read_display_cards", lambda: ())
    found = read_gpus()
    assert found.usable == 0
    assert found.gpus[-1] == Gpu("Apple graphics", "apple", None, 48 * 2**30, 47 * 2**30)


def test_torch_answers_here_with_or_without_a_card() -> None:
    for gpu in read_torch_gpus():
        assert 0 <= gpu.free_vram_bytes <= gpu.vram_bytes


def test_windows_and_wsl_pin_at_most_half_of_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pinned_limit(64 * 2**30, is_wsl=True) == 32 * 2**30
    monkeypatch.setattr("sys.platform", "linux")
    assert pinned_limit(64 * 2**30, is_wsl=False) is None
    monkeypatch.setattr("sys.platform", "win32")
    assert pinned_limit(64 * 2**30, is_wsl=False) == 32 * 2**30


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no card that torch can use")
def test_a_cards_rates_are_plausible_and_its_memory_is_given_back() -> None:
    free, _ = torch.cuda.mem_get_info(0)
    rates = measure_gpu(0)
    assert 5e10 < rates.memory_rate < 2e13
    assert rates.host_to_device_rate is not None
    assert 5e8 < rates.host_to_device_rate < rates.memory_rate
    assert torch.cuda.mem_get_info(0)[0] > free - 256 * 2**20
