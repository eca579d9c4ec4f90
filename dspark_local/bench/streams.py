"""Several answers at once against one after another, on the engine that serves: what shared passes are worth here.

Both ways answer the same prompts, in turns within a run and starting with the other one in the next. The prompts are
read beforehand, so that it is decoding that is compared, and answers go on past their end, so that no stream leaves
early.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from dspark_local.backend import BatchingBackend
from dspark_local.bench.table import aligned
from dspark_local.engine.meter import Clock
from dspark_local.errors import DsparkError
from dspark_local.events import Finished
from dspark_local.request import ChatMessage, ChatRequest, SamplingSettings, SpeculationSettings

Answers = tuple[tuple[int, ...], ...]
"""The token ids of every prompt's answer."""


@dataclass(frozen=True, slots=True)
class StreamRun:
    """One run: seconds that the prompts took one after another and all at once, and the tokens of their answers."""

    alone_seconds: float
    together_seconds: float
    alone_tokens: int
    together_tokens: int
    differing: int

    @property
    def ratio(self) -> float:
        """Tokens a second together, relative to alone."""
        alone, together = self.alone_tokens * self.together_seconds, self.together_tokens * self.alone_seconds
        return together / alone if alone > 0.0 else 0.0


@dataclass(frozen=True, slots=True)
class StreamFigures:
    """All runs of one kind of speculation. differing counts answers whose tokens depend on who else was answered."""

    speculation: str
    streams: int
    runs: tuple[StreamRun, ...]

    @property
    def ratio(self) -> float:
        """The median run's."""
        return median(run.ratio for run in self.runs)

    @property
    def ratio_range(self) -> tuple[float, float]:
        """The slowest run's and the fastest run's."""
        ratios = [run.ratio for run in self.runs]
        return min(ratios), max(ratios)

    @property
    def alone_tokens_per_second(self) -> float:
        """Of the one stream, the median run's."""
        return median(_rate(run.alone_tokens, run.alone_seconds) for run in self.runs)

    @property
    def together_tokens_per_second(self) -> float:
        """Of all streams, the median run's."""
        return median(_rate(run.together_tokens, run.together_seconds) for run in self.runs)

    @property
    def differing(self) -> int:
        """Over all runs."""
        return sum(run.differing for run in self.runs)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        low, high = self.ratio_range
        return {
            "speculation": self.speculation,
            "streams": self.streams,
            "alone_tokens_per_second": self.alone_tokens_per_second,
            "together_tokens_per_second": self.together_tokens_per_second,
            "ratio": {"median": self.ratio, "lowest": low, "highest": high},
            "answers_unlike_alone": self.differing,
            "runs": [{**asdict(run), "ratio": run.ratio} for run in self.runs],
        }


def measure_streams(
    backend: BatchingBackend,
    prompts: Sequence[str],
    speculation: str,
    *,
    runs: int,
    max_tokens: int,
    clock: Clock,
    on_run: Callable[[int, int], None] = lambda done, of: None,
) -> StreamFigures:
    """Greedy answers to the prompts, of which there may be as many as the backend has slots. Raises DsparkError."""
    sampling = SamplingSettings(temperature=0.0, max_tokens=max_tokens, ignore_eos=True)
    settings = SpeculationSettings.parse(speculation)
    requests = [ChatRequest((ChatMessage("user", text),), sampling, settings) for text in prompts]

    def one_by_one() -> Answers:
        return tuple(answer for request in requests for answer in _answers(backend, [request]))

    def all_at_once() -> Answers:
        return _answers(backend, requests)

    one_by_one(), all_at_once()
    played: list[StreamRun] = []
    for run in range(runs):
        timed: dict[Callable[[], Answers], tuple[Answers, float]] = {}
        for way in (one_by_one, all_at_once) if run % 2 == 0 else (all_at_once, one_by_one):
            started = clock()
            timed[way] = way(), clock() - started
        (alone, alone_seconds), (together, together_seconds) = timed[one_by_one], timed[all_at_once]
        played.append(
            StreamRun(
                alone_seconds,
                together_seconds,
                sum(map(len, alone)),
                sum(map(len, together)),
                sum(one != other for one, other in zip(alone, together, strict=True)),
            )
        )
        on_run(run + 1, runs)
    return StreamFigures(speculation, len(prompts), tuple(played))


def streams_table(measured: Sequence[StreamFigures]) -> str:
    """One line a kind of speculation, and what the columns are."""
    rows: list[tuple[str, ...]] = [("speculation", "alone tok/s", "together tok/s", "each", "ratio", "range")]
    for figures in measured:
        low, high = figures.ratio_range
        together = figures.together_tokens_per_second
        cells = (figures.alone_tokens_per_second, together, together / figures.streams)
        rows.append(
            (figures.speculation, *(f"{cell:.1f}" for cell in cells), f"{figures.ratio:.2f}", f"{low:.2f}–{high:.2f}")
        )
    lines = aligned(rows)
    lines += [
        f"{figures.differing} answers with {figures.speculation} have other tokens than alone; in float32 they do not."
        for figures in measured
        if figures.differing
    ]
    lines += [
        "",
        "ratio   tokens a second of all streams, relative to one alone in the same run:",
        "        median and range",
    ]
    return "\n".join(lines)


def _rate(tokens: int, seconds: float) -> float:
    return tokens / seconds if seconds > 0.0 else 0.0


def _answers(backend: BatchingBackend, requests: Sequence[ChatRequest]) -> Answers:
    numbers = [backend.begin(request, lambda: False) for request in requests]
    done: dict[int, tuple[int, ...]] = {}
    while len(done) < len(numbers):
        for number, item in backend.step():
            if isinstance(item, DsparkError):
                raise item
            if isinstance(item, Finished):
                done[number] = item.token_ids
    return tuple(done[number] for number in numbers)
