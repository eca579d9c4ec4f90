"""What the models raise, in the product's words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dspark_local.errors import CheckpointError, ModelNotFoundError


@contextmanager
def models_errors() -> Iterator[None]:
    """Inside, errors of dspark_models become ModelNotFoundError and CheckpointError, for a user to act on."""
    from dspark_models.errors import CheckpointError as ModelCheckpointError
    from dspark_models.errors import NotAModelError

    try:
        yield
    except NotAModelError as error:
        raise ModelNotFoundError(error.message, hint=error.hint) from error
    except ModelCheckpointError as error:
        raise CheckpointError(error.message, hint=error.hint) from error
