"""A round: draft for everybody who wants it, schedule, verify all in one pass, let each answer accept its own.

Tokens of all answers run flattened in the same two passes. Each answer's result is what it would be alone; only time
is shared.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

from torch import Tensor

from dspark_local.engine.ahead import AheadOfTime
from dspark_local.engine.decoding import Decoding, PassCost
from dspark_local.engine.meter import Clock
from dspark_local.engine.prefix_schedule import PrefixScheduler
from dspark_local.engine.scheduling import JointScheduler, schedule_jointly, verify_length
from dspark_local.engine.session import draft_together, verify_together
from dspark_local.engine.step_costs import StepCosts
from dspark_local.engine.task import Step

_LOG = logging.getLogger(__name__)
_Result = TypeVar("_Result")


class _Passed(NamedTuple):
    """A verify pass before anybody accepted: logits of each answer, drafts verified, and how long drafting took.

    drafted is when drafting ended, slots how many drafts were asked for in all.
    """

    logits: list[Tensor]
    lengths: list[int]
    draft_seconds: float
    drafted: float
    slots: int


class Rounds:
    """Plays rounds of any answers that share a target. costs None: nothing is learned, shared passes have no budget.

    With `ahead` the width of a shared pass is fixed two passes before (see AheadOfTime).
    """

    def __init__(self, costs: StepCosts | None, clock: Clock, *, ahead: bool = False) -> None:
        self.costs = costs
        self.clock = clock
        self._ahead = AheadOfTime() if ahead else None

    def play(self, decodings: Sequence[Decoding]) -> list[Step | Exception]:
        """One round of every answer given; where one failed, what it failed with, and its session is spoilt.

        When a shared pass fails, each answer has a pass of its own, so that only the one at fault is lost.
        """
        try:
            passed = self._pass(decodings)
        except Exception as error:  # noqa: BLE001 - handed to whoever asked for the answer
            if len(decodings) == 1:
                return [error]
            _LOG.warning("A pass of %d answers failed (%s); each now runs alone.", len(decodings), error)
            return [outcome for decoding in decodings for outcome in self.play([decoding])]
        kept = [
            attempt(partial(decoding.conclude, rows, length))
            for decoding, rows, length in zip(decodings, passed.logits, passed.lengths, strict=True)
        ]
        ended = self.clock()
        lengths = passed.lengths
        cost = PassCost(passed.draft_seconds, ended - passed.drafted, sum(lengths) + len(lengths), len(lengths))
        self._learn(cost, slots=passed.slots, context=decodings[0].session.length)
        return [
            tokens if isinstance(tokens, Exception) else attempt(partial(decoding.report, tokens, length, cost))
            for decoding, tokens, length in zip(decodings, kept, lengths, strict=True)
        ]

    def _pass(self, decodings: Sequence[Decoding]) -> _Passed:
        """Draft and verify; nothing is decided yet."""
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
        return _Passed(logits, lengths, drafted - began, drafted, sum(d.proposal.own for d in drafting))

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


def attempt(work: Callable[[], _Result]) -> _Result | Exception:
    """What the work of one answer comes to, or what it failed with: the other answers of the pass go on."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001 - the caller tells whoever asked for the answer
        return error
