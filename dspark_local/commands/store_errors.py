"""What can go wrong on the way to the models on disk, in words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dspark_local.errors import CheckpointError


@contextmanager
def readable_store() -> Iterator[None]:
    """Inside, an OSError becomes a CheckpointError that names the file, the reason and the next step."""
    try:
        yield
    except OSError as error:
        what = error.filename or "The folder of models"
        raise CheckpointError(
            f"{what} cannot be read: {(error.strerror or str(error)).lower()}.",
            hint="Check its permissions, and HF_HOME, HF_HUB_CACHE or DSPARK_HOME if you set them.",
        ) from error
