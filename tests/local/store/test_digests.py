from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from dspark_local.store.digests import Digest, hash_file, new_hasher


@pytest.mark.parametrize("size", [0, 1, 100_000, 9 * 2**20])
def test_a_git_hash_is_the_one_that_git_computes(tmp_path: Path, size: int) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(range(251)) * (size // 251) + b"x" * (size % 251))
    # --no-filters: git is not to convert line ends
    git = subprocess.run(
        ["git", "hash-object", "--no-filters", str(file)], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert hash_file(file, "git-sha1") == git.stdout.strip()


def test_a_file_is_hashed_whole_and_every_byte_is_reported_once(tmp_path: Path) -> None:
    content = b"0123456789abcdef" * 2**20
    file = tmp_path / "file"
    file.write_bytes(content)
    pieces: list[int] = []
    assert hash_file(file, "sha256", pieces.append) == hashlib.sha256(content).hexdigest()
    assert sum(pieces) == len(content)
    assert len(pieces) > 1


def test_a_hasher_may_be_fed_in_pieces() -> None:
    hasher = new_hasher("git-sha1", 6)
    hasher.update(b"foo")
    hasher.update(b"bar")
    assert hasher.hexdigest() == hashlib.sha1(b"blob 6\0foobar").hexdigest()


def test_the_kind_of_a_digest_is_told_by_its_length() -> None:
    assert Digest.parse('"' + "AB" * 32 + '"') == Digest("sha256", "ab" * 32)
    assert Digest.parse("c0" * 20) == Digest("git-sha1", "c0" * 20)
    assert Digest.parse("etag-of-another-kind") is None
    assert Digest.parse("zz" * 20) is None
