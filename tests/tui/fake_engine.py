"""A Backend that follows a script instead of a model: words of the prompt choose what happens.

Run as a program it is a whole engine process: `python fake_engine.py serve [--model DIR] ...`.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from dspark_local.backend import Cancelled, LoadProgress, ModelInfo
from dspark_local.errors import CheckpointError, ContextLengthError, OutOfMemoryError, UsageError
from dspark_local.events import (
    Event,
    Finished,
    FinishReason,
    GenerationStats,
    PrefillProgress,
    RoundDone,
    SpeculationState,
    TextDelta,
    ToolArgumentsDelta,
    ToolCallStarted,
)
from dspark_local.request import ChatRequest, TokenRequest

REASONING = "The question is about drafts. I recall what a target does, then I say it in order."

ANSWER = """Speculative decoding lets a **small draft** propose several tokens, which the *target* checks in one pass.

1. The draft proposes a block.
2. The target verifies it at once.
3. What agrees is kept, the rest is redrawn.

```python
def accepted_length(tokens: int, passes: int) -> float:
    return tokens / passes
```

| setting | tokens per pass |
|---|---|
| off | 1.0 |
| auto | 3.4 |

The output stays exactly the target's own: Grüße, 世界 and 🙂 included."""

FARES = SpeculationState("on", verified=1.6, block_size=5, gain=0.18)

DEMO = ModelInfo(
    id="dspark-demo",
    context_length=2048,
    is_demo=True,
    draft_block_size=5,
    weight_bytes=20_000_000,
    recommended_temperature=0.0,
    numerics="scripted",
)


@dataclass
class FakeBackend:
    """Answers ANSWER unless the last user message names another script; `passes` counts target passes."""

    info: ModelInfo = DEMO
    pass_seconds: float = 0.0
    answer: str = ANSWER
    passes: int = 0
    requests: list[ChatRequest] = field(default_factory=list)
    closed: bool = False

    def chat(self, request: ChatRequest, cancelled: Cancelled) -> Iterator[Event]:
        self.requests.append(request)
        begun = request.continued
        prompt = request.messages[-2 if begun else -1].content
        if begun and "stubborn" in prompt:
            raise UsageError("This model cannot go on with an answer.")
        if "too long" in prompt:
            raise ContextLengthError(3000, self.info.context_length)
        if "fault" in prompt:
            raise RuntimeError("a wire came loose")
        if "weather" in prompt and request.tools:
            yield from self._tool_call()
            return
        total = sum(len(message.content) for message in request.messages) // 4 + 8
        yield PrefillProgress(0, total, 0)
        if "patience" in prompt:
            time.sleep(0.3)
        yield PrefillProgress(total, total, 0)
        text = " ".join(f"word{n}" for n in range(8000)) if "endless" in prompt else self.answer
        if "echo " in prompt:
            text = prompt.partition("echo ")[2]
        yield from self._decode(request, text.removeprefix(begun.content) if begun else text, total, cancelled)

    def _decode(self, request: ChatRequest, text: str, prompt_tokens: int, cancelled: Cancelled) -> Iterator[Event]:
        reasoning = REASONING if request.thinking == "thinking" else ""
        if (begun := request.continued) is not None:
            reasoning = "" if begun.content else reasoning.removeprefix(begun.reasoning or "")
        pieces = [TextDelta(piece, "reasoning") for piece in _pieces(reasoning)]
        pieces += [TextDelta(piece) for piece in _pieces(text)]
        limit = request.sampling.max_tokens or 1_000_000
        emitted = passes = accepted_total = 0
        reason: FinishReason = "stop"
        started = time.perf_counter()
        for accepted in itertools.cycle((3, 1, 4, 2)):
            if cancelled():
                reason = "cancelled"
                break
            if "memory runs out" in request.messages[-1].content and emitted > 20:
                raise OutOfMemoryError("Memory ran out: tried to allocate 2.00 GiB.", hint="Use a smaller --context.")
            if "breakdown" in request.messages[-1].content and emitted > 20:
                print("CUDA error: an illegal memory access was encountered", file=sys.stderr, flush=True)
                time.sleep(0.5)  # what was said before leaves the process; the test wants a death in mid-answer
                os._exit(9)
            time.sleep(self.pass_seconds)
            self.passes += 1
            passes += 1
            block = pieces[emitted : min(emitted + accepted + 1, limit)]
            yield from block
            emitted += len(block)
            accepted_total += max(len(block) - 1, 0)
            used = prompt_tokens + emitted
            yield RoundDone(
                used,
                1,
                (1,) * 5,
                (0.5,) * 5,
                verified=4,
                accepted=max(len(block) - 1, 0),
                context_used=used,
                source="lookup" if passes % 4 == 0 else "draft",
                draft_seconds=0.001,
                verify_seconds=0.004,
                speculation=FARES if passes > 1 else replace(FARES, gain=None),
                texts=tuple(piece.text for piece in block),
            )
            if emitted >= len(pieces):
                break
            if emitted >= limit:
                reason = "length"
                break
        stats = GenerationStats(
            prompt_tokens=prompt_tokens,
            completion_tokens=emitted,
            reasoning_tokens=min(emitted, len(_pieces(reasoning))),
            passes=passes,
            prefill_seconds=0.1,
            decode_seconds=time.perf_counter() - started,
            drafted_tokens=5 * passes,
            verified_tokens=4 * passes,
            accepted_tokens=accepted_total,
            verified_per_position=(passes, passes),
            accepted_per_position=(passes, passes // 2),
            context_used=prompt_tokens + emitted,
            context_length=self.info.context_length,
            speculation=FARES,
        )
        yield Finished(reason, tuple(range(emitted)), stats)

    def _tool_call(self) -> Iterator[Event]:
        yield ToolCallStarted(0, "call_1", "get_weather")
        yield ToolArgumentsDelta(0, '{"city": ')
        yield ToolArgumentsDelta(0, '"Bern"}')
        yield Finished("tool_calls", (1, 2), GenerationStats(prompt_tokens=3, completion_tokens=2, passes=2))

    def complete(self, request: TokenRequest, cancelled: Cancelled) -> Iterator[Event]:
        raise NotImplementedError("the script speaks chat only")

    def tokenize(self, text: str) -> list[int]:
        return [ord(character) for character in text]

    def count_prompt_tokens(self, request: ChatRequest) -> int:
        return sum(len(message.content) for message in request.messages)

    def score(self, token_ids: Sequence[int]) -> list[float | None]:
        return [None] * len(token_ids)

    def close(self) -> None:
        self.closed = True


def _pieces(text: str) -> list[str]:
    return re.findall(r"\s*\S+|\s+$", text)


def slow_loader(seconds: float, pass_seconds: float, *, fails: bool = False) -> Callable[..., FakeBackend]:
    """A loader that takes `seconds` and reports ten steps."""

    def load(progress: Callable[[LoadProgress], None]) -> FakeBackend:
        for step in range(11):
            progress(LoadProgress("mapping weights", step * 2_000_000, 20_000_000))
            time.sleep(seconds / 11)
        if fails:
            raise CheckpointError("Shard 2 of 3 ends after 10 of 20 bytes.", hint="Download it again.")
        return FakeBackend(pass_seconds=pass_seconds)

    return load


def main() -> None:
    from dspark_local.server.run import ServeOptions, run_server

    parser = argparse.ArgumentParser()
    parser.add_argument("command")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--load-seconds", type=float, default=0.0)
    parser.add_argument("--pass-seconds", type=float, default=0.0)
    parser.add_argument("--fail", action="store_true")
    parser.add_argument("--context", type=int, default=DEMO.context_length)
    parser.add_argument("--fits", type=int, help="refuse to load with a longer context")
    parser.add_argument("--exit-with-stdin", action="store_true")
    given, _ = parser.parse_known_args()
    print("native noise that must not reach the screen", file=sys.stderr, flush=True)
    options = ServeOptions(
        port=given.port, api_key=os.environ.get("DSPARK_API_KEY"), exit_with_stdin=given.exit_with_stdin
    )
    load = slow_loader(given.load_seconds, given.pass_seconds, fails=given.fail)

    def load_if_it_fits(progress: Callable[[LoadProgress], None]) -> FakeBackend:
        if given.fits is not None and given.context > given.fits:
            raise OutOfMemoryError(
                f"Not enough memory: a context of {given.context} needs 40.0 GiB, 24.0 GiB is free.",
                hint=f"Run with --context {given.fits}.",
                fitting_context=given.fits,
            )
        backend = load(progress)
        backend.info = replace(backend.info, context_length=given.context)
        return backend

    run_server(load_if_it_fits, options)


if __name__ == "__main__":
    main()
