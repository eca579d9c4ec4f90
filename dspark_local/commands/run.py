"""`dspark-local run`: one prompt, answered in this process."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dspark_local.commands.answer_output import AnswerOutput
from dspark_local.commands.interrupt import StopOnInterrupt
from dspark_local.commands.loading import DRAFT_HELP, MODEL_HELP, load_backend, say_dim
from dspark_local.commands.report import TraceFile, answer_object, summary
from dspark_local.commands.sources import read_prompt, read_token_file
from dspark_local.commands.stdout import write_stdout
from dspark_local.errors import UsageError
from dspark_local.request import ChatMessage, ChatRequest, SamplingSettings, SpeculationSettings, TokenRequest

if TYPE_CHECKING:
    from dspark_local.protocols.tokenizer import ChatTokenizer


def run(
    prompt: Annotated[str | None, typer.Argument(help="The prompt. What is piped in is added to it.")] = None,
    model: Annotated[str | None, typer.Option("--model", help=MODEL_HELP)] = None,
    draft: Annotated[str | None, typer.Option("--draft", help=DRAFT_HELP)] = None,
    tokens: Annotated[Path | None, typer.Option("--tokens", help="JSON list of prompt ids, instead of text.")] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Continue the text as it is, without chat encoding.")] = False,
    system: Annotated[str | None, typer.Option("--system", help="System message.")] = None,
    think: Annotated[bool, typer.Option("--think/--no-think", help="Let the model reason first.")] = False,
    show_thinking: Annotated[
        bool, typer.Option("--show-thinking", help="Write the reasoning to stderr even if that is no terminal.")
    ] = False,
    max_tokens: Annotated[int | None, typer.Option("--max-tokens", help="Most tokens of the answer.")] = None,
    temperature: Annotated[
        float | None, typer.Option("--temperature", help="0 is greedy; the model's own if left out.")
    ] = None,
    top_k: Annotated[int, typer.Option("--top-k", help="Keep the K most likely tokens; 0 is off.")] = 0,
    top_p: Annotated[float | None, typer.Option("--top-p", help="Keep this much probability.")] = None,
    min_p: Annotated[float, typer.Option("--min-p", help="Drop tokens under this share of the best; 0 is off.")] = 0.0,
    repetition_penalty: Annotated[float, typer.Option("--repetition-penalty", help="1 is off.")] = 1.0,
    presence_penalty: Annotated[float, typer.Option("--presence-penalty", help="0 is off.")] = 0.0,
    frequency_penalty: Annotated[float, typer.Option("--frequency-penalty", help="0 is off.")] = 0.0,
    stop: Annotated[list[str] | None, typer.Option("--stop", help="End before this text; may be repeated.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Makes sampling repeatable.")] = None,
    ignore_eos: Annotated[bool, typer.Option("--ignore-eos", help="Go on past the end token.")] = False,
    dtype: Annotated[str, typer.Option("--dtype", help="float32, bfloat16, float16 or auto.")] = "auto",
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    context: Annotated[int | None, typer.Option("--context", min=1, help="Context length in tokens.")] = None,
    spec: Annotated[
        str, typer.Option("--spec", help="Speculation: off, auto, ahead, static:K (K drafts a pass) or threshold:P.")
    ] = "auto",
    stats: Annotated[bool, typer.Option("--stats", help="Write counts and times to stderr.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object instead of the text.")] = False,
    trace: Annotated[Path | None, typer.Option("--trace", help="Write one JSON line a round to this file.")] = None,
) -> None:
    """Answer one prompt and exit. The answer goes to stdout, everything else to stderr."""
    speculation = SpeculationSettings.parse(spec)
    if tokens is not None and (prompt or system or think or raw):
        raise UsageError("--tokens is the whole prompt.", hint="Leave the text, --raw, --system and --think out.")
    if raw and (system or think):
        raise UsageError("--raw uses no chat encoding, so --system and --think mean nothing.", hint="Leave them out.")
    sampling = SamplingSettings(
        temperature=1.0 if temperature is None else temperature,
        top_k=top_k,
        top_p=1.0 if top_p is None else top_p,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        presence_penalty=presence_penalty,
        frequency_penalty=frequency_penalty,
        seed=seed,
        max_tokens=max_tokens,
        stop=tuple(stop or ()),
        ignore_eos=ignore_eos,
    )
    ids = read_token_file(tokens) if tokens is not None else None
    text = read_prompt(prompt) if ids is None else ""

    with TraceFile(trace) as trace_file:
        backend = load_backend(model, draft=draft, dtype=dtype, device=device, context=context)
        if temperature is None:
            sampling = replace(sampling, temperature=backend.info.recommended_temperature)
        if top_p is None:
            sampling = replace(sampling, top_p=backend.info.recommended_top_p)
        if stats and "speculation" in backend.info.extra:
            say_dim(f"speculation is {backend.info.extra['speculation']}")
        output = AnswerOutput(trace_file, quiet=as_json, show_reasoning=show_thinking or sys.stderr.isatty())
        with StopOnInterrupt() as interrupt:
            if raw:
                ids = raw_ids(backend.tokenizer, text)
            if ids is not None:
                events = backend.complete(TokenRequest(tuple(ids), sampling, speculation), interrupt)
            else:
                request = ChatRequest(
                    messages=_messages(system, text),
                    sampling=sampling,
                    speculation=speculation,
                    thinking="thinking" if think else "chat",
                )
                events = backend.chat(request, interrupt)
            done = output.consume(events)

    if as_json:
        write_stdout(json.dumps(answer_object(output.text, output.reasoning, done), ensure_ascii=False) + "\n")
    if stats:
        print(summary(done.stats), file=sys.stderr, flush=True)
    if done.reason == "cancelled":
        raise KeyboardInterrupt


def raw_ids(tokenizer: ChatTokenizer, text: str) -> list[int]:
    """Ids of plain text behind the token that starts every text the model was trained on."""
    start = [] if tokenizer.bos_id is None else [tokenizer.bos_id]
    return start + tokenizer.encode_text(text)


def _messages(system: str | None, text: str) -> tuple[ChatMessage, ...]:
    first = (ChatMessage("system", system),) if system else ()
    return (*first, ChatMessage("user", text))
