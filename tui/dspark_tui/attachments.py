"""Text files that go with a prompt: how they are read, what is refused, how the model gets them. Knows no widget."""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from dspark_local.errors import UsageError

MAX_BYTES = 4 << 20
"""More than the largest context takes."""
_BYTES_A_TOKEN = 3.6  # of code and English prose with V4's tokenizer; only until the engine has counted
_LANGUAGE = re.compile(r"[A-Za-z0-9+#-]{1,12}")


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file as it was when it was attached: `name` is its last path component, `text` all of it."""

    name: str
    text: str

    @property
    def size(self) -> int:
        """Bytes of UTF-8."""
        return len(self.text.encode("utf-8", "surrogatepass"))

    @property
    def estimated_tokens(self) -> int:
        """A guess, for as long as nobody has counted."""
        return max(round(self.size / _BYTES_A_TOKEN), 1)


def read_attachment(path: Path) -> Attachment:
    """Read a text file. Raises UsageError that says why it cannot be one."""
    path = path.expanduser()
    try:
        facts = path.stat()
        if stat.S_ISDIR(facts.st_mode):
            raise UsageError(f"{path} is a directory.", hint="Attach the files in it one by one.")
        if not stat.S_ISREG(facts.st_mode):  # a pipe or a device may never end
            raise UsageError(f"{path} is no regular file.")
        if facts.st_size > MAX_BYTES:
            raise UsageError(
                f"{path} has {size_label(facts.st_size)}; at most {size_label(MAX_BYTES)} are attached.",
                hint="Attach the part that matters.",
            )
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise UsageError(f"There is no file {path}.", hint="Check the path; Tab completes it.") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise UsageError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    text = _decoded(content, path).replace("\r\n", "\n")
    if not text.strip():
        raise UsageError(f"{path} is empty.")
    return Attachment(path.name, text)


def _decoded(content: bytes, path: Path) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings = ["utf-16"]
    elif b"\0" in content[:8192]:
        encodings = []
    else:
        encodings = ["utf-8-sig"]
    for encoding in encodings:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            if encoding == "utf-8-sig" and (guess := _guessed(content)) is not None:
                return guess
    raise UsageError(f"{path} is no text file.", hint="Only text can be attached, best as UTF-8.")


def _guessed(content: bytes) -> str | None:
    """An old encoding, where the library that tells them apart is installed."""
    try:
        from charset_normalizer import from_bytes
    except ImportError:
        return None
    best = from_bytes(content).best()
    return None if best is None else str(best)


def with_files(prompt: str, attachments: tuple[Attachment, ...]) -> str:
    """The message: each file under its name in a fence that its text cannot close, then the prompt."""
    return "\n\n".join([*map(_fenced, attachments), prompt]) if attachments else prompt


def _fenced(attachment: Attachment) -> str:
    longest = max((len(run) for run in re.findall(r"`{3,}", attachment.text)), default=2)
    fence = "`" * (longest + 1)
    suffix = Path(attachment.name).suffix[1:]
    language = suffix if _LANGUAGE.fullmatch(suffix) else ""
    return f"{attachment.name}:\n{fence}{language}\n{attachment.text.rstrip()}\n{fence}"


def size_label(size: int) -> str:
    """Like `812 B`, `3.4 kB`, `2.1 MB`."""
    if size < 1000:
        return f"{size} B"
    return f"{size / 1e3:.1f} kB" if size < 1e6 else f"{size / 1e6:.1f} MB"


_MENTION = re.compile(r"""(?:(?<=\s)|^)@(?:"([^"\n]+)"|'([^'\n]+)'|(\S+))""")


def mentioned_paths(prompt: str) -> list[str]:
    """The words after an @ that begins a word, in their order, each once; quotes hold a path with spaces together."""
    found = (next(filter(None, match.groups())) for match in _MENTION.finditer(prompt))
    return list(dict.fromkeys(found))


def dropped_path(text: str) -> Path | None:
    """The absolute path of an existing file that a terminal pastes when a file is dragged into it, else None.

    Terminals quote it, escape its spaces, or make it a file: address.
    """
    text = text.strip()
    if not 1 < len(text) < 4096 or "\n" in text:
        return None
    if text.startswith("file://"):
        text = unquote(urlsplit(text).path)
    elif text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1]
    candidates = (text, re.sub(r"\\(.)", r"\1", text))
    for candidate in candidates:
        path = Path(candidate)
        try:
            if path.is_absolute() and path.is_file():
                return path
        except (OSError, ValueError):
            continue
    return None


def completions(fragment: str) -> list[str]:
    """Paths that begin with `fragment`, sorted, folders with a slash; hidden ones only when a dot was typed."""
    folder, _, start = fragment.rpartition("/")
    base = Path((folder + "/") if "/" in fragment else ".").expanduser()
    try:
        entries = sorted(base.iterdir())
    except (OSError, RuntimeError):
        return []
    prefix = f"{folder}/" if "/" in fragment else ""
    return [
        f"{prefix}{entry.name}{'/' if entry.is_dir() else ''}"
        for entry in entries
        if entry.name.startswith(start) and (start.startswith(".") or not entry.name.startswith("."))
    ]


def common_beginning(texts: list[str]) -> str:
    """The characters that all of `texts` begin with."""
    shortest = min(texts, key=len)
    return next((shortest[:at] for at, one in enumerate(shortest) if any(t[at] != one for t in texts)), shortest)
