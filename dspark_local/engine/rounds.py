"""A round: draft for everybody who wants it, schedule, verify all in one pass, let each answer accept its own.

Tokens of all answers run flattened in the same two passes. Each answer's result is what it would be alone; only time
is shared.
"""

from __future__ import annotations

from collections.abc import Sequence

from dspark_local.engine.ahead import AheadOfTime
from dspark_local.engine.decoding import Decoding, PassCost
from dspark_local.engine.meter import Clock
from dspark_local.engine.prefix_schedule import PrefixScheduler
from dspark_local.engine.scheduling import JointScheduler, schedule_jointly, verify_length
from dspark_local.engine.session import draft_together, verify_together
from dspark_local.engine.step_costs import StepCosts
from dspark_local.engine.task import Step


class Rounds:
    """Plays rounds of any answers that share a target. costs None: nothing is learned, shared passes have no budget.

    With `ahead` the width of a shared pass is fixed two passes before (see AheadOfTime).
    """

    def __init__(self, costs: StepCosts | None, clock: Clock, *, ahead: bool = False) -> None:
        self.costs = costs
        self.clock = clock
        self._ahead = AheadOfTime() if ahead else None

    def play(self, decodings: Sequence[Decoding]) -> list[Step]:
        """One round of every answer given."""
        began = self.clock()
        drafting = [decoding for decoding in decodings if decoding.choose_source() == "draft"]
        if drafting:
            requests = [(d.session, d.anchor, d.draft_sampler(), d.draft_slots) for d in drafting]
            for decoding, block in zip(drafting, draft_together(requests), strict=True):
                decoding.take_block(block)
        drafted = self.clock()

        lengths = self._schedule(decodings)
        runs = [
            (decoding.session, [decoding.anchor, *decoding.proposal.ids[:length]])
            for decoding, length in zip(decodings, lengths, strict=True)
        ]
        logits = verify_together(runs)
        kept = [d.conclude(rows, length) for d, rows, length in zip(decodings, logits, lengths, strict=True)]
        ended = self.clock()

        cost = PassCost(drafted - began, ended - drafted, sum(lengths) + len(lengths), len(lengths))
        self._learn(cost, slots=sum(d.proposal.own for d in drafting), context=decodings[0].session.length)
        return [d.report(k, length, cost) for d, k, length in zip(decodings, kept, lengths, strict=True)]

    def _schedule(self, decodings: Sequence[Decoding]) -> list[int]:
        """How many drafts of each answer to verify: each by its own rule, or those that weigh costs together."""
        alone = [
            verify_length(d.task.scheduler, d.proposal.confidences, d.draft_limit)
            if len(decodings) == 1 or not d.task.scheduler.weighs_costs
            else 0
            for d in decodings
        ]
        together = [i for i, d in enumerate(decodings) if len(decodings) > 1 and d.task.scheduler.weighs_costs]
        if self.costs is None or not together:
            return alone
        context = max(decoding.session.length for decoding in decodings)
        # What this draft pass took is not asked: it may depend on what was drafted, and admission must not.
        slots = sum(decoding.proposal.own for decoding in decodings)
        draft_seconds = self.costs.draft_seconds(slots, context=context) if slots else 0.0
        prefixes = PrefixScheduler(self.costs, sequences=len(decodings), context=context, draft_seconds=draft_seconds)
        blocks = [decodings[i].proposal.confidences for i in together]
        limits = [decodings[i].draft_limit for i in together]
        rows = len(decodings) + sum(alone)
        scheduler: JointScheduler = prefixes
        if self._ahead is not None:
            self._ahead.begin()
            scheduler = self._ahead
        admitted = schedule_jointly(scheduler, blocks, limits, rows=rows, tokens=float(rows))
        if self._ahead is not None:
            self._ahead.plan(blocks, prefixes, rows)
        for i, length in zip(together, admitted, strict=True):
            alone[i] = length
        return alone

    def _learn(self, cost: PassCost, *, slots: int, context: int) -> None:
        if self.costs is None:
            return
        self.costs.note_verify(cost.rows, cost.verify_seconds, sequences=cost.sequences, context=context)
        if slots:
            self.costs.note_draft(slots, cost.draft_seconds, context=context)
