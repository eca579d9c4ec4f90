"""How long a key press takes to reach the screen while an answer streams: `python -m dspark_tui.latency`.

The real chat runs in a pseudo-terminal, fed by a scripted server within its process. Here keys are written to the
terminal, each another rare letter, and the time is taken until that letter comes back on the screen. POSIX only.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import select
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from dspark_local.backend import ModelInfo
from dspark_local.client import EngineClient
from dspark_tui.engine_link import OnProgress, RemoteEngine

KINDS = ("list", "table", "fence")
_CHARS_A_TOKEN = 4
_START_SECONDS = 30.0
_QUIET_SECONDS = 1.5
_BETWEEN_KEYS_SECONDS = 0.05
_FIRST_LETTER, _LETTERS = 0x13A0, 80  # Cherokee: nothing else on the screen holds these


def block_of(kind: str, chars: int) -> str:
    """A list, table or fence of about so many characters, with a sentence after it."""
    rows: Iterator[str]
    match kind:
        case "list":
            head, foot = "", ""
            rows = (f"{n}. Item {n} with **bold**, `code` and some words\n" for n in range(1, 100_000))
        case "table":
            head, foot = "| key | value | what it means |\n|---|---|---|\n", ""
            rows = (f"| key {n} | `{n * 7}` | some words on row {n} |\n" for n in range(1, 100_000))
        case "fence":
            head, foot = "```python\n", "```\n"
            rows = (f"def function_{n}(value: int) -> int:\n    return value + {n}\n\n" for n in range(1, 100_000))
        case _:
            raise ValueError(f"{kind!r} is none of {', '.join(KINDS)}")
    text = head
    while len(text) < chars:
        text += next(rows)
    return f"{text}{foot}\nThat was all.\n"


# ---- the chat under measurement


class _Stream(httpx.AsyncByteStream):
    def __init__(self, text: str, tokens_per_second: float) -> None:
        self._text = text
        self._rate = tokens_per_second

    async def __aiter__(self) -> AsyncIterator[bytes]:
        started = time.monotonic()
        for number, at in enumerate(range(0, len(self._text), _CHARS_A_TOKEN)):
            await asyncio.sleep(max(0.0, started + number / self._rate - time.monotonic()))
            yield _event({"content": self._text[at : at + _CHARS_A_TOKEN]})
        yield _event({}, "stop")
        yield b"data: [DONE]\n\n"


def _event(delta: dict[str, str], reason: str | None = None) -> bytes:
    return f"data: {json.dumps({'choices': [{'delta': delta, 'finish_reason': reason}]})}\n\n".encode()


class ScriptedTransport(httpx.AsyncBaseTransport):
    """A server that answers every chat with `text` at a steady pace."""

    def __init__(self, text: str, tokens_per_second: float) -> None:
        self._text = text
        self._rate = tokens_per_second

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Health, models, or the answer."""
        match request.url.path:
            case "/health":
                return httpx.Response(200, json={"status": "ok"})
            case "/v1/models":
                return httpx.Response(200, json={"data": [{"id": "scripted"}]})
            case _:
                return httpx.Response(200, stream=_Stream(self._text, self._rate))


class ScriptedEngine(RemoteEngine):
    """A link to a ScriptedTransport."""

    def __init__(self, text: str, tokens_per_second: float) -> None:
        super().__init__("http://scripted.invalid", None)
        self._transport = ScriptedTransport(text, tokens_per_second)

    async def connect(self, on_progress: OnProgress) -> ModelInfo:
        """There at once."""
        self.client = EngineClient("http://scripted.invalid", transport=self._transport)
        return await self.client.wait_until_ready(on_progress)


def _chat(kind: str, chars: int, tokens_per_second: float) -> None:
    from dspark_tui.app import ChatApp
    from dspark_tui.chat_settings import ChatSettings
    from dspark_tui.store import ConversationStore

    with contextlib.closing(ConversationStore(Path(os.environ["DSPARK_HOME"], "latency.db"))) as store:
        ChatApp(ScriptedEngine(block_of(kind, chars), tokens_per_second), ChatSettings(), store).run()


# ---- the one who measures


@dataclass(frozen=True, slots=True)
class Latencies:
    """Seconds from key to screen, sorted."""

    seconds: tuple[float, ...]

    def percentile(self, share: float) -> float:
        """The value that `share` of all, 0 to 1, do not exceed."""
        return self.seconds[min(int(share * len(self.seconds)), len(self.seconds) - 1)]


class _Terminal:
    """The chat in a pseudo-terminal of 120 by 40."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        import fcntl
        import pty
        import struct
        import termios

        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            os.execvpe(command[0], command, environment)  # never comes back
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))

    def write(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def reads(self, text: str, seconds: float) -> bool:
        """Whether `text` comes within so many seconds."""
        seen, wanted, deadline = b"", text.encode(), time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if select.select([self._fd], [], [], left)[0]:
                try:
                    seen = seen[-200:] + os.read(self._fd, 65536)
                except OSError:  # the chat has ended
                    return False
                if wanted in seen:
                    return True
        return False

    def close(self) -> None:
        self.write("\x11")  # Ctrl+Q
        while self.reads("\0never", 0.5):
            pass
        os.close(self._fd)
        os.waitpid(self._pid, 0)


def measure(kind: str, *, chars: int = 8000, tokens_per_second: float = 100.0) -> Latencies:
    """Press keys from the first token of such an answer to a second and a half after its last.

    Raises TimeoutError when the chat does not start, or a key never shows.
    """
    streams_for = chars / _CHARS_A_TOKEN / tokens_per_second
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "DSPARK_HOME": home, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        arguments = ["--chat", kind, "--chars", str(chars), "--tokens-per-second", str(tokens_per_second)]
        terminal = _Terminal([sys.executable, "-m", "dspark_tui.latency", *arguments], environment)
        try:
            if not terminal.reads("scripted", _START_SECONDS):
                raise TimeoutError("The chat did not start.")
            terminal.write("go\r")
            if not terminal.reads("Answering", _START_SECONDS):
                raise TimeoutError("The answer did not begin.")
            seconds: list[float] = []
            until = time.monotonic() + streams_for + _QUIET_SECONDS
            while time.monotonic() < until:
                letter = chr(_FIRST_LETTER + len(seconds) % _LETTERS)
                pressed = time.perf_counter()
                terminal.write(letter)
                if not terminal.reads(letter, _START_SECONDS):
                    raise TimeoutError(f"Key {len(seconds) + 1} never showed.")
                seconds.append(time.perf_counter() - pressed)
                time.sleep(_BETWEEN_KEYS_SECONDS)
        finally:
            terminal.close()
    return Latencies(tuple(sorted(seconds)))


def main() -> None:
    """Measure the kinds asked for and print a line for each."""
    parser = argparse.ArgumentParser(prog="python -m dspark_tui.latency", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("kinds", nargs="*", metavar="kind", help=f"{', '.join(KINDS)}; all without one")
    parser.add_argument("--chars", type=int, default=8000)
    parser.add_argument("--tokens-per-second", type=float, default=100.0)
    parser.add_argument("--chat", choices=KINDS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.chat is not None:
        _chat(given.chat, given.chars, given.tokens_per_second)
        return
    print(f"{given.chars:,} characters at {given.tokens_per_second:g} tokens/s, load {os.getloadavg()[0]:.1f}")
    for kind in given.kinds or KINDS:
        found = measure(kind, chars=given.chars, tokens_per_second=given.tokens_per_second)
        p50, p95, most = (1000 * found.percentile(share) for share in (0.5, 0.95, 1.0))
        print(f"{kind:6} {len(found.seconds):4} keys   p50 {p50:4.0f} ms   p95 {p95:4.0f} ms   max {most:4.0f} ms")


if __name__ == "__main__":
    main()
