"""Errors as Anthropic's clients expect them: {"type": "error", "error": {...}, "request_id": ...}."""

from __future__ import annotations

import uuid
from typing import Any

from starlette.responses import JSONResponse

from dspark_local.errors import ContextLengthError, DsparkError
from dspark_local.server.faults import error_response, json_response, status_of

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}
_OVERLOADED = 529  # Anthropic's own status for a service that will take the request a little later


def new_request_id() -> str:
    """A fresh id in Anthropic's form."""
    return f"req_{uuid.uuid4().hex[:24]}"


def messages_status(error: DsparkError) -> int:
    """HTTP status of an error on these routes: the common one, except while a model loads."""
    return _OVERLOADED if error.code == "model_loading" else status_of(error)


def messages_error_body(error: DsparkError, request_id: str) -> dict[str, Any]:
    """The JSON body, used for whole answers and for error events within a stream. `code` is ours."""
    status = messages_status(error)
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
    message = str(error)
    if isinstance(error, ContextLengthError):
        # Agents know this wording, and shorten the conversation when they read it.
        message = f"prompt is too long: {error.prompt_tokens} tokens > {error.context_length} maximum. {error.hint}"
    return {
        "type": "error",
        "error": {"type": kind, "message": message, "code": error.code},
        "request_id": request_id,
    }


def messages_error_response(error: DsparkError, request_id: str | None = None) -> JSONResponse:
    """The whole answer for a request that failed before anything was sent, with the headers that steer retries."""
    request_id = request_id or new_request_id()
    steering = ("retry-after", "x-should-retry", "www-authenticate")
    headers = {name: value for name, value in error_response(error).headers.items() if name in steering}
    body = messages_error_body(error, request_id)
    return json_response(body, messages_status(error), {**headers, "request-id": request_id})


def error_response_for(path: str, error: DsparkError) -> JSONResponse:
    """The answer in the shape that the clients of `path` expect."""
    spoken = path == "/v1/messages" or path.startswith("/v1/messages/")
    return messages_error_response(error) if spoken else error_response(error)
