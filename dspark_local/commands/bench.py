"""`dspark-local bench`: what speculation and shared passes are worth here, and what experts on the disk cost."""

from __future__ import annotations

import json
import random
import time
from dataclasses import asdict
from itertools import cycle, islice, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dspark_local.bench.progress import ProgressLine
from dspark_local.bench.prompts import prompts_of
from dspark_local.commands.console import show_json
from dspark_local.commands.loading import DRAFT_HELP, MODEL_HELP, load_located, locate_or_say_demo, say_dim
from dspark_local.commands.locating import locate
from dspark_local.commands.stdout import write_stdout
from dspark_local.commands.store_errors import readable_store
from dspark_local.errors import UsageError
from dspark_local.request import ChatMessage, SamplingSettings, SpeculationSettings

if TYPE_CHECKING:
    from dspark_local.bench.conversations import Pair
    from dspark_local.native import NativeBackend

MAX_ROW_COST = 1000.0
MAX_STREAMS = 64
STREAMS_SPECULATION = ("off", "auto")
PROMPTS, EXPERTS = 4, 24
"""What --count is when it is left out."""


def bench(
    spec: Annotated[bool, typer.Option("--spec", help="Compare ways of speculation with plain decoding.")] = False,
    experts: Annotated[bool, typer.Option("--experts", help="Time reading single experts from the disk.")] = False,
    streams: Annotated[
        int | None,
        typer.Option("--streams", min=2, max=MAX_STREAMS, help="Compare so many answers at once with one at a time."),
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help=MODEL_HELP)] = None,
    draft: Annotated[str | None, typer.Option("--draft", help=DRAFT_HELP)] = None,
    prompts: Annotated[
        Path | None, typer.Option("--prompts", help="Prompts, one a line, instead of chat, math and code.")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option("--against", help="With --experts: the same model in another layout or on another disk."),
    ] = None,
    count: Annotated[
        int | None, typer.Option("--count", min=1, help=f"Prompts of each domain ({PROMPTS}), or experts ({EXPERTS}).")
    ] = None,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=2, help="Most tokens of an answer.")] = 128,
    temperature: Annotated[float, typer.Option("--temperature", help="0 is greedy.")] = 0.0,
    threshold: Annotated[float, typer.Option("--threshold", help="Least confidence of the way of that name.")] = 0.5,
    runs: Annotated[int, typer.Option("--runs", min=1, help="How often every way decodes every prompt.")] = 3,
    row_cost: Annotated[
        float | None,
        typer.Option(
            "--row-cost",
            min=0.0,
            max=MAX_ROW_COST,
            help="Emulate a machine on which every further row of a target pass costs so many plain passes: "
            "0 is free, 10 is ten times. Only the clock is emulated, all else runs.",
        ),
    ] = None,
    dtype: Annotated[str, typer.Option("--dtype", help="float32, bfloat16, float16 or auto.")] = "auto",
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    context: Annotated[int | None, typer.Option("--context", min=1, help="Context length in tokens.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object instead of tables.")] = False,
) -> None:
    """Measure speculation (--spec), several answers at once (--streams) or reads of experts (--experts) here.

    --spec compares plain decoding, fixed numbers of drafts, a threshold and the scheduler, with the bound of them all.
    Speeds are ratios to plain decoding within one run, in which all ways take turns prompt by prompt. --experts reads
    random experts that are not in memory, with and without asking the system ahead, and as many raw bytes. --streams
    gives the tokens a second of all answers together as a ratio to one alone, plainly and with the scheduler.
    """
    named = [spec, experts, streams is not None].count(True)
    if named != 1:
        raise UsageError(
            "Nothing to measure was named." if named == 0 else "These are two measurements or more.",
            hint="--spec measures speculation, --streams several answers at once, --experts reads from the disk.",
        )
    if experts:
        _expert_reads(model, against, count or EXPERTS, as_json=as_json)
        return
    if against is not None:
        raise UsageError("--against is for --experts alone.", hint="Leave it out.")
    if streams is not None:
        texts = prompts_of(count or streams, is_demo=model is None, file=prompts)
        backend = load_located(
            locate_or_say_demo(model, draft), dtype=dtype, device=device, context=context, max_sequences=streams
        )
        _streams(backend, texts, streams, runs=runs, max_tokens=max_tokens, as_json=as_json)
        return
    SpeculationSettings.parse(f"threshold:{threshold}")  # refuses what is no probability before anything loads
    SamplingSettings(temperature=temperature)
    texts = prompts_of(count or PROMPTS, is_demo=model is None, file=prompts)
    located = locate_or_say_demo(model, draft)
    backend = load_located(located, dtype=dtype, device=device, context=context, max_sequences=2)
    pair = _pair(backend, located.draft_path or located.path)
    from dspark_local.bench.speculation import BenchSettings, SpeculationBench, emulate_row_cost, report_object
    from dspark_local.bench.table import LEGEND, comparison_table, costs_lines

    encoded = {domain: [_encode(backend, text) for text in of_domain] for domain, of_domain in texts.items()}
    settings = BenchSettings(runs=runs, max_tokens=max_tokens, temperature=temperature, threshold=threshold)
    started = time.monotonic()
    progress = ProgressLine()
    progress.show("measuring what passes cost")
    measurement = SpeculationBench(pair if row_cost is None else emulate_row_cost(pair, row_cost), settings)
    block_size = pair.drafter.block_size
    progress.clear()
    if not as_json:
        write_stdout(_head(backend, block_size, row_cost) + costs_lines(measurement.costs, block_size) + "\n\n")
    results = {}
    for domain, ways in measurement.domains(
        encoded, lambda domain, done, of: progress.show(f"{domain}: {done} of {of} answers")
    ):
        progress.clear()
        results[domain] = ways
        if not as_json:
            title = f"{domain}: {_counted(len(encoded[domain]), 'prompt')}, {_counted(runs, 'run')}"
            write_stdout(comparison_table(title, ways) + "\n\n")
    if as_json:
        about = _about(backend, settings=asdict(settings), row_cost=row_cost, prompts=texts)
        write_stdout(json.dumps(report_object(results, measurement.costs, about), ensure_ascii=False) + "\n")
    else:
        write_stdout(LEGEND + "\n")
        say_dim(f"measured in {time.monotonic() - started:.0f} s")


def _expert_reads(model: str | None, against: str | None, count: int, *, as_json: bool) -> None:
    """Read cold experts of one directory, or of two in turn. Raises DsparkError."""
    located = [locate(name) for name in ([model] if against is None else [model, against])]
    from dspark_local.bench import expert_reads, expert_table
    from dspark_local.bench.expert_source import ExpertSource
    from dspark_local.model_errors import models_errors

    draw, progress, started = random.Random(), ProgressLine(), time.monotonic()
    with models_errors(), readable_store():
        sources = [ExpertSource(one.path, one.name) for one in located]
        chosen = expert_reads.choose(sources, count, draw)
        reads = expert_reads.measure(sources, chosen, draw, lambda done, of: progress.show(f"{done} of {of} reads"))
    progress.clear()
    if as_json:
        show_json(expert_table.report_object(reads))
        return
    parts = [expert_table.title(reads), *map(expert_table.source_table, reads.sources)]
    if against is not None:
        parts.append(expert_table.against_lines(*reads.sources))
    write_stdout("\n\n".join([*parts, *expert_table.notes(reads), expert_table.LEGEND]) + "\n")
    say_dim(f"measured in {time.monotonic() - started:.0f} s")


def _streams(
    backend: NativeBackend, texts: dict[str, list[str]], streams: int, *, runs: int, max_tokens: int, as_json: bool
) -> None:
    """Domains in turn, and prompts again where there are fewer than streams. Raises DsparkError."""
    from dspark_local.bench.streams import measure_streams, streams_table

    in_turn = [text for of_one_place in zip_longest(*texts.values()) for text in of_one_place if text is not None]
    asked = list(islice(cycle(in_turn), streams))
    progress, started, measured = ProgressLine(), time.monotonic(), []
    for speculation in STREAMS_SPECULATION if backend.drafter is not None else STREAMS_SPECULATION[:1]:

        def show(done: int, of: int, speculation: str = speculation) -> None:
            progress.show(f"{speculation}: {_counted(done, 'run')} of {of}")

        measured.append(
            measure_streams(
                backend, asked, speculation, runs=runs, max_tokens=max_tokens, clock=time.perf_counter, on_run=show
            )
        )
    progress.clear()
    if as_json:
        about = _about(backend, settings={"runs": runs, "max_tokens": max_tokens}, row_cost=None, prompts=texts)
        show_json({**about, "streams": [figures.as_dict() for figures in measured]})
        return
    info = backend.info
    head = f"{info.id} on {info.device}, {streams} answers at once\nnumerics: {info.numerics}\n\n"
    write_stdout(head + streams_table(measured) + "\n")
    say_dim(f"measured in {time.monotonic() - started:.0f} s")


def _pair(backend: NativeBackend, draft_home: Path) -> Pair:
    """What is measured, taken from a loaded engine. UsageError without a draft."""
    from dspark_local.bench.conversations import Pair
    from dspark_local.engine.calibration import load_calibration
    from dspark_local.engine.calibration_store import local_folder

    target, drafter = backend.target, backend.drafter
    if drafter is None:
        raise UsageError("This model's directory holds no DSpark draft.", hint="Name the draft's with --draft.")
    calibration = load_calibration(draft_home, drafter.block_size, local_folder(draft_home))
    return Pair(target, drafter, calibration, frozenset(backend.tokenizer.eos_ids), time.perf_counter)


def _encode(backend: NativeBackend, text: str) -> list[int]:
    from dspark_local.protocols.chat_encoding import encode_chat_segments

    segments = encode_chat_segments([ChatMessage("user", text)], thinking="chat")
    return backend.tokenizer.encode_prompt(segments)


def _head(backend: NativeBackend, block_size: int, row_cost: float | None) -> str:
    info = backend.info
    lines = [f"{info.id} on {info.device}, blocks of {block_size}", f"numerics: {info.numerics}"]
    if row_cost is not None:
        lines.append(f"emulated: every further row of a target pass costs {row_cost:g} plain passes")
    return "\n".join(lines) + "\n"


def _about(
    backend: NativeBackend, *, settings: dict[str, Any], row_cost: float | None, prompts: dict[str, list[str]]
) -> dict[str, Any]:
    info = backend.info
    model = {
        "id": info.id,
        "device": info.device,
        "dtype": info.dtype,
        "numerics": info.numerics,
        "draft_block_size": info.draft_block_size,
    }
    return {"model": model, "settings": {**settings, "row_cost": row_cost}, "prompts": prompts}


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
