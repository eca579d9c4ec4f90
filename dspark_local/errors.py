"""Every error that a user can meet.

DsparkError               base; has .hint (the next step), .exit_code and .code (stable, for machines)
├── UsageError            the request itself is wrong (unknown setting, bad value)
│   └── ContextLengthError    the prompt does not fit the context
├── ModelNotFoundError    no such directory, or a directory that holds no model
├── CheckpointError       a file of the model is missing, truncated, wrong or surplus
│   └── IntegrityError        a file is not what the hub recorded
├── HubError              the hub cannot be reached, or answers what it should not
│   └── HubAccessError        the hub wants a token, or has not granted access
├── DiskFullError         there is no room for what has to be written
├── MissingDependencyError    an optional package or tool is absent
├── OutOfMemoryError      a plan or an allocation does not fit
├── StoppedError          Ctrl-C ended work that the same command continues
└── EngineUnavailableError    the engine process cannot be started, reached or has died

Nothing here imports more than the standard library.
"""

from __future__ import annotations


class DsparkError(Exception):
    """Something that the user can understand and usually mend.

    message says what happened with its numbers; hint says the next step. Both are full sentences.
    """

    exit_code = 1
    code = "error"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class UsageError(DsparkError):
    """The request itself is wrong."""

    exit_code = 2
    code = "invalid_value"


class ContextLengthError(UsageError):
    """The prompt, with the room asked for the answer, does not fit the context."""

    code = "context_length_exceeded"

    def __init__(self, prompt_tokens: int, context_length: int) -> None:
        super().__init__(
            f"The prompt has {prompt_tokens:,} tokens, the context holds {context_length:,}.",
            hint="Shorten the prompt, start a new conversation, or raise --context if the model allows it.",
        )
        self.prompt_tokens = prompt_tokens
        self.context_length = context_length


class MissingDependencyError(DsparkError):
    """An optional package or tool is absent."""

    exit_code = 3
    code = "missing_dependency"


class ModelNotFoundError(DsparkError):
    """There is no such directory, or it holds no model."""

    exit_code = 4
    code = "model_not_found"


class CheckpointError(DsparkError):
    """A file of the model is missing, truncated, wrong or surplus."""

    exit_code = 5
    code = "checkpoint_invalid"


class IntegrityError(CheckpointError):
    """A file is not what the hub recorded: its hash or its length is another."""

    code = "checksum_mismatch"


class HubError(DsparkError):
    """The hub cannot be reached, or answers what it should not. What was downloaded so far is kept."""

    exit_code = 5
    code = "hub_error"


class HubAccessError(HubError):
    """The hub wants a token, or its owner has not granted access to this model."""

    code = "access_denied"


class DiskFullError(DsparkError):
    """There is no room on the disk for what has to be written. What was written so far is kept."""

    exit_code = 5
    code = "disk_full"


class OutOfMemoryError(DsparkError):
    """A plan or an allocation does not fit. fitting_context is a context, in tokens, of which it is known that it does.

    It is None where no such context is known.
    """

    exit_code = 6
    code = "out_of_memory"

    def __init__(self, message: str, *, hint: str = "", fitting_context: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.fitting_context = fitting_context


class StoppedError(DsparkError):
    """The user stopped work that the same command continues. No failure, so it is told without the word error."""

    exit_code = 130
    code = "stopped"

    def __init__(self) -> None:
        super().__init__("stopped; run the same command to continue")


class EngineUnavailableError(DsparkError):
    """The engine process cannot be started, cannot be reached or has died."""

    code = "engine_unavailable"
