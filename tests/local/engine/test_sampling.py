"""Logits to distributions, against formulas written here a second time in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dspark_local.engine.sampling import LogitsProcessor, draw, seeded_generator
from dspark_local.errors import DsparkError
from dspark_local.request import SamplingSettings
from tests.local.engine.oracle import expected_distribution

LOGITS = torch.randn(6, 40, generator=torch.Generator().manual_seed(11)) * 3
PROMPT = [1, 2, 2, 7]
GENERATED = [5, 5, 9]

SETTINGS = [
    SamplingSettings(),
    SamplingSettings(temperature=0.6),
    SamplingSettings(top_k=5),
    SamplingSettings(top_p=0.7),
    SamplingSettings(min_p=0.1),
    SamplingSettings(repetition_penalty=1.4),
    SamplingSettings(presence_penalty=0.8, frequency_penalty=-0.5),
    SamplingSettings(
        temperature=1.7,
        top_k=12,
        top_p=0.85,
        min_p=0.03,
        repetition_penalty=0.8,
        presence_penalty=0.5,
        frequency_penalty=0.7,
    ),
]


def numpy64(row: torch.Tensor) -> NDArray[np.float64]:
    return row.double().numpy()


@pytest.mark.parametrize("settings", SETTINGS)
def test_every_row_of_a_verify_pass_is_processed_as_plain_decoding_would(settings: SamplingSettings) -> None:
    processor = LogitsProcessor(settings, PROMPT)
    processor.append(GENERATED[:1])
    processor.append(GENERATED[1:])
    drafts = [9, 3, 3, 1, 5]
    together = processor.probabilities(LOGITS, drafts)
    assert together.dtype == torch.float32
    for row in range(6):
        wanted = expected_distribution(settings, numpy64(LOGITS[row]), PROMPT, [*GENERATED, *drafts[:row]])
        np.testing.assert_allclose(numpy64(together[row]), wanted, atol=2e-6)
        alone = processor.probabilities(LOGITS[row : row + 1], drafts[:row])[0]
        assert torch.equal(alone, together[row])


def test_one_row_sees_every_token_ahead_of_it() -> None:
    settings = SamplingSettings(frequency_penalty=1.0)
    row = LogitsProcessor(settings, PROMPT).probabilities(LOGITS[:1], [4, 4, 6])[0]
    np.testing.assert_allclose(
        numpy64(row), expected_distribution(settings, numpy64(LOGITS[0]), PROMPT, [4, 4, 6]), atol=2e-6
    )


def test_the_greedy_choice_is_the_best_penalised_logit() -> None:
    logits = torch.tensor([[3.0, 2.9, 0.0]])
    assert LogitsProcessor(SamplingSettings(temperature=0.0), [0]).best(logits) == [0]
    assert LogitsProcessor(SamplingSettings(temperature=0.0, repetition_penalty=1.2), [0]).best(logits) == [1]
    assert LogitsProcessor(SamplingSettings(temperature=0.0, presence_penalty=1.0), [0]).best(logits) == [0]
    assert LogitsProcessor(SamplingSettings(temperature=0.0, presence_penalty=1.0), []).best(logits, [0]) == [1]


def test_a_penalised_negative_logit_goes_down_not_up() -> None:
    settings = SamplingSettings(repetition_penalty=2.0)
    row = LogitsProcessor(settings, [0]).penalised(torch.tensor([[-1.0, 1.0]]))
    assert row.tolist() == [[-2.0, 1.0]]


def test_a_tiny_temperature_is_nearly_greedy_and_never_overflows() -> None:
    row = LogitsProcessor(SamplingSettings(temperature=1e-30), []).probabilities(torch.tensor([[90.0, 100.0, -50.0]]))
    assert row.tolist() == [[0.0, 1.0, 0.0]]


def test_a_logit_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(DsparkError, match="not a number"):
        LogitsProcessor(SamplingSettings(), []).probabilities(torch.tensor([[float("nan"), 1.0]]))


def test_a_weight_of_zero_is_never_drawn() -> None:
    generator = seeded_generator(1)
    weights = torch.tensor([0.0, 1e-30, 0.0, 2.0, 0.0])
    assert {draw(weights, generator) for _ in range(2000)} == {3}
    assert {draw(torch.tensor([0.0, 1.0, 0.0]), generator) for _ in range(200)} == {1}


def test_drawing_follows_the_weights() -> None:
    generator = seeded_generator(2)
    weights = torch.tensor([1.0, 2.0, 5.0])
    draws = np.bincount([draw(weights, generator) for _ in range(20_000)], minlength=3) / 20_000
    np.testing.assert_allclose(draws, [0.125, 0.25, 0.625], atol=0.015)


def test_a_seed_repeats_and_another_differs() -> None:
    def stream(seed: int | None) -> list[float]:
        return torch.rand(4, generator=seeded_generator(seed)).tolist()

    assert stream(5) == stream(5)
    assert stream(5) != stream(6)
    assert stream(None) != stream(None)
