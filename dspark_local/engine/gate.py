"""The honest gate: drafts from a source run only while measured rounds say that they make this conversation faster.

It compares two measured quantities: seconds per token of rounds that drafted, and seconds of a round that did not,
which decides exactly one token. Every drafted round is compared with what a plain one takes at that time, so a machine
that gets faster or slower on the way changes nothing.

Open, an occasional plain round keeps the comparison alive. Closed, an occasional drafted round asks whether it would
pay by now. What such probes are expected to lose is paid from an allowance, a small share of all time spent so far.
Two thresholds, and ever more rounds asked for after every closing, keep it from flapping. Utility-driven speculation
of this kind: Cascade (MoE serving, 2025).
"""

from __future__ import annotations

import math

PROBE_SHARE = 0.005
CLOSE_BELOW = -0.01
OPEN_ABOVE = 0.02
LEAST_ROUNDS = 8
"""Drafted rounds behind a judgement."""

_MOST_ROUNDS = 400
_FORGET = 1.0 / 64.0
_STALE_PLAIN_ROUNDS = 24


class Allowance:
    """Seconds that probes may lose: PROBE_SHARE of the time spent, the probes' own included."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def earn(self, seconds: float) -> None:
        """A round took `seconds`."""
        self._seconds += PROBE_SHARE * seconds

    def pay(self, loss: float) -> bool:
        """Whether a probe that is expected to lose this many seconds may run; it is then paid for."""
        if loss > self._seconds:
            return False
        self._seconds -= loss
        return True


class Gate:
    """Judges one source of drafts in one conversation. Times in, decisions out; no clock of its own.

    last_gain is the latest gain that was measured; it outlives a closing.
    """

    def __init__(self) -> None:
        self.is_open = True
        self.last_gain: float | None = None
        self._needed = LEAST_ROUNDS
        self._since_plain = 0
        self._lost = 0.0
        self._forget_everything()

    def _forget_everything(self) -> None:
        self._count = 0
        self._tokens = self._cost = self._rounds = self._squares = 0.0  # cost in plain rounds

    @property
    def rounds(self) -> float:
        """How many drafted rounds the figures rest on, older ones counting less."""
        return self._rounds

    @property
    def gain(self) -> float | None:
        """Speed of drafted rounds relative to plain ones minus 1; None before LEAST_ROUNDS of them."""
        if self._count < LEAST_ROUNDS or self._cost <= 0.0:
            return None
        return self._tokens / self._cost - 1.0

    @property
    def plain_probe_loss(self) -> float | None:
        """Plain rounds' worth that a round without drafts is expected to lose, when one is due; None when none is."""
        gain = self.gain
        if not self.is_open or gain is None or self._since_plain < _STALE_PLAIN_ROUNDS:
            return None
        return max(gain, 0.0) / (1.0 + max(gain, 0.0))

    @property
    def draft_probe_loss(self) -> float:
        """Closed: plain rounds' worth that a drafted round loses, as last measured; 0 while open."""
        return 0.0 if self.is_open else self._lost

    def note_plain(self) -> None:
        """A round of this conversation ran without drafts."""
        self._since_plain = 0

    def note_drafted(self, tokens: int, cost: float) -> None:
        """A round drafted from this source and decided `tokens`; cost is its whole time in plain rounds."""
        self._since_plain += 1
        self._count += 1
        keep = 1.0 - _FORGET
        self._tokens = keep * self._tokens + tokens
        self._squares = keep * self._squares + tokens * tokens
        self._cost = keep * self._cost + cost
        self._rounds = keep * self._rounds + 1.0
        self._judge()

    def _judge(self) -> None:
        gain = self.gain
        if gain is None:
            return
        self.last_gain = gain
        self._lost = max((self._cost - self._tokens) / self._rounds, 0.0)
        # What varies is the number of tokens a round; the doubt in the gain is its standard error. A few equal rounds
        # are no proof that there is no variation, hence some variation on top.
        mean = self._tokens / self._rounds
        variance = (max(self._squares - self._rounds * mean * mean, 0.0) + 8.0) / self._rounds
        doubt = (1.0 + gain) * math.sqrt(variance / self._rounds) / mean
        if self.is_open and gain + doubt < CLOSE_BELOW:
            self.is_open = False
            self._needed = min(3 * self._needed, _MOST_ROUNDS)
            self._forget_everything()
        elif not self.is_open and self._count >= self._needed and gain - 0.5 * doubt > OPEN_ABOVE:
            self.is_open = True
