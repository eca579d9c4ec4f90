"""What stands before every route: Origin, key, content type and body size.

The Host header is checked by Starlette's TrustedHostMiddleware in front of this. Both together stop a web page from
reaching a server on loopback (DNS rebinding, cross-site requests). Decisions rest on scope["path"] and raw headers,
never on a URL rebuilt from the Host header.
"""

from __future__ import annotations

import asyncio
import hmac
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dspark_local.server.anthropic_faults import error_response_for
from dspark_local.server.faults import RequestFaultError

MAX_BODY_BYTES = 8 * 1024 * 1024
MAX_HEADER_BYTES = 32 * 1024
BODY_SECONDS = 30.0
# "/" is empty: agents ask for it, without their key, to see whether somebody is there.
_OPEN_PATHS = frozenset({"/health", "/"})


@dataclass(frozen=True, slots=True)
class Access:
    """Who may talk to the server. api_key None leaves it open; hosts are names without port."""

    api_key: str | None
    hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]")

    def admits_key(self, headers: Headers) -> bool:
        """True when no key is asked for, or the request carries it (Bearer or x-api-key)."""
        if self.api_key is None:
            return True
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        given = bearer.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        return hmac.compare_digest(given.encode(), self.api_key.encode())

    def admits_origin(self, headers: Headers) -> bool:
        """True when no browser is involved, or the page comes from an allowed host."""
        origin = headers.get("origin")
        if origin is None:
            return True
        try:
            host = urlsplit(origin).hostname
        except ValueError:
            return False
        return host in {name.strip("[]") for name in self.hosts}


class GuardMiddleware:
    """Refuses what Access does not admit, and bodies that are not JSON, over MAX_BODY_BYTES, or that trickle in.

    Each piece of a body has body_seconds to arrive.
    """

    def __init__(self, app: ASGIApp, access: Access, body_seconds: float = BODY_SECONDS) -> None:
        self._app = app
        self._access = access
        self._body_seconds = body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        fault = self._fault(scope, headers)
        if fault is not None:
            await error_response_for(scope["path"], fault)(scope, receive, send)
            return
        await self._app(scope, _capped(receive, self._body_seconds), send)

    def _fault(self, scope: Scope, headers: Headers) -> RequestFaultError | None:
        if not self._access.admits_origin(headers):
            return RequestFaultError("Requests from this web origin are not accepted.", code="origin_refused")
        if scope["path"] not in _OPEN_PATHS and not self._access.admits_key(headers):
            return RequestFaultError(
                "The API key is missing or wrong.",
                code="invalid_api_key",
                hint="Send it as 'Authorization: Bearer KEY'.",
            )
        if scope["method"] != "POST":
            return None
        # A cross-site form can post text/plain without asking first, but not application/json.
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return RequestFaultError("The body must be sent as application/json.", code="unsupported_media_type")
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > MAX_BODY_BYTES:
            return too_large()
        return None


def too_large() -> RequestFaultError:
    """The fault of a body over the limit."""
    return RequestFaultError(f"The body is over the limit of {MAX_BODY_BYTES:,} bytes.", code="request_too_large")


def _capped(receive: Receive, piece_seconds: float) -> Receive:
    received = 0
    complete = False

    async def counted() -> Message:
        nonlocal received, complete
        if complete:  # what follows is the client going away, whenever that is
            return await receive()
        try:
            message = await asyncio.wait_for(receive(), piece_seconds)
        except TimeoutError as error:
            raise RequestFaultError(
                f"No more of the body came within {piece_seconds:g} seconds.", code="request_timeout"
            ) from error
        received += len(message.get("body", b""))
        if received > MAX_BODY_BYTES:  # a chunked body announces no length
            raise too_large()
        complete = not message.get("more_body", False)
        return message

    return counted
