"""The header of a safetensors file on the hub: which tensors lie where, without any of them."""

from __future__ import annotations

from dspark_local.errors import CheckpointError
from dspark_local.hub.draft_layout import LENGTH_BYTES, header_length
from dspark_local.hub.patience import Patience
from dspark_local.hub.ranged import Source, patiently, read_range


def fetch_header(source: Source, patience: Patience) -> bytes:
    """The JSON text of the header. LENGTH_BYTES more have come over the network.

    Raises CheckpointError when it is no such file, and what read_range raises.
    """
    name = f"The header of {source.path}"
    first = patiently(lambda: read_range(source, 0, LENGTH_BYTES, patience), name, patience)
    end = LENGTH_BYTES + header_length(first, source.path)
    if end > source.size:
        raise CheckpointError(f"{source.path} on the hub is no safetensors file.")
    return patiently(lambda: read_range(source, LENGTH_BYTES, end, patience), name, patience)
