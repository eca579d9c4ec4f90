"""A pair on a small Markov chain, and whether tokens drawn with it follow the target's own distribution."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dspark_local.request import SamplingSettings
from tests.fakes import FakeDrafter, FakeTarget, last_token, random_table
from tests.local.engine.oracle import Row, chi_square_p_value, expected_distribution

VOCABULARY = 8
PROMPT = (0, 3)


def markov_pair(block_size: int = 3, sequences: int = 2) -> tuple[FakeTarget, FakeDrafter]:
    """A Markov chain as the target, a drafter with another chain: right in tendency, wrong in detail."""
    table = random_table(VOCABULARY, VOCABULARY, 21, spread=1.0)
    target = FakeTarget(table, last_token, context_length=10**9, max_sequences=sequences)
    noisy = table + random_table(VOCABULARY, VOCABULARY, 22, spread=0.7)
    return target, FakeDrafter(target, noisy, block_size=block_size, skill=0)


def wanted(tokens: Sequence[int], settings: SamplingSettings) -> Row:
    """The target's distribution [N, V] of every token given those before it."""
    table = markov_pair()[0].table.double().numpy()
    cached: dict[tuple[int, tuple[int, ...]], Row] = {}
    counts = [0] * VOCABULARY
    has_penalties = settings.frequency_penalty != 0 or settings.presence_penalty != 0
    rows = []
    previous = PROMPT[-1]
    for token in tokens:
        key = (previous, tuple(counts) if settings.frequency_penalty else tuple(min(c, 1) for c in counts))
        key = key if has_penalties or settings.repetition_penalty != 1.0 else (previous, ())
        if key not in cached:
            output = [v for v, count in enumerate(key[1]) for _ in range(count)]
            cached[key] = expected_distribution(settings, table[previous], PROMPT, output)
        rows.append(cached[key])
        counts[token] += 1
        previous = token
    return np.stack(rows)


def assert_faithful(tokens: list[int], places: list[int], settings: SamplingSettings) -> None:
    """Overall, at every place of a block, and after every token."""
    expected, drawn, place = wanted(tokens, settings), np.array(tokens), np.array(places)
    previous = np.array([PROMPT[-1], *tokens[:-1]])
    groups = [place >= 0, *(place == here for here in set(places)), *(previous == token for token in set(tokens))]
    for group in groups:
        if group.sum() > 300:
            assert chi_square_p_value(expected[group], drawn[group]) > 1e-4
