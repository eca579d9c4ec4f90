"""What can be wrong with a model on disk. The product turns these into its own messages."""

from __future__ import annotations


class CheckpointError(Exception):
    """A file of the checkpoint is missing, truncated, wrong or surplus, or its config asks for unknown maths.

    message names the file, tensor or field with its numbers; hint says the next step.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class NotAModelError(CheckpointError):
    """The directory does not exist or holds no config.json."""
