"""The bytes that each token of a byte-level BPE stands for.

Byte-level vocabularies spell the 256 bytes with printable characters: printable Latin-1 stands for itself, the other
68 bytes for U+0100 onward, in order. Source: GPT-2's byte encoder, which the release's tokenizer uses too.
"""

from __future__ import annotations

from functools import cache


@cache
def _byte_of_character() -> dict[str, int]:
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    table = {chr(byte): byte for byte in printable}
    table.update({chr(0x100 + i): byte for i, byte in enumerate(others)})
    return table


def piece_bytes(piece: str) -> bytes:
    """Bytes of a vocabulary entry; an entry with characters outside the byte alphabet stands for its own UTF-8."""
    table = _byte_of_character()
    try:
        return bytes(table[character] for character in piece)
    except KeyError:
        return piece.encode()
