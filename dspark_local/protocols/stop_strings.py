"""Stop strings over streamed text."""

from __future__ import annotations

from collections.abc import Iterable


class StopStrings:
    """Cuts text at the first stop string, which itself is never shown.

    The stop that is complete first wins; of those that are complete with the same character, the longest. So the
    result is the same however the text is cut into fragments.
    """

    def __init__(self, stops: Iterable[str]) -> None:
        self._stops = tuple(dict.fromkeys(stop for stop in stops if stop))
        self._held = ""
        self.met: str | None = None
        """The stop string that was met."""

    @property
    def stopped(self) -> bool:
        """True once a stop string was met."""
        return self.met is not None

    def push(self, text: str) -> tuple[str, bool]:
        """(text that may be shown, whether a stop has been met). What may begin a stop is held back."""
        if self.stopped:
            return "", True
        text = self._held + text
        met = [(start + len(stop), start, stop) for stop in self._stops if (start := text.find(stop)) >= 0]
        if met:
            _, start, self.met = min(met)
            self._held = ""
            return text[:start], True
        keep = len(text) - self._possible_start(text)
        self._held = text[keep:]
        return text[:keep], False

    def finish(self) -> str:
        """What was held back and turned out to be no stop."""
        left, self._held = self._held, ""
        return left

    def _possible_start(self, text: str) -> int:
        """Length of the longest end of text that begins some stop."""
        longest = 0
        for stop in self._stops:
            for size in range(min(len(stop) - 1, len(text)), longest, -1):
                if text.endswith(stop[:size]):
                    longest = size
                    break
        return longest
