"""From played rounds to the calibration of one regime, with figures from rounds that did not fit it.

The prompts are halved, because rounds of one answer resemble each other. Each half is predicted by what the other half
fitted, so every figure is held out and uses all rounds; the values handed out are then fitted on both halves.

Three forms are tried, plain first: nothing, temperatures, temperatures with biases. A richer one is taken only if,
beyond noise, it lowers the held-out log loss, or the held-out calibration error without raising the log loss. The error
alone would be a poor judge: it also falls when predictions only become blurred. The log loss alone is drowned by the
few surprises at high confidence.
"""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from dspark_local.engine.calibration import RegimeCalibration
from dspark_local.engine.reliability import (
    BINS,
    Bin,
    PlayedRound,
    calibration_error,
    noise_floor,
    reliability_table,
    survivals,
)
from dspark_local.engine.temperature_scaling import EDGE, fit_affine, fit_temperatures

Form = Literal["identity", "temperatures", "affine"]
BEYOND_NOISE = 2.0
"""Standard errors, over prompts, by which a richer form must lower the held-out log loss."""

SURE = 0.95
"""Share of resampled sets of prompts in which a richer form must have the lower calibration error."""

RESAMPLES = 100
LEAST_ROUNDS = 200


@dataclass(frozen=True, slots=True)
class FittedRegime:
    """A regime's calibration and what it is worth; lists have one number per position.

    form is the form of `calibration`, scaling the temperatures of Sequential Temperature Scaling whether taken or not.
    gains compare (temperatures, temperatures with biases) with the form taken before: the fall of the held-out log loss
    in standard errors. errors_before are of raw confidences. errors_after, scaling_errors (of `scaling`), floors and
    the tables (raw, calibrated; all positions pooled) are held out.
    """

    calibration: RegimeCalibration
    form: Form
    scaling: tuple[float, ...]
    gains: tuple[float, float]
    num_rounds: int
    num_prompts: int
    errors_before: tuple[float, ...]
    errors_after: tuple[float, ...]
    scaling_errors: tuple[float, ...]
    floors: tuple[float, ...]
    table_before: tuple[Bin, ...]
    table_after: tuple[Bin, ...]


class _Predictions:
    """Held-out predictions of one form.

    by_position: (survivals, outcomes) of each position. By prompt: losses, the log loss, and surplus, the sum of
    predicted minus observed in each place, position * BINS + bin.
    """

    def __init__(self, block_size: int) -> None:
        self.by_position: list[tuple[list[float], list[bool]]] = [([], []) for _ in range(block_size)]
        self.losses: defaultdict[int, float] = defaultdict(float)
        self.surplus: defaultdict[int, defaultdict[int, float]] = defaultdict(lambda: defaultdict(float))

    def add(self, rounds: Sequence[PlayedRound], calibration: RegimeCalibration) -> None:
        for position, (predicted, outcomes) in enumerate(self.by_position):
            p, o = survivals(rounds, position + 1, calibration.apply)
            predicted += p
            outcomes += o
            counted = (played.prompt for played in rounds if played.known > position)
            for prompt, chance, outcome in zip(counted, p, o, strict=True):
                self.surplus[prompt][position * BINS + min(int(chance * BINS), BINS - 1)] += chance - outcome
        for played in rounds:
            self.losses[played.prompt] += _log_loss(played, calibration)

    @property
    def errors(self) -> tuple[float, ...]:
        return tuple(calibration_error(*pair) for pair in self.by_position)

    def table(self) -> tuple[Bin, ...]:
        predicted = [p for some, _ in self.by_position for p in some]
        outcomes = [o for _, some in self.by_position for o in some]
        return tuple(reliability_table(predicted, outcomes))

    def total_error(self, times: Mapping[int, int]) -> float:
        """Sum of |predicted - observed| over positions and bins, of prompts that count so many times."""
        places = [0.0] * (len(self.by_position) * BINS)
        for prompt, count in times.items():
            for place, value in self.surplus[prompt].items():
                places[place] += count * value
        return sum(map(abs, places))


def fit_regime(rounds: Sequence[PlayedRound], block_size: int) -> FittedRegime:
    """Fit one regime. ValueError when one half has no rounds: nothing could be held out."""
    halves = [[played for played in rounds if _half(played.prompt) == half] for half in (0, 1)]
    if not all(halves):
        raise ValueError(f"all {len(rounds)} rounds are of prompts in one half")
    fits: dict[Form, Callable[[Sequence[PlayedRound]], RegimeCalibration]] = {
        "identity": lambda some: RegimeCalibration((1.0,) * block_size, (0.0,) * block_size),
        "temperatures": lambda some: RegimeCalibration(fit_temperatures(some, block_size), (0.0,) * block_size),
        "affine": lambda some: RegimeCalibration(*fit_affine(some, block_size)),
    }
    held_out = {form: _cross_predict(halves, block_size, fit) for form, fit in fits.items()}
    form: Form = "identity"
    gains: list[float] = []
    richer: tuple[Form, ...] = ("temperatures", "affine")
    for candidate in richer:
        plain, rich = held_out[form], held_out[candidate]
        gains.append(_gain(plain.losses, rich.losses))
        if gains[-1] > BEYOND_NOISE or (gains[-1] >= 0.0 and _share_truer(plain, rich) >= SURE):
            form = candidate
    chosen = held_out[form]
    raw = held_out["identity"]
    return FittedRegime(
        calibration=fits[form](rounds),
        form=form,
        scaling=fits["temperatures"](rounds).temperatures,
        gains=(gains[0], gains[1]),
        num_rounds=len(rounds),
        num_prompts=len({played.prompt for played in rounds}),
        errors_before=raw.errors,
        errors_after=chosen.errors,
        scaling_errors=held_out["temperatures"].errors,
        floors=tuple(noise_floor(predicted) for predicted, _ in chosen.by_position),
        table_before=raw.table(),
        table_after=chosen.table(),
    )


def _cross_predict(
    halves: Sequence[Sequence[PlayedRound]],
    block_size: int,
    fit: Callable[[Sequence[PlayedRound]], RegimeCalibration],
) -> _Predictions:
    """Predict each half by what the other one fits."""
    predictions = _Predictions(block_size)
    for fitting, judged in (halves, reversed(halves)):
        predictions.add(judged, fit(fitting))
    return predictions


def _half(prompt: int) -> int:
    """0 or 1. Even and odd numbers would sort prompts that come in turns of an even length; this has no period."""
    return prompt.bit_count() % 2


def _log_loss(played: PlayedRound, calibration: RegimeCalibration) -> float:
    """Minus the log-likelihood of what became of the drafts that were reached."""
    loss = 0.0
    for slot, confidence in enumerate(calibration.apply(played.confidences)[: min(played.known, played.accepted + 1)]):
        chance = confidence if slot < played.accepted else 1.0 - confidence
        loss -= math.log(max(chance, EDGE))
    return loss


def _gain(plain: Mapping[int, float], rich: Mapping[int, float]) -> float:
    """Mean fall of the log loss from plain to rich over prompts, in its own standard errors; 0 when nothing changes."""
    falls = [plain[prompt] - rich[prompt] for prompt in plain]
    mean = sum(falls) / len(falls)
    variance = sum((fall - mean) ** 2 for fall in falls) / max(len(falls) - 1, 1)
    return mean / math.sqrt(variance / len(falls)) if variance > 0.0 else 0.0


def _share_truer(plain: _Predictions, rich: _Predictions) -> float:
    """Share of resampled sets of prompts in which rich has the lower calibration error."""
    generator = random.Random(0)
    prompts = sorted(plain.surplus)
    truer = 0
    for _ in range(RESAMPLES):
        times = Counter(generator.choices(prompts, k=len(prompts)))
        truer += rich.total_error(times) < plain.total_error(times)
    return truer / RESAMPLES
