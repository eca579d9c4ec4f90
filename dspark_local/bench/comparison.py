"""From the answers of paired runs to figures by way: speeds as ratios within a run, counts over all runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from dspark_local.bench.answers import Figures, figures_of, total
from dspark_local.bench.clairvoyant import clairvoyant_figures
from dspark_local.bench.paired_runs import RunAnswers
from dspark_local.bench.ways import BOUND, PLAIN


@dataclass(frozen=True, slots=True)
class WayFigures:
    """One way's figures run by run, with its speed relative to plain decoding's in the same run.

    differing counts answers whose tokens are not plain decoding's, None where sampling makes them differ anyway.
    """

    name: str
    runs: tuple[Figures, ...]
    ratios: tuple[float, ...]
    differing: int | None

    @property
    def all_runs(self) -> Figures:
        """Sums over the runs."""
        return total(self.runs)

    @property
    def tokens_per_second(self) -> float:
        """The median run's."""
        return median(run.tokens_per_second for run in self.runs)

    @property
    def ratio(self) -> float:
        """The median run's."""
        return median(self.ratios)

    @property
    def ratio_range(self) -> tuple[float, float]:
        """The slowest run's and the fastest run's."""
        return min(self.ratios), max(self.ratios)

    def as_dict(self) -> dict[str, Any]:
        """For JSON; counts are those of all runs."""
        low, high = self.ratio_range
        per_run = [{**run.as_dict(), "ratio": ratio} for run, ratio in zip(self.runs, self.ratios, strict=True)]
        return {
            **self.all_runs.as_dict(),
            "tokens_per_second": self.tokens_per_second,
            "ratio": {"median": self.ratio, "lowest": low, "highest": high},
            "answers_unlike_plain": self.differing,
            "is_bound": self.name == BOUND,
            "runs": per_run,
        }


def compare(runs: Sequence[RunAnswers], block_size: int, *, is_greedy: bool) -> list[WayFigures]:
    """Figures of every way in its order, the clairvoyant bound last."""
    return [
        *(_way_figures(name, runs, is_greedy=is_greedy) for name in runs[0]),
        _figures_by_run(BOUND, [clairvoyant_figures(run, block_size) for run in runs], runs, differing=None),
    ]


def _way_figures(name: str, runs: Sequence[RunAnswers], *, is_greedy: bool) -> WayFigures:
    pairs = (pair for run in runs for pair in zip(run[name], run[PLAIN], strict=True))
    differing = sum(answer.token_ids != plain.token_ids for answer, plain in pairs) if is_greedy else None
    return _figures_by_run(name, [figures_of(run[name]) for run in runs], runs, differing=differing)


def _figures_by_run(
    name: str, figures: Sequence[Figures], runs: Sequence[RunAnswers], *, differing: int | None
) -> WayFigures:
    plain = [figures_of(run[PLAIN]).tokens_per_second for run in runs]
    ratios = [own.tokens_per_second / base if base else 1.0 for own, base in zip(figures, plain, strict=True)]
    return WayFigures(name, tuple(figures), tuple(ratios), differing)
