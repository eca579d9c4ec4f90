"""`dspark-local calibrate`: measure whether a draft's confidences are true, and correct them."""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dspark_local.commands.interrupt import StopOnInterrupt
from dspark_local.commands.loading import DRAFT_HELP, MODEL_HELP, load_located, locate_or_say_demo, say_dim
from dspark_local.commands.sources import read_text_file
from dspark_local.commands.stdout import write_stdout
from dspark_local.engine.calibration import STANDARD_REGIMES, calibration_path, parse_calibration, read_document
from dspark_local.errors import UsageError
from dspark_local.request import SamplingSettings

if TYPE_CHECKING:
    from dspark_local.engine.calibration_fit import FittedRegime
    from dspark_local.engine.reliability import PlayedRound
    from dspark_local.native import NativeBackend

MAX_TOKENS = 256
WANTED_ROUNDS = 2000


def calibrate(
    model: Annotated[str | None, typer.Argument(help=MODEL_HELP)] = None,
    draft: Annotated[str | None, typer.Option("--draft", help=DRAFT_HELP)] = None,
    temperature: Annotated[
        list[float] | None,
        typer.Option("--temperature", help="Sampling temperature to measure, repeatable; 0, 0.6 and 1 if left out."),
    ] = None,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Rounds to play at each temperature.")] = WANTED_ROUNDS,
    prompts: Annotated[
        Path | None, typer.Option("--prompts", help="Prompts, one a line; a built-in set if left out.")
    ] = None,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=8, help="Most tokens of an answer.")] = MAX_TOKENS,
    dtype: Annotated[str, typer.Option("--dtype", help="float32, bfloat16, float16 or auto.")] = "auto",
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    context: Annotated[int | None, typer.Option("--context", min=1, help="Context length in tokens.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object instead of the report.")] = False,
    plot: Annotated[Path | None, typer.Option("--plot", help="Write a reliability diagram (SVG) to this file.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Let fewer rounds replace more.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Measure and report, write no calibration.")] = False,
) -> None:
    """Measure how true a draft's confidences are, and write what corrects them beside the draft.

    The engine answers prompts with every draft verified. Ctrl-C ends that early; what was collected is used.
    """
    chosen = temperature or STANDARD_REGIMES
    temperatures = sorted({SamplingSettings(temperature=value).temperature for value in chosen})
    own_prompts = _read_prompts(prompts) if prompts is not None else None
    located = locate_or_say_demo(model, draft)
    backend = load_located(located, dtype=dtype, device=device, context=context)
    from dspark_local.engine.calibration_file import merged, regime_name, write_document
    from dspark_local.engine.calibration_report import regime_object
    from dspark_local.engine.calibration_store import local_folder

    if not backend.info.draft_block_size:
        raise UsageError("This model's directory holds no DSpark draft.", hint="Name the draft's with --draft.")
    directory = located.draft_path or located.path
    fallback = local_folder(directory)
    in_use = calibration_path(directory, fallback)
    old = read_document(in_use) if in_use is not None else None
    if old is not None and in_use is not None:
        # A damaged file is a matter for the user, and before hours of work.
        parse_calibration(old, in_use, backend.info.draft_block_size)

    asked = _prompts(own_prompts, prompts, rounds, is_demo=backend.info.is_demo)
    with StopOnInterrupt() as interrupt:
        fits = _measure(backend, temperatures, asked, rounds, max_tokens, interrupt, quiet=as_json)
        interrupted = interrupt()

    remarks, path = ["nothing was measured, so nothing is written"], None
    if fits:
        default = backend.info.recommended_temperature
        document, remarks = merged(old, fits, default=default, dataset=asked.name, replace=replace)
        if plot is not None:
            _write_plot(plot, fits)
        if not dry_run:
            path = write_document(document, directory, fallback) if document != old else in_use
        remarks.append(f"the calibration is {path}" if path is not None else "a dry run: nothing is written")
    for remark in remarks:
        say_dim(remark)
    if as_json:
        figures = {regime_name(value): regime_object(fitted) for value, fitted in fits.items()}
        result = {"regimes": figures, "dataset": asked.name, "remarks": remarks, "file": str(path) if path else None}
        write_stdout(json.dumps(result) + "\n")
    if interrupted:
        raise KeyboardInterrupt
    if not fits:
        raise UsageError(
            f"{rounds:,} rounds a temperature were asked for; too few were played to fit anything.",
            hint="Raise --rounds, give more --prompts or a larger --max-tokens.",
        )


def _measure(
    backend: NativeBackend,
    temperatures: Sequence[float],
    prompts: _Prompts,
    wanted: int,
    max_tokens: int,
    interrupt: StopOnInterrupt,
    *,
    quiet: bool,
) -> dict[float, FittedRegime]:
    """Play and fit one regime after the other until interrupted; those with enough rounds, reported unless quiet."""
    from dspark_local.engine.calibration_file import regime_name
    from dspark_local.engine.calibration_play import play
    from dspark_local.engine.calibration_report import regime_text

    fits: dict[float, FittedRegime] = {}
    for temperature in temperatures:
        title = f"temperature {regime_name(temperature)}"
        if interrupt():
            say_dim(f"{title}: not begun")
            continue
        with _Progress(title, wanted) as progress:
            played = play(
                backend,
                _numbered(prompts.start(), repeat=temperature > 0.0),
                temperature=temperature,
                wanted=wanted,
                per_answer=prompts.per_answer,
                max_tokens=max_tokens,
                cancelled=interrupt,
                on_rounds=progress,
            )
        fitted = _fit(played, backend.info.draft_block_size, title)
        if fitted is not None:
            fits[temperature] = fitted
            if not quiet:
                write_stdout(regime_text(temperature, fitted) + "\n\n")
    return fits


class _Progress:
    """Counts rounds on stderr: one line that is rewritten on a terminal, one line every 500 rounds elsewhere."""

    def __init__(self, title: str, wanted: int) -> None:
        self._title, self._wanted = title, wanted
        self._started = time.monotonic()
        self._terminal = sys.stderr.isatty()
        self._shown = 0.0

    def __call__(self, count: int) -> None:
        """`count` rounds were played."""
        now = time.monotonic()
        if self._terminal and (now - self._shown > 0.2 or count == self._wanted):
            print(f"\r\x1b[2m{self._line(count, now)}\x1b[K\x1b[0m", end="", file=sys.stderr, flush=True)
            self._shown = now
        elif not self._terminal and count % 500 == 0:
            print(self._line(count, now), file=sys.stderr, flush=True)

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._terminal and self._shown:
            print(file=sys.stderr, flush=True)

    def _line(self, count: int, now: float) -> str:
        seconds = (now - self._started) / count * max(self._wanted - count, 0)
        left = f", at most {seconds / 60:.0f} min left" if seconds >= 60 else ""
        return f"{self._title}: {count:,} of {self._wanted:,} rounds{left}"


def _fit(rounds: list[PlayedRound], block_size: int, title: str) -> FittedRegime | None:
    """The fit, or None when there are too few rounds, which is said."""
    from dspark_local.engine.calibration_fit import LEAST_ROUNDS, fit_regime

    if len(rounds) < LEAST_ROUNDS:
        say_dim(f"{title}: {len(rounds):,} rounds are too few to fit, {LEAST_ROUNDS} are needed")
        return None
    try:
        return fit_regime(rounds, block_size)
    except ValueError:
        say_dim(f"{title}: the {len(rounds):,} rounds come from too few prompts to hold any out")
        return None


@dataclass(frozen=True, slots=True)
class _Prompts:
    """Prompts that can be started from the first one, what the file calls them, and how long to stay with each."""

    start: Callable[[], Iterable[str]]
    name: str
    per_answer: int


def _prompts(own: list[str] | None, path: Path | None, rounds: int, *, is_demo: bool) -> _Prompts:
    from dspark_local.engine.calibration_play import ROUNDS_PER_ANSWER

    if own is None and is_demo:
        from dspark_local.demo.heldout import held_out_questions

        name = "held-out prompts of the demo corpus (chat, math, code, story in equal parts)"
        return _Prompts(held_out_questions, name, ROUNDS_PER_ANSWER)
    from dspark_local.engine.calibration_prompts import PROMPTS

    texts = own or list(PROMPTS)
    name = (
        f"{len(texts)} built-in prompts (chat, math, code)" if path is None else f"{len(texts)} prompts of {path.name}"
    )
    # Greedy answers are the same every time, so few prompts have to give many rounds each.
    return _Prompts(lambda: texts, name, max(ROUNDS_PER_ANSWER, -(-rounds // len(texts))))


def _numbered(texts: Iterable[str], *, repeat: bool) -> Iterable[tuple[int, str]]:
    """Prompts with their numbers, again and again if an answer differs each time."""
    return itertools.cycle(enumerate(texts)) if repeat else enumerate(texts)


def _read_prompts(path: Path) -> list[str]:
    lines = [line.strip() for line in read_text_file(path).splitlines() if line.strip()]
    if len(lines) < 2:
        raise UsageError(f"{path} holds {len(lines)} prompts.", hint="Give at least two, better dozens, one a line.")
    return lines


def _write_plot(path: Path, fits: dict[float, FittedRegime]) -> None:
    from dspark_local.engine.calibration_plot import reliability_svg

    try:
        path.write_text(reliability_svg(fits), encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"The diagram {path} cannot be written: {error.strerror or error}.", hint="Choose another --plot."
        ) from error
