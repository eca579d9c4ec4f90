"""Log-probabilities of tokens, in the shapes of chat completions and of the older completions."""

from __future__ import annotations

from dspark_local.events import TokenLogprobs
from dspark_local.server.schemas.completions import WireCompletionLogprobs
from dspark_local.wire import WireLogprobs, WireTokenLogprob, WireTopLogprob


def token_logprob(event: TokenLogprobs) -> WireTokenLogprob:
    """One token as chat and responses tell it."""
    return WireTokenLogprob(
        token=_shown(event.text_bytes),
        logprob=event.logprob,
        bytes=list(event.text_bytes),
        top_logprobs=[
            WireTopLogprob(token=_shown(text), logprob=logprob, bytes=list(text)) for _, text, logprob in event.top
        ],
    )


class PendingLogprobs:
    """Holds tokens back until text is sent that contains them; what never becomes text is never told."""

    def __init__(self) -> None:
        self._waiting: list[TokenLogprobs] = []

    def add(self, event: TokenLogprobs) -> None:
        """Take in a token; only those of the content are ever told."""
        if event.channel == "content":
            self._waiting.append(event)

    def take(self) -> list[TokenLogprobs]:
        """The tokens since the last call."""
        taken, self._waiting = self._waiting, []
        return taken

    def take_for_chat(self) -> WireLogprobs | None:
        """As take, in chat's shape; None when there are none."""
        taken = self.take()
        return WireLogprobs(content=[token_logprob(event) for event in taken]) if taken else None


def completion_logprobs(events: list[TokenLogprobs], offset: int) -> WireCompletionLogprobs | None:
    """Tokens as the older completions tell them; offset is where the first begins, in characters. None for none."""
    if not events:
        return None
    out = WireCompletionLogprobs()
    for event in events:
        out.tokens.append(_escaped(event.text_bytes))
        out.token_logprobs.append(event.logprob)
        out.top_logprobs.append({_escaped(text): logprob for _, text, logprob in event.top})
        out.text_offset.append(offset)
        offset += len(event.text_bytes.decode("utf-8", "ignore"))
    return out


def _shown(text: bytes) -> str:
    return text.decode("utf-8", "replace")


def _escaped(text: bytes) -> str:
    """Different byte strings stay different, as keys must: a part of a character is spelled out."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in text)
