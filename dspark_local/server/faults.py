"""Errors as OpenAI's clients expect them: a status, a body {"error": {...}} and the headers that steer retries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from starlette.responses import JSONResponse

from dspark_local.errors import ContextLengthError, DsparkError, UsageError
from dspark_local.wire import WireError, WireErrorBody

_STATUS = {
    "invalid_api_key": 401,
    "origin_refused": 403,
    "not_found": 404,
    "model_not_found": 404,
    "method_not_allowed": 405,
    "request_timeout": 408,
    "model_busy": 409,
    "request_too_large": 413,
    "unsupported_media_type": 415,
    "queue_full": 429,
    "model_loading": 503,
    "engine_unavailable": 503,
    "out_of_memory": 503,
}
_RETRY_AFTER_SECONDS = {"queue_full": 2, "model_loading": 2, "engine_unavailable": 5}


class RequestFaultError(UsageError):
    """The request cannot be served; `code` picks the HTTP status, `param` names the field."""

    def __init__(self, message: str, *, code: str = "invalid_value", param: str | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.param = param


def fault_of_validation(error: ValidationError) -> RequestFaultError:
    """The first thing that a schema found wrong, named by its field."""
    first = error.errors(include_url=False, include_input=False)[0]
    param = ".".join(str(part) for part in first["loc"])
    return RequestFaultError(f"{param or 'The body'}: {first['msg']}.", param=param or None)


def status_of(error: DsparkError) -> int:
    """HTTP status of an error: by its code, else 400 for a wrong request and 500 for the rest."""
    return _STATUS.get(error.code, 400 if isinstance(error, UsageError) else 500)


def error_body(error: DsparkError) -> dict[str, Any]:
    """The JSON body, used for whole answers and for error events within a stream."""
    status = status_of(error)
    wire = WireError(
        message=str(error),
        type="invalid_request_error" if status < 500 else "server_error",
        param=getattr(error, "param", None),
        code=error.code,
        hint=error.hint or None,
    )
    if isinstance(error, ContextLengthError):
        wire.n_prompt_tokens, wire.n_ctx = error.prompt_tokens, error.context_length
    wire.fitting_context = getattr(error, "fitting_context", None)
    body = WireErrorBody(error=wire).model_dump(exclude_none=True)
    for always_present in ("param", "code"):
        body["error"].setdefault(always_present, None)
    return body


def error_response(error: DsparkError) -> JSONResponse:
    """The whole answer for a request that failed before anything was sent."""
    headers: dict[str, str] = {}
    if (seconds := _RETRY_AFTER_SECONDS.get(error.code)) is not None:
        headers["Retry-After"] = str(seconds)
    elif status_of(error) >= 500 or error.code == "model_busy":
        # Official clients repeat 5xx answers and conflicts; what will recur must not cost three attempts.
        headers["x-should-retry"] = "false"
    if error.code == "invalid_api_key":
        headers["WWW-Authenticate"] = "Bearer"
    return json_response(error_body(error), status_of(error), headers)


def json_response(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """A JSON answer that no cache keeps."""
    return JSONResponse(body, status_code=status, headers={"Cache-Control": "no-store", **(headers or {})})
