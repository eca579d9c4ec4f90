"""Amounts are read as people write them, and written as people read them."""

from __future__ import annotations

import pytest

from dspark_local.errors import UsageError
from dspark_local.sizes import format_bytes, format_gib, format_tokens, parse_bytes, parse_tokens


@pytest.mark.parametrize(
    ("text", "expected"),
    [("12GiB", 12 * 2**30), ("12G", 12 * 2**30), ("12 GB", 12 * 10**9), ("1.5tb", 1_500_000_000_000), ("512", 512)],
)
def test_bytes_are_read_with_binary_and_decimal_units(text: str, expected: int) -> None:
    assert parse_bytes(text, "--vram") == expected


@pytest.mark.parametrize("text", ["", "GiB", "12 parsecs", "-3G", "1e9", "12GiBs"])
def test_what_is_no_amount_is_refused_by_the_name_of_its_option(text: str) -> None:
    with pytest.raises(UsageError, match="--vram"):
        parse_bytes(text, "--vram")


def test_tokens_are_read_with_binary_thousands() -> None:
    assert [parse_tokens(text, "--context") for text in ("32k", "1M", "4096", "1.5K")] == [32768, 2**20, 4096, 1536]


def test_a_context_of_no_tokens_is_refused() -> None:
    with pytest.raises(UsageError, match="at least 1"):
        parse_tokens("0", "--context")


def test_sizes_are_shown_with_the_unit_that_fits() -> None:
    assert [format_bytes(n) for n in (159_609_485_896, 13_369_344, 999, 0)] == ["159.6 GB", "13.4 MB", "999 B", "0 B"]
    assert [format_gib(n) for n in (6_727_565_512, 2**20)] == ["6.27 GiB", "1.0 MiB"]
    assert [format_tokens(n) for n in (32768, 2**20, 1500, 100)] == ["32k", "1M", "1,500", "100"]
