"""Which computer is planned for: probed, described, or a bit of both."""

from __future__ import annotations

import pytest

from dspark_local.errors import UsageError
from dspark_local.hardware.facts import Cpu, Disk, Gpu, Hardware, Memory
from dspark_local.plan.known_cards import find_card, known_cards, link_rate, typical_card
from dspark_local.plan.machine import GIB, machine_from
from dspark_local.plan.wish import Wish, parse_rate, wished_machine

FOUND = Gpu("NVIDIA GeForce RTX 3090", "nvidia", (8, 6), 24 * GIB, 23 * GIB, 850e9, 24e9)
RADEON = Gpu("Radeon RX 7900", "amd", None, 24 * GIB, 24 * GIB)


def hardware(*gpus: Gpu, rates: bool = True) -> Hardware:
    return Hardware(
        gpus=gpus,
        cpu=Cpu("CPU", 8, 16, read_rate=60e9 if rates else None),
        memory=Memory(64 * GIB, 50 * GIB),
        disk=Disk("/", 10**12, 2 * 10**12, 5e9 if rates else None),
    )


def never() -> Hardware:
    raise AssertionError("a computer that is fully described must not be probed")


@pytest.mark.parametrize(
    "text", ["rtx 4090", "RTX4090", "NVIDIA GeForce RTX 4090", "4090", "  Geforce rtx-4090 ", "nvidia rtx 4090"]
)
def test_a_card_is_known_by_any_spelling(text: str) -> None:
    card = find_card(text)
    assert card is not None
    assert (card.name, card.vram_bytes, card.memory_rate) == ("RTX 4090", 24 * GIB, 1008e9)


def test_laptop_cards_and_memory_sizes_are_told_apart() -> None:
    names = ("rtx 4080 laptop", "rtx 4080", "rtx 4060 ti", "h100", "NVIDIA H100 80GB", "3080 ti")
    found = [card.name for card in map(find_card, names) if card]
    assert found == ["RTX 4080 Laptop", "RTX 4080", "RTX 4060 Ti 16GB", "H100 80GB", "H100 80GB", "RTX 3080 Ti"]


def test_every_known_card_is_found_by_its_own_name_and_is_plausible() -> None:
    for card in known_cards():
        assert find_card(card.name) == card
        assert 100e9 < card.memory_rate < 10e12
        assert 5e9 < card.link_rate <= 50e9


def test_a_card_of_an_unknown_name_is_refused_with_the_closest() -> None:
    with pytest.raises(UsageError, match="RTX 4090") as refused:
        wished_machine(Wish(gpu="rtx 4099", ram="64GiB"), never)
    assert "--vram" in refused.value.hint


def test_a_card_that_only_its_size_describes_is_a_typical_one() -> None:
    made = wished_machine(Wish(vram="12GiB", ram="64GiB"), never)
    assert made.card is not None
    assert made.card.memory_rate == typical_card(12 * GIB).memory_rate
    assert set(made.assumed) == {"card bandwidth", "PCIe speed", "RAM bandwidth", "disk speed"}


def test_options_replace_what_they_name_and_nothing_else() -> None:
    made = wished_machine(Wish(gpu="rtx 4090", ram_bandwidth="72GB/s"), lambda: hardware(FOUND, rates=False))
    assert made.card is not None
    assert made.card.name == "RTX 4090"
    assert (made.ram_bytes, made.ram_free_bytes, made.ram_rate) == (64 * GIB, 50 * GIB, 72e9)
    assert made.assumed == ("disk speed",)
    bare = Gpu("Some card", "nvidia", None, 24 * GIB, 24 * GIB)
    exchanged = wished_machine(Wish(gpu="rtx 4090"), lambda: hardware(bare, rates=False))
    assert set(exchanged.assumed) == {"RAM bandwidth", "disk speed"}
    slower = wished_machine(Wish(pcie="gen3"), lambda: hardware(FOUND))
    assert slower.card is not None
    assert (slower.card.name, slower.card.link_rate) == (FOUND.name, link_rate("3x16"))


def test_no_card_can_be_wished_for_in_two_ways_but_not_with_a_card() -> None:
    for wish in (Wish(vram="0", ram="64GiB"), Wish(is_cpu_only=True, ram="64GiB")):
        assert wished_machine(wish, never).card is None
    assert wished_machine(Wish(is_cpu_only=True), lambda: hardware(FOUND)).card is None
    with pytest.raises(UsageError, match="--cpu-only"):
        wished_machine(Wish(is_cpu_only=True, gpu="rtx 4090"), never)


def test_measured_rates_are_taken_and_missing_ones_named() -> None:
    measured = machine_from(hardware(FOUND))
    assert measured.card is not None
    assert (measured.card.memory_rate, measured.card.link_rate, measured.card.free_bytes) == (850e9, 24e9, 23 * GIB)
    assert measured.assumed == ()
    bare = Gpu("Some card", "nvidia", None, 24 * GIB, 24 * GIB)
    assert set(machine_from(hardware(bare, rates=False)).assumed) == {
        "RAM bandwidth",
        "disk speed",
        "card bandwidth",
        "PCIe speed",
    }


def test_a_card_that_the_engine_cannot_use_is_left_out_and_said_so() -> None:
    made = machine_from(hardware(RADEON))
    assert made.card is None
    assert "Radeon" in made.notes[0]
    two = machine_from(hardware(RADEON, FOUND, FOUND))
    assert two.card is not None
    assert "Of 2 cards" in two.notes[0]


@pytest.mark.parametrize("text", ["72", "72GB/s", "72GB", "72e0"])
def test_rates_are_read_as_people_write_them(text: str) -> None:
    assert parse_rate(text, "--ram-bandwidth") == 72e9


@pytest.mark.parametrize("text", ["fast", "0", "-3", "nan", "inf", ""])
def test_a_rate_that_is_none_is_refused_by_its_option(text: str) -> None:
    with pytest.raises(UsageError, match="--disk-read"):
        parse_rate(text, "--disk-read")


def test_links_are_generations_and_lanes() -> None:
    assert link_rate("gen4") == link_rate("4x16") == link_rate("PCIe 4.0 x16") == 2 * link_rate("4x8")
    with pytest.raises(ValueError, match="no PCIe link"):
        link_rate("usb")
    with pytest.raises(UsageError, match="--pcie"):
        wished_machine(Wish(gpu="rtx 4090", ram="64G", pcie="usb"), never)
