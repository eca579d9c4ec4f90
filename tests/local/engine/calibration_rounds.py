"""Rounds of a draft whose confidences are wrong in a known way."""

from __future__ import annotations

import random

from dspark_local.engine.reliability import PlayedRound
from dspark_local.engine.temperature_scaling import sigmoid

ROUNDS_PER_PROMPT = 5


def synthetic_rounds(
    count: int, block_size: int, *, temperature: float = 1.0, bias: float = 0.0, seed: int = 0
) -> list[PlayedRound]:
    """Drafts are kept with the chance sigmoid(x / temperature + bias) where the draft claims sigmoid(x)."""
    generator = random.Random(seed)
    rounds = []
    for index in range(count):
        logits = [generator.gauss(1.0, 1.5) for _ in range(block_size)]
        accepted = 0
        while accepted < block_size and generator.random() < sigmoid(logits[accepted] / temperature + bias):
            accepted += 1
        confidences = tuple(sigmoid(x) for x in logits)
        rounds.append(PlayedRound(confidences, block_size, accepted, index // ROUNDS_PER_PROMPT))
    return rounds
