"""Reading a model's files in full and comparing them with the hashes that were recorded for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dspark_local.store.models import ModelFile
from dspark_local.store.verified import VerifiedFiles

Progress = Callable[[str, int, int], None]
"""(name of the file, bytes read so far of all files, bytes of all files)"""


@dataclass(frozen=True, slots=True)
class Report:
    """What reading showed. wrong are files with another content, unknown those whose hash nobody recorded."""

    nbytes: int
    checked: tuple[str, ...]
    wrong: tuple[ModelFile, ...]
    unknown: tuple[str, ...]


def unverified(files: Sequence[ModelFile], verified: VerifiedFiles) -> tuple[ModelFile, ...]:
    """Files that were never checked or have changed since."""
    return tuple(file for file in files if file.digest is None or not verified.holds(file.path, file.digest))


def check_files(files: Sequence[ModelFile], verified: VerifiedFiles, progress: Progress | None = None) -> Report:
    """Hash them all, whatever was recorded, and record the outcome. Raises OSError, also for a file that is gone."""
    known = [file for file in files if file.digest is not None]
    total = sum(file.size for file in known)
    done = 0
    checked, wrong = [], []
    for file in known:
        if progress is not None:
            progress(file.name, done, total)

        def advance(count: int, name: str = file.name) -> None:
            nonlocal done
            done += count
            if progress is not None:
                progress(name, done, total)

        assert file.digest is not None
        if verified.check(file.path, file.digest, advance):
            checked.append(file.name)
        else:
            wrong.append(file)
    return Report(done, tuple(checked), tuple(wrong), tuple(file.name for file in files if file.digest is None))
