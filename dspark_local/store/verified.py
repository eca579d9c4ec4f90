"""Which files were checked against the hash that the hub recorded, remembered between runs.

Hashing 160 GB takes minutes, so a file is read in full once and trusted for as long as its size and its time of
modification stay. The record is a file of JSON lines that only ever grows: several processes may add to it at once, and
a line that a crash cut off costs one more look at one file.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dspark_local import paths
from dspark_local.store.digests import Digest, hash_file

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Seen:
    size: int
    mtime_ns: int
    digest: Digest


class VerifiedFiles:
    """The record in the state folder, or in the file given. Symbolic links are followed: content counts, not names."""

    def __init__(self, record_file: Path | None = None) -> None:
        self._file = record_file or paths.state_dir() / "verified.jsonl"
        self._seen: dict[str, _Seen] = {}
        self._read_bytes = 0

    def holds(self, path: Path, digest: Digest | None = None) -> bool:
        """Whether the file was checked, against `digest` if that is given, and has not changed since."""
        self._catch_up()
        try:
            real = path.resolve(strict=True)
            state = real.stat()
        except OSError:
            return False
        seen = self._seen.get(str(real))
        if seen is None or (seen.size, seen.mtime_ns) != (state.st_size, state.st_mtime_ns):
            return False
        return digest is None or digest == seen.digest

    def record(self, path: Path, digest: Digest) -> None:
        """Remember that the file as it is now has this digest. Raises OSError when there is no such file.

        A record that cannot be written is logged: it costs hashing the file again, never a download.
        """
        real = path.resolve(strict=True)
        state = real.stat()
        entry = {
            "path": str(real),
            "size": state.st_size,
            "mtime_ns": state.st_mtime_ns,
            "kind": digest.kind,
            "value": digest.value,
        }
        try:
            self._append(entry)
        except OSError as error:
            _LOG.warning("%s cannot be written, so %s will be hashed again: %s", self._file, real, error)
            self._seen[str(real)] = _Seen(state.st_size, state.st_mtime_ns, digest)

    def forget(self, path: Path) -> None:
        """The file is not what was recorded after all. Raises OSError when that cannot be written down."""
        real = str(path.resolve())
        self._seen.pop(real, None)
        self._append({"path": real, "forgotten": True})

    def check(self, path: Path, digest: Digest, on_bytes: Callable[[int], None] | None = None) -> bool:
        """Hash the file now, whatever was recorded. True, and recorded, when it has this digest. Raises OSError.

        When it has another one, what was recorded is forgotten.
        """
        before = path.stat()
        if hash_file(path, digest.kind, on_bytes) != digest.value:
            self.forget(path)
            return False
        after = path.stat()
        # Somebody wrote to it while it was read: what was hashed is not what lies there.
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            return False
        self.record(path, digest)
        return True

    def _append(self, entry: dict[str, object]) -> None:
        line = json.dumps(entry).encode() + b"\n"
        # One write in append mode is one whole line, however many processes write.
        with self._file.open("a+b", buffering=0) as stream:
            if stream.tell():
                stream.seek(-1, 2)
                if stream.read(1) != b"\n":  # a crash cut the last line off
                    line = b"\n" + line
            stream.write(line)

    def _catch_up(self) -> None:
        """Read what was added since the last look, by anybody."""
        try:
            size = self._file.stat().st_size
            if size < self._read_bytes:  # removed or cut: begin anew
                self._seen.clear()
                self._read_bytes = 0
            if size == self._read_bytes:
                return
            with self._file.open("rb") as stream:
                stream.seek(self._read_bytes)
                text = stream.read()
        except OSError:
            return
        whole, _, _ = text.rpartition(b"\n")
        self._read_bytes += len(whole) + 1 if whole else 0
        for line in whole.split(b"\n"):
            self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            entry = json.loads(line)
            if entry.get("forgotten"):
                self._seen.pop(entry["path"], None)
                return
            digest = Digest(entry["kind"], entry["value"])
            self._seen[entry["path"]] = _Seen(entry["size"], entry["mtime_ns"], digest)
        except (ValueError, KeyError, TypeError, AttributeError):
            if line.strip():
                _LOG.debug("a damaged line of %s is passed over", self._file)
