"""What the native engine fails with, in words that a user can act on."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from dspark_local.errors import DsparkError, OutOfMemoryError
from dspark_local.model_errors import models_errors

log = logging.getLogger(__name__)


@contextmanager
def native_errors() -> Iterator[None]:
    """Inside, errors of dspark_models and memory that ran out after all become DsparkErrors."""
    try:
        with models_errors():
            yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise OutOfMemoryError(
            f"Memory ran out: {str(error).splitlines()[0] if str(error) else 'no more could be allocated'}",
            hint="Use a smaller --context, or --device cpu, or close what else uses the memory.",
        ) from error


def as_told(error: Exception) -> DsparkError:
    """The error as whoever asked is told; one that nobody foresaw goes to the log with its traceback."""
    try:
        with native_errors():
            raise error
    except DsparkError as known:
        return known
    except Exception:
        log.exception("A request failed")
        message = f"The engine failed while answering: {type(error).__name__}: {error}"
        return DsparkError(message, hint="The log has the details.")
