"""`auto`: speculation that is scheduled by measured cost and stops where it does not pay. One instance a conversation.

A round goes like this. The gate of each source says whether it may draft. A source that is sure to lose (even a perfect
block would not earn its rows) or likely to (foresight) is left alone before it costs anything; of the rest the more
valuable one drafts. Then every draft is admitted by the long-run rate, slot by slot. Afterwards all of it learns from
what the round took and brought.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import prod
from operator import mul

from dspark_local.engine.ahead import WidthAhead
from dspark_local.engine.block_length import BlockLength
from dspark_local.engine.foresight import Foresight
from dspark_local.engine.gate import Allowance, Gate
from dspark_local.engine.honesty import Honesty
from dspark_local.engine.marginal_rate import LongRunRate, SlotMeans, admits, best_prefix, prefix_value
from dspark_local.engine.scheduling import RoundOutcome, Scheduler
from dspark_local.engine.step_costs import StepCosts
from dspark_local.events import DraftSource, SpeculationState

_LEAST_PROBE_LOSS = 0.02
"""Of a plain round: no probe is free, or a source that breaks even would be probed without end."""

_RECENT_ROUNDS = 12
"""What the user is shown as the present number of drafts is the mean of about so many rounds."""

_ROUNDS_TO_TELL = 12
"""Fewer drafted rounds give a gain that may be off by half; the user is told none."""

_LEAST_VERIFIED = 0.2
"""Mean drafts a round under which speculation is as good as paused: what probes alone verify."""


class Adaptive(Scheduler):
    """Schedules by `costs`, which whoever runs the rounds keeps true. block_size 0: no draft, only lookup.

    With `ahead` the number of drafts verified comes from earlier blocks (see WidthAhead), so that a pass can be
    launched before its own block's confidences are known.
    """

    uses_lookup = True
    weighs_costs = True

    def __init__(self, costs: StepCosts, block_size: int, *, ahead: bool = False) -> None:
        self.costs = costs
        self.block_size = block_size
        self._context = 0
        # Copying a text is another regime than writing one: what a token is worth in time differs, so each has its own.
        self._rates: dict[DraftSource, LongRunRate] = {source: LongRunRate() for source in ("draft", "lookup")}
        self._allowance = Allowance()
        self._gates: dict[DraftSource, Gate] = {"draft": Gate(), "lookup": Gate()}
        self._honesty: dict[DraftSource, Honesty] = {"draft": Honesty(), "lookup": Honesty()}
        self._means: dict[DraftSource, SlotMeans] = {"draft": SlotMeans(), "lookup": SlotMeans()}
        # Until blocks have been seen, drafting is taken to be worth twice what it costs.
        self._length = BlockLength(block_size)
        self._foresight = Foresight(2.0 * self._draft_seconds() / costs.verify_seconds(1))
        self._source: DraftSource = "none"
        self._is_probe = False
        self._width = WidthAhead(block_size) if ahead else None
        self._verified = 0.0
        self._rounds = 0

    def rate(self, source: DraftSource = "draft") -> float:
        """Tokens a second in the long run: of rounds that copy, or of all others."""
        return self._rates["lookup" if source == "lookup" else "draft"].tokens_per_second(self._row_seconds(1))

    def _row_seconds(self, rows: int) -> float:
        return self.costs.verify_seconds(rows, context=self._context)

    def _draft_seconds(self) -> float:
        return self.costs.draft_seconds(self._length.current, context=self._context) if self.block_size else 0.0

    def draft_slots(self, block_size: int) -> int:
        """See Scheduler: longer blocks while confidence stays high. With `ahead`, always the draft's own size."""
        return self._length.current if self._width is None else block_size

    def choose_source(self, lookup: Sequence[float], context: int) -> DraftSource:
        """See Scheduler."""
        self._context = context
        self._is_probe = False
        values = {source: self._expected_value(source, lookup) for source in self._gates}
        best = max(values, key=lambda name: values[name])
        self._source = best if values[best] > 0.0 else "none"
        if self._source != "none":
            loss = self._gates[self._source].plain_probe_loss
            if loss is not None and self._allowance.pay(loss):
                self._source = "none"
        elif lookup and not self._gates["lookup"].is_open and self._allowance.pay(self._lookup_probe_loss()):
            self._source = "lookup"
        elif self.block_size and self._allowance.pay(self._draft_probe_loss()):
            self._source, self._is_probe = "draft", self._cannot_pay()
        return self._source

    def _expected_value(self, source: DraftSource, lookup: Sequence[float]) -> float:
        """Tokens beyond plain decoding that drafting from a source is expected to bring, its own cost deducted."""
        if not self._gates[source].is_open:
            return 0.0
        if source == "lookup":
            trust = self._honesty["lookup"].trust
            return best_prefix(lookup, rate=self.rate(), seconds=self._row_seconds, trust=trust)[0]
        if not self.block_size or self._cannot_pay():
            return 0.0
        return self._foresight.expected() - self.rate() * self._draft_seconds()

    def _cannot_pay(self) -> bool:
        """Whether even a block that is kept whole would lose against plain decoding."""
        plain, draft = self._row_seconds(1), self._draft_seconds()
        perfect, _ = best_prefix([1.0] * self._length.current, rate=1.0 / plain, seconds=self._row_seconds)
        return perfect * plain <= draft

    def _draft_probe_loss(self) -> float:
        """Plain rounds' worth that drafting a block and verifying at least its first token is expected to lose."""
        plain = self._row_seconds(1)
        draft = self._draft_seconds()
        row = self._row_seconds(2) - plain
        foreseen = draft - self._foresight.expected() / self.rate()
        if self._cannot_pay():  # then nothing of a block would be verified of its own accord
            foreseen = draft + row - self._means["draft"].first * plain
        return max(foreseen / plain, self._gates["draft"].draft_probe_loss, _LEAST_PROBE_LOSS)

    def _lookup_probe_loss(self) -> float:
        return max(self._gates["lookup"].draft_probe_loss, _LEAST_PROBE_LOSS)

    def admits(self, confidences: Sequence[float]) -> bool:
        """See Scheduler. A probe verifies its first draft whatever is said of it, so that the curve stays true."""
        if self._is_probe and len(confidences) == 1:
            return True
        if self._width is not None and self._source == "draft":
            return len(confidences) <= self._width.current
        if self._source == "none":
            return False
        later, trust = self._means[self._source].after(len(confidences) - 1), self._honesty[self._source].trust
        return admits(confidences, later, rate=self.rate(self._source), seconds=self._row_seconds, trust=trust)

    def observe(self, outcome: RoundOutcome) -> None:
        """See Scheduler."""
        self._context = outcome.context
        cost = (outcome.draft_seconds + outcome.verify_seconds) / self._row_seconds(1)
        self._rounds += 1
        self._verified += (outcome.verified - self._verified) / min(self._rounds, _RECENT_ROUNDS)
        admitted = outcome.confidences[: outcome.verified]
        if admitted:
            self._honesty[outcome.source].note(sum(accumulate(admitted, mul)), outcome.accepted)
        if outcome.source == "draft":
            trust = self._honesty["draft"].trust
            if self._width is not None:
                self._width.note_block(outcome.confidences, rate=self.rate(), seconds=self._row_seconds)
                admitted = outcome.confidences[: self._width.latest]  # what a block is worth from here on
            value = prefix_value(admitted, rate=self.rate(), seconds=self._row_seconds, trust=trust)
            self._length.note_block(outcome.own, outcome.accepted, pays=self._longer_pays(outcome, trust))
            self._foresight.note_block(outcome.confidences, outcome.tokens, agreed=outcome.agreed, value=value)
        else:
            self._foresight.note_plain(outcome.tokens)
        if outcome.source != "none":
            self._means[outcome.source].note(outcome.confidences)
        if outcome.sequences == 1:  # a shared pass says nothing of what this conversation alone would take
            self._rates["lookup" if outcome.source == "lookup" else "draft"].note(outcome.tokens, cost)
            self._allowance.earn(cost)
            for source, gate in self._gates.items():
                if source == outcome.source:
                    gate.note_drafted(outcome.tokens, cost)
                elif outcome.source == "none":
                    gate.note_plain()

    def _longer_pays(self, outcome: RoundOutcome, trust: float) -> bool:
        """Whether one more slot would have been worth drafting and verifying, had it been as sure as the last."""
        own = outcome.confidences[: outcome.own]
        slots = len(own)
        drafting = self.costs.draft_seconds(slots + 1, context=self._context) - self._draft_seconds()
        verifying = self._row_seconds(slots + 2) - self._row_seconds(slots + 1)
        return trust * prod(own) * own[-1] > self.rate() * (max(drafting, 0.0) + verifying)

    @property
    def state(self) -> SpeculationState:
        """See Scheduler. Where drafts cannot pay, the gain is what a perfect first draft would make of it."""
        gate = max(self._gates.values(), key=lambda gate: gate.rounds)
        gain = gate.last_gain if gate.rounds >= _ROUNDS_TO_TELL or not gate.is_open else None
        is_on = self._verified >= _LEAST_VERIFIED
        if self.block_size and not is_on and self._cannot_pay():
            drafted = self._draft_seconds() + self._row_seconds(2)
            gain = 2.0 * self._row_seconds(1) / drafted - 1.0
        return SpeculationState("on" if is_on else "paused", self._verified, self.block_size, gain)
