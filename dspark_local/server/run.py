"""Opens the port, loads the model behind it, serves until told to stop."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import uvicorn
from starlette.applications import Starlette

from dspark_local.backend import Backend, LoadProgress
from dspark_local.errors import DsparkError, UsageError
from dspark_local.server.app import create_app
from dspark_local.server.guard import MAX_HEADER_BYTES, Access
from dspark_local.server.metrics_engine import EngineCollector, EngineReading
from dspark_local.server.operations import install_operations
from dspark_local.server.residence import watch_for_idleness
from dspark_local.server.steady_log import steady_stderr_log
from dspark_local.server.worker import EngineWorker, Loader

log = logging.getLogger(__name__)

_BACKLOG = 64
_MAX_CONNECTIONS = 256
_SHUTDOWN_SECONDS = 3
# Long enough for a client that polls /health to read why loading failed.
_FAILED_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """port 0 lets the system choose. allowed_hosts are further names for the Host header.

    exit_with_stdin ends the server when standard input closes: whoever started it holds the other end. idle_minutes
    unloads the model after so long without a request, None never does. slots is how many answers the engine, which
    the caller loads, works on at once.
    """

    host: str = "127.0.0.1"
    port: int = 0
    api_key: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    queue_size: int = 8
    exit_with_stdin: bool = False
    idle_minutes: float | None = None
    slots: int = 1


def run_server(
    load: Loader, options: ServeOptions, *, read_engine: Callable[[Any], EngineReading] | None = None
) -> None:
    """Serve until a signal; the port is open and named on standard output before `load` begins.

    read_engine reads the backends that `load` makes, for the metrics.

    A model that cannot be loaded ends the server a moment later, unless it exits with standard input: then whoever
    started it reads the error from /health and ends it. Raises the error of loading, UsageError for a host that needs
    a key and has none, DsparkError when the port cannot be had.
    """
    access = _access(options)
    listener = _listen(options.host, options.port)
    host, port = listener.getsockname()[:2]
    shown_host = f"[{host}]" if ":" in host else host
    print(f"Listening on http://{shown_host}:{port}", flush=True)

    def on_failure(error: DsparkError) -> None:
        if options.exit_with_stdin:
            log.error("Loading the model failed: %s", error)
        else:
            threading.Timer(_FAILED_SECONDS, _stop, [server]).start()

    collector = EngineCollector(read_engine) if read_engine is not None else None

    def load_observed(progress: Callable[[LoadProgress], None]) -> Backend:
        backend = load(progress)
        if collector is not None:
            collector.attach(backend)
        return backend

    def new_worker() -> EngineWorker:
        return EngineWorker(load_observed, queue_size=options.queue_size)

    worker = EngineWorker(load_observed, queue_size=options.queue_size, on_failure=on_failure)
    app = create_app(worker, access)
    residence = install_operations(app, new_worker, collector=collector, slots=options.slots)
    server = uvicorn.Server(_uvicorn_config(app))
    if options.exit_with_stdin:
        threading.Thread(target=_exit_with_stdin, args=(server,), name="parent-watch", daemon=True).start()
    worker.start()
    if options.idle_minutes is not None:
        watch_for_idleness(residence, options.idle_minutes)
    try:
        with steady_stderr_log():
            server.run(sockets=[listener])
    finally:
        if not residence.close(_SHUTDOWN_SECONDS):
            # Still inside a load or a long pass: native code cannot be interrupted, and tearing the interpreter
            # down around it may crash. Nothing is left to save.
            log.warning("The engine did not stop in time; exiting without it.")
            logging.shutdown()
            os._exit(0)
    if worker.failure is not None and not options.exit_with_stdin:
        raise worker.failure


def _uvicorn_config(app: Starlette) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        # h11 bounds the request line and headers; other parsers that uvicorn would pick, if installed, do not.
        http="h11",
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        ws="none",
        proxy_headers=False,
        limit_concurrency=_MAX_CONNECTIONS,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
    )


def _stop(server: uvicorn.Server) -> None:
    server.should_exit = True


def _access(options: ServeOptions) -> Access:
    if options.api_key is not None and not options.api_key.strip():
        raise UsageError("The API key is empty.")
    if not is_loopback(options.host) and options.api_key is None:
        raise UsageError(
            f"Listening on {options.host} lets other computers in, and that needs an API key.",
            hint="Give one with --api-key-file or DSPARK_API_KEY, or listen on 127.0.0.1.",
        )
    hosts = [*Access(None).hosts, *options.allowed_hosts]
    if options.host not in ("", "0.0.0.0", "::") and not is_loopback(options.host):
        hosts.append(f"[{options.host}]" if ":" in options.host else options.host)
    return Access(options.api_key, tuple(hosts))


def is_loopback(host: str) -> bool:
    """True for addresses that only this computer reaches; a name other than localhost counts as reachable."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        if sys.platform != "win32":  # there the flag would let two servers share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        raise DsparkError(
            f"Cannot listen on {host} port {port}: {error}.",
            hint="Choose another with --port, or --port 0 for any free one.",
        ) from error
    return listener


def _exit_with_stdin(server: uvicorn.Server) -> None:
    with contextlib.suppress(OSError, ValueError):
        while os.read(0, 4096):
            pass
    log.info("The program that started this server has gone; exiting.")
    server.should_exit = True
    # A second net: if the event loop cannot act on it, the signal ends the process the hard way.
    timer = threading.Timer(
        2 * _SHUTDOWN_SECONDS + 1, os.kill, (os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
    )
    timer.daemon = True
    timer.start()
