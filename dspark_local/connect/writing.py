"""Writing a client's files: what would change, shown first, then written with care.

Nothing that somebody else wrote is ever lost: of their files only a marked section is ours.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from dspark_local.connect.filling import ReadyFile
from dspark_local.errors import DsparkError, UsageError
from dspark_local.paths import write_atomically

BEGIN = "# >>> dspark-local: written by `dspark-local connect`; changes in here are lost >>>\n"
END = "# <<< dspark-local <<<\n"


@dataclass(frozen=True, slots=True)
class Change:
    """A file before (None where there is none) and after."""

    path: Path
    old: str | None
    new: str

    @property
    def is_needed(self) -> bool:
        """False when the file is already as it should be."""
        return self.old != self.new

    def diff(self) -> str:
        """The change as a unified diff."""
        before = "/dev/null" if self.old is None else str(self.path)
        lines = difflib.unified_diff(
            (self.old or "").splitlines(keepends=True), self.new.splitlines(keepends=True), before, str(self.path)
        )
        return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def change_of(file: ReadyFile) -> Change:
    """What writing this file would do. Raises UsageError where it would touch what is not ours."""
    # A link, as people have who keep their settings in a repository, is followed and stays a link.
    path = file.path.resolve()
    old = _read(path)
    if file.kind == "own" or old is None:
        return Change(path, old, _section(file.text) if file.kind == "section" else file.text)
    if file.kind == "section":
        return Change(path, old, _with_section(old, file.text, path))
    if old != file.text:
        raise UsageError(
            f"{file.path} exists and is yours.", hint="Run this without --write and put in by hand what it prints."
        )
    return Change(path, old, old)


def write(change: Change) -> None:
    """Put the new text in place in one step, readable by its owner alone. Raises DsparkError."""
    try:
        change.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(change.path, change.new)
    except OSError as error:
        raise DsparkError(f"{change.path} cannot be written: {error}.") from error


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise DsparkError(f"{path} cannot be read: {error}.") from error


def _section(text: str) -> str:
    return f"{BEGIN}{text}{END}"


def _with_section(old: str, text: str, path: Path) -> str:
    before, begin, rest = old.partition(BEGIN)
    if begin:
        _, end, after = rest.partition(END)
        if not end:
            raise UsageError(f"The section in {path} has lost its last line.", hint=f"Put it back: {END.strip()}")
        return before + _section(text) + after
    first = next((line for line in old.splitlines() if line.strip() and not line.startswith("#")), "- ")
    if not first.startswith("-"):
        raise UsageError(
            f"{path} is not a list with an entry a line, so nothing can be added at its end.",
            hint="Run this without --write and put in by hand what it prints.",
        )
    return f"{old}{'' if not old or old.endswith(chr(10)) else chr(10)}{_section(text)}"
