"""The gate: closes on measured losses, opens on measured gains, and its probes stay inside their allowance."""

from __future__ import annotations

import itertools
import random

import pytest

from dspark_local.engine.gate import LEAST_ROUNDS, PROBE_SHARE, Allowance, Gate


def feed(gate: Gate, rounds: int, tokens: float, cost: float, seed: int = 0) -> None:
    """Rounds of 1 to 6 tokens with this mean, each as long as `cost` plain rounds."""
    rng = random.Random(seed)
    chance = (tokens - 1.0) / 5.0
    for _ in range(rounds):
        gate.note_drafted(1 + sum(rng.random() < chance for _ in range(5)), cost)


def test_nothing_is_judged_before_a_few_rounds() -> None:
    gate = Gate()
    feed(gate, LEAST_ROUNDS - 1, 1.0, 9.0)
    assert gate.is_open
    assert gate.gain is None


def test_rounds_that_lose_close_it_and_the_loss_stays_known() -> None:
    gate = Gate()
    feed(gate, 200, 2.0, 2.4)
    assert not gate.is_open
    assert gate.last_gain is not None
    assert gate.last_gain < -0.05


def test_a_few_equal_rounds_are_no_proof() -> None:
    gate = Gate()
    for _ in range(LEAST_ROUNDS):
        gate.note_drafted(2, 2.3)
    assert gate.is_open


def test_rounds_that_gain_keep_it_open_and_the_gain_is_the_ratio_of_speeds() -> None:
    gate = Gate()
    feed(gate, 400, 3.0, 2.0)
    assert gate.is_open
    assert gate.gain == pytest.approx(0.5, abs=0.12)


def test_a_closed_gate_opens_again_when_probes_gain() -> None:
    gate = Gate()
    feed(gate, 100, 1.5, 2.5)
    assert not gate.is_open
    feed(gate, 60, 4.0, 2.0)
    assert gate.is_open


def test_it_does_not_flap_where_drafts_neither_win_nor_lose() -> None:
    gate = Gate()
    rng = random.Random(5)
    states = []
    for _ in range(3_000):
        gate.note_drafted(1 + sum(rng.random() < 0.25 for _ in range(5)), 2.25)
        states.append(gate.is_open)
    assert sum(a != b for a, b in itertools.pairwise(states)) <= 8


def test_every_closing_asks_for_more_rounds_before_the_next_opening() -> None:
    def rounds_to_open(gate: Gate) -> int:
        for count in range(1, 200):
            gate.note_drafted(4, 1.0)
            if gate.is_open:
                return count
        return 200

    gate = Gate()
    waits = []
    for _ in range(3):
        while gate.is_open:
            gate.note_drafted(1, 3.0)
        waits.append(rounds_to_open(gate))
    assert waits == sorted(set(waits))


def test_a_plain_probe_is_due_only_after_many_drafted_rounds_in_a_row() -> None:
    gate = Gate()
    feed(gate, 20, 3.0, 2.0)
    assert gate.plain_probe_loss is None
    feed(gate, 10, 3.0, 2.0)
    loss = gate.plain_probe_loss
    assert loss is not None
    assert 0.0 < loss < 1.0
    gate.note_plain()
    assert gate.plain_probe_loss is None


def test_probes_never_lose_more_than_their_share_of_all_time() -> None:
    allowance = Allowance()
    spent = lost = 0.0
    for _ in range(10_000):
        allowance.earn(1.0)
        spent += 1.0
        if allowance.pay(0.7):
            lost += 0.7
    assert 0.9 * PROBE_SHARE * spent < lost <= PROBE_SHARE * spent
