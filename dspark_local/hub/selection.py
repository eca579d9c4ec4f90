"""Which files of a repository are taken. Weights and text only: nothing that could run when it is opened."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from dspark_local.errors import CheckpointError, HubError, ModelNotFoundError, UsageError
from dspark_local.hub.listing import HubFile, Listing
from dspark_local.sizes import format_bytes

_WEIGHTS = (".safetensors", ".gguf")
_TEXTS = (".json", ".tiktoken", ".jinja")
_NAMES = ("tokenizer.model", "merges.txt", "vocab.txt", "license", "license.txt", "license.md", "readme.md")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy", ".npz", ".msgpack", ".h5")
_CODE = (".py", ".pyc", ".ipynb", ".so", ".dll", ".dylib", ".exe", ".sh", ".bat", ".js", ".cu", ".cpp")
_OTHER = "no weights, configuration or tokenizer"
_NOT_ASKED = "not part of what was asked for"
_SPLIT = re.compile(r"-\d{5}-of-\d{5}(?=\.gguf$)")
_DRIVE = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True, slots=True)
class Selection:
    """taken, in the order of the listing, and why the others are not: (path, reason)."""

    taken: tuple[HubFile, ...]
    refused: tuple[tuple[str, str], ...]

    def refusals(self) -> list[str]:
        """A sentence for each reason that a user may want to know."""
        reasons: dict[str, list[str]] = {}
        for path, reason in self.refused:
            reasons.setdefault(reason, []).append(path)
        return [
            f"Left out: {_some(paths)} ({reason})."
            for reason, paths in reasons.items()
            if reason not in (_OTHER, _NOT_ASKED)
        ]

    @property
    def nbytes(self) -> int:
        """Bytes of all taken files."""
        return sum(file.size for file in self.taken)


def select(listing: Listing, takes: Callable[[str], bool] | None = None) -> Selection:
    """Choose among a listing's files; `takes` is asked for every path that may be taken at all.

    Raises HubError for a path that leads out of the repository, CheckpointError for one that holds pickles alone,
    ModelNotFoundError when nothing is left, UsageError when several GGUF models are and none is chosen.
    """
    taken: list[HubFile] = []
    refused: list[tuple[str, str]] = []
    main_weights = {_ending(file.path) for file in listing.files if _is_weights(file.path) and "/" not in file.path}
    for file in listing.files:
        check_path(file.path, listing.repo)
        reason = _why_not(file.path) or ("" if takes is None else _unless(takes(file.path)))
        if not reason and takes is None:
            reason = _why_not_without_choice(file.path, main_weights)
        if reason:
            refused.append((file.path, reason))
        else:
            taken.append(file)
    _check_something_is_left(listing, taken, refused)
    if takes is None:
        _check_one_gguf(listing.repo, taken)
    return Selection(tuple(taken), tuple(refused))


def matching(patterns: Sequence[str]) -> Callable[[str], bool]:
    """A `takes` for patterns of the shell's kind, such as *Q4_K_M*; the small text files always belong to it."""

    def takes(path: str) -> bool:
        return not _is_weights(path) or any(fnmatchcase(path, pattern) for pattern in patterns)

    return takes


def check_path(path: str, repo: str) -> None:
    """HubError for a path that would be written outside of the cache, or that a file system reads differently."""
    parts = PurePosixPath(path).parts
    strange = "\\" in path or any(ord(letter) < 32 or ord(letter) == 127 for letter in path) or _DRIVE.match(path)
    if strange or path.startswith("/") or not parts or path != "/".join(parts) or set(parts) & {"..", "."}:
        raise HubError(
            f"{repo} lists a file at {path!r}, which leads out of the model's folder.",
            hint="Nothing was downloaded. Do not use this repository.",
        )


def _is_weights(path: str) -> bool:
    return path.lower().endswith(_WEIGHTS)


def _ending(path: str) -> str:
    return PurePosixPath(path).suffix.lower()


def _why_not(path: str) -> str:
    name = PurePosixPath(path).name.lower()
    if name in _NAMES or name.endswith(_WEIGHTS + _TEXTS):
        return ""
    if name.endswith(_PICKLES):
        return "pickled or unchecked data, which may run code when it is opened"
    if name.endswith(_CODE):
        return "a program; nothing from a model repository is ever run"
    return _OTHER


def _unless(is_wanted: bool) -> str:
    return "" if is_wanted else _NOT_ASKED


def _why_not_without_choice(path: str, main_weights: set[str]) -> str:
    if _is_weights(path) and "/" in path and main_weights:
        return "weights in a subfolder, beside the main ones"
    if _ending(path) == ".gguf" and ".safetensors" in main_weights:
        return "the same weights are there as safetensors"
    return ""


def _check_something_is_left(listing: Listing, taken: Iterable[HubFile], refused: Sequence[tuple[str, str]]) -> None:
    if any(_is_weights(file.path) for file in taken):
        return
    pickles = [path for path, _ in refused if path.lower().endswith(_PICKLES)]
    safe = [path for path, _ in refused if _is_weights(path)]
    if safe:
        raise ModelNotFoundError(
            f"No weights of {listing.repo} match what was asked for; it has {_some(safe)}.",
            hint="Change --include.",
        )
    if pickles:
        raise CheckpointError(
            f"{listing.repo} has its weights only as {_some(pickles)}, which may run any code when opened.",
            hint="Look for a conversion to safetensors or GGUF, often under another owner's name.",
        )
    raise ModelNotFoundError(f"{listing.repo} holds no weights.", hint="Check that it is the repository you mean.")


def _check_one_gguf(repo: str, taken: Iterable[HubFile]) -> None:
    variants: dict[str, int] = {}
    for file in taken:
        if _ending(file.path) == ".gguf":
            name = _SPLIT.sub("", file.path)
            variants[name] = variants.get(name, 0) + file.size
    if len(variants) > 1:
        shown = ", ".join(f"{name} ({format_bytes(size)})" for name, size in sorted(variants.items()))
        first = min(variants, key=lambda name: variants[name])
        raise UsageError(
            f"{repo} holds {len(variants)} models: {shown}.",
            hint=f"Choose with --include, for example --include '{first.removesuffix('.gguf')}*'.",
        )


def _some(paths: Sequence[str]) -> str:
    return ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")
