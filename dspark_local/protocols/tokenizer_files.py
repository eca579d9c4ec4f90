"""Reading the tokenizer of a model directory: files in, checked plain data out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from dspark_local.errors import CheckpointError
from dspark_local.protocols.special_tokens import BOS, EOS

_NEXT_STEP = "Download the model's tokenizer.json again; it comes with the official checkpoint."


class TokenizerFiles(NamedTuple):
    """definition is tokenizer.json as an object; bos_id is None and eos_ids empty where the model has none."""

    definition: dict[str, Any]
    added: dict[str, int]
    bos_id: int | None
    eos_ids: tuple[int, ...]


def read_tokenizer_files(model_dir: Path) -> TokenizerFiles:
    """Read tokenizer.json and, where present, the configs that name BOS and EOS. Raises CheckpointError."""
    path = model_dir / "tokenizer.json"
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; without it no text can become tokens.", hint=_NEXT_STEP)
    definition = _read_object(path)
    _require_byte_level(path, definition)
    added = added_tokens(path, definition)
    configs = [_read_object(p) for p in _config_paths(model_dir)]
    return TokenizerFiles(definition, added, _bos_id(configs, added), _eos_ids(configs, added))


def added_tokens(path: Path, definition: dict[str, Any]) -> dict[str, int]:
    """Spelling -> id of the tokens that are matched as they stand. Raises CheckpointError."""
    try:
        return {str(token["content"]): int(token["id"]) for token in definition.get("added_tokens") or []}
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} has an added token without content or id ({error!r}).", hint=_NEXT_STEP
        ) from error


def _config_paths(model_dir: Path) -> list[Path]:
    names = ("generation_config.json", "config.json", "tokenizer_config.json")
    return [path for name in names if (path := model_dir / name).is_file()]


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON: {error}.", hint=_NEXT_STEP) from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds a JSON {type(value).__name__}, not an object.", hint=_NEXT_STEP)
    return value


def _require_byte_level(path: Path, definition: dict[str, Any]) -> None:
    decoder = definition.get("decoder") or {}
    parts = decoder.get("decoders") or [decoder]
    kinds = [part.get("type") for part in parts]
    if "ByteLevel" not in kinds:
        raise CheckpointError(
            f"{path} has a decoder of type {kinds[0]}; only byte-level tokenizers are read.",
            hint="Use the tokenizer.json that ships with the official checkpoint.",
        )


def _bos_id(configs: list[dict[str, Any]], added: dict[str, int]) -> int | None:
    ids = _named_ids(configs, "bos", added)
    return ids[0] if ids else added.get(BOS)


def _eos_ids(configs: list[dict[str, Any]], added: dict[str, int]) -> tuple[int, ...]:
    """Every id that any file calls an end; V4's own spelling counts where no file says anything."""
    ids = _named_ids(configs, "eos", added)
    return ids or ((added[EOS],) if EOS in added else ())


def _named_ids(configs: list[dict[str, Any]], which: str, added: dict[str, int]) -> tuple[int, ...]:
    found: list[int] = []
    for config in configs:
        value = config.get(f"{which}_token_id")
        found += [i for i in (value if isinstance(value, list) else [value]) if isinstance(i, int)]
        token = config.get(f"{which}_token")
        spelling = token.get("content") if isinstance(token, dict) else token
        if isinstance(spelling, str) and spelling in added:
            found.append(added[spelling])
    return tuple(dict.fromkeys(found))
