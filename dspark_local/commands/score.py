"""`dspark-local score`: how likely the model finds a text."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from dspark_local.commands.loading import MODEL_HELP, load_backend
from dspark_local.commands.sources import read_text_file, read_token_file
from dspark_local.commands.stdout import write_stdout
from dspark_local.errors import UsageError


def score(
    file: Annotated[Path | None, typer.Argument(help="Text file; - is standard input.")] = None,
    tokens: Annotated[Path | None, typer.Option("--tokens", help="JSON list of ids, instead of a text file.")] = None,
    model: Annotated[str | None, typer.Option("--model", help=MODEL_HELP)] = None,
    dtype: Annotated[str, typer.Option("--dtype", help="float32, bfloat16, float16 or auto.")] = "auto",
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    context: Annotated[int | None, typer.Option("--context", min=1, help="Context length in tokens.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object with every logprob.")] = False,
) -> None:
    """Log-probability of each token given those before it, and the perplexity.

    Text is tokenized as it stands, without chat encoding or a start token.
    """
    if (file is None) == (tokens is None):
        raise UsageError("score takes a text file or --tokens FILE.", hint="Give one of the two.")
    text = read_text_file(file) if file is not None else ""
    ids = read_token_file(tokens) if tokens is not None else []
    if file is not None and not text:
        raise UsageError(f"{file} is empty.")
    backend = load_backend(model, dtype=dtype, device=device, context=context)
    ids = ids or backend.tokenize(text)
    result = score_object(ids, backend.score(ids))
    if as_json:
        write_stdout(json.dumps(result) + "\n")
        return
    if result["perplexity"] is None:
        write_stdout("perplexity  - (one token has nothing before it)\n")
    else:
        write_stdout(f"perplexity  {result['perplexity']:.4f}\n")
    print(f"{len(ids):,} tokens, numerics: {backend.info.numerics}", file=sys.stderr, flush=True)


def score_object(ids: list[int], logprobs: list[float | None]) -> dict[str, Any]:
    """What --json prints. perplexity is exp of the mean negative logprob of all but the first token."""
    known = [value for value in logprobs if value is not None]
    perplexity = math.exp(-math.fsum(known) / len(known)) if known else None
    return {"token_ids": ids, "logprobs": logprobs, "perplexity": perplexity}
