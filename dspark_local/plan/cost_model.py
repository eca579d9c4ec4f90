"""Tokens a second that a placement allows, in closed form: a rough figure before anything is downloaded.

Time of a pass = layers x (dense bytes over the card's bandwidth + launches + experts) + host work. A round of
speculation drafts a block and verifies some of it; what that gains is the tokens kept against the time it adds. The
engine's gate drops speculation where it does not pay, so the speculated figure is never below the plain one.
"""

from __future__ import annotations

from dataclasses import dataclass

from dspark_local.plan.acceptance import WORKLOADS, Workload, scheduling_gain, tokens_a_round
from dspark_local.plan.engine_traits import BASELINE, EngineTraits
from dspark_local.plan.expert_locality import hit_rate, miss_growth, reach, union
from dspark_local.plan.layer_time import ExpertRates, Uses, expert_seconds
from dspark_local.plan.machine import Machine
from dspark_local.plan.model_facts import DraftFacts, Experts, ModelFacts
from dspark_local.plan.placement import Placement, place

UNCERTAINTY = 0.35
CALIBRATED_UNCERTAINTY = 0.20
CALIBRATED_RAM_RATE = 120e9
"""Servers with eight memory channels: the kind of host that the constants were calibrated on."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Tokens a second of one kind of text. drafts is how many a round verifies at best, 0 where speculation is off."""

    workload: Workload
    plain: float
    speculated: float
    drafts: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """uncertainty is relative, both ways; hit_rate is of expert uses served on the card, 1.0 without experts.

    disk_reads are experts read from disk for one plain token.
    """

    speeds: tuple[Speed, ...]
    uncertainty: float
    hit_rate: float
    disk_reads: float

    def of(self, workload: Workload) -> Speed:
        """The figures of one kind of text."""
        return next(speed for speed in self.speeds if speed.workload == workload)

    @property
    def plain(self) -> float:
        """Tokens a second without drafts, alike for all texts."""
        return self.speeds[0].plain


def estimate(facts: ModelFacts, machine: Machine, context: int, *, traits: EngineTraits = BASELINE) -> Estimate:
    """The expected speed at a context that is half full, experts in steady state."""
    plain_facts = facts.without_draft()
    plain = _Passes(plain_facts, machine, place(plain_facts, machine, context), context, traits)
    plain_rate = 1 / plain.verify(1, is_plain=True)
    draft = facts.draft
    speeds = []
    if draft is not None:
        passes = _Passes(facts, machine, place(facts, machine, context), context, traits)
        drafting = passes.draft(draft)
        rounds = [drafting + passes.verify(1 + drafts) for drafts in range(1, draft.block_size + 1)]
    for workload in WORKLOADS:
        best, drafts = plain_rate, 0
        if draft is not None:
            is_mtp = draft.kind == "mtp"
            for count, seconds in enumerate(rounds, start=1):
                rate = scheduling_gain(workload) * tokens_a_round(workload, count, is_mtp=is_mtp) / seconds
                if rate > best:
                    best, drafts = rate, count
        speeds.append(Speed(workload, plain_rate, best, drafts))
    is_calibrated = machine.card is not None and machine.ram_rate >= CALIBRATED_RAM_RATE and not machine.assumed
    return Estimate(
        speeds=tuple(speeds),
        uncertainty=CALIBRATED_UNCERTAINTY if is_calibrated else UNCERTAINTY,
        hit_rate=plain.hit_rate,
        disk_reads=facts.layers * plain.uses(1, is_plain=True).from_disk if facts.experts else 0.0,
    )


class _Passes:
    """Times of passes of one placement."""

    def __init__(
        self, facts: ModelFacts, machine: Machine, placement: Placement, context: int, traits: EngineTraits
    ) -> None:
        self.facts = facts
        self.machine = machine
        self.placement = placement
        self.traits = traits
        self.cache_read = facts.read_per_context_token * context / 2
        self.hit_rate = 1.0 if facts.experts is None else self._hits(facts.experts)

    def _hits(self, experts: Experts) -> float:
        if self.machine.card is None:
            return 0.0
        return hit_rate(self.traits.policy, self.placement.card_slots_per_block, experts)

    def _disk_share(self, experts: Experts) -> float:
        """Share of the misses that RAM does not hold either."""
        if not self.placement.disk_slots or self.hit_rate >= 1.0:
            return 0.0
        beyond = 1 - reach(self.placement.fast_slots_per_block, experts)
        return min(max(beyond, 0.0) / (1 - self.hit_rate), 1.0)

    def uses(self, tokens: int, *, is_plain: bool = False) -> Uses:
        """Experts of one target layer in a pass over `tokens` tokens."""
        experts = self.facts.experts
        assert experts is not None, "a dense model uses no experts"
        distinct = union(tokens, experts)
        misses = experts.per_token * (1 - self.hit_rate)
        if not is_plain:
            misses *= miss_growth(self.traits.policy, tokens)
        misses = min(misses, distinct)
        return Uses(distinct, misses, misses * self._disk_share(experts))

    def verify(self, tokens: int, *, is_plain: bool = False) -> float:
        """Seconds of the target's pass over `tokens` tokens."""
        facts = self.facts
        fixed = self._dense(facts.dense_bytes + facts.head_bytes + tokens * self.cache_read, tokens) / facts.layers
        fixed += self._launch(facts.experts, tokens)
        seconds = fixed
        if facts.experts is not None:
            uses = self.uses(tokens, is_plain=is_plain)
            seconds += self._experts(facts.experts, uses, tokens, fixed)
        return facts.layers * seconds + self.traits.step

    def draft(self, draft: DraftFacts) -> float:
        """Seconds of drafting one whole block."""
        rows = draft.block_size // draft.passes
        fixed = self._dense(draft.dense_bytes + self.facts.head_bytes, rows) / draft.layers
        fixed += self._launch(draft.experts, rows)
        seconds = fixed
        if draft.experts is not None:
            distinct = union(rows, draft.experts)
            misses = distinct * (1 - self.hit_rate)
            uses = Uses(distinct, misses, misses * self._disk_share(draft.experts))
            seconds += self._experts(draft.experts, uses, rows, fixed, self.traits.draft_expert_scale)
        chain = self._dense(draft.per_draft_bytes, 1) + self.traits.markov
        return draft.passes * draft.layers * seconds + draft.block_size * chain

    def _experts(self, experts: Experts, uses: Uses, tokens: int, fixed: float, scale: float = 1.0) -> float:
        each = tokens * experts.per_token / uses.distinct
        rates = ExpertRates.of(experts, self.machine, self.traits, tokens_each=each, scale=scale)
        return expert_seconds(uses, rates, self.traits, fixed)

    def _dense(self, nbytes: float, tokens: int) -> float:
        """Seconds to read weights once; a CPU may take longer to compute with them."""
        card = self.machine.card
        if card is not None:
            return nbytes / (self.traits.dense_efficiency * card.memory_rate)
        reading = nbytes / (self.traits.cpu_efficiency * self.machine.ram_rate)
        values = nbytes * 8 / self.facts.dense_bits
        return max(reading, tokens * 2 * values / self.machine.cpu_flops)

    def _launch(self, experts: Experts | None, tokens: int) -> float:
        if self.machine.card is None:
            return self.traits.cpu_launch
        return (self.traits.launch if experts else self.traits.dense_launch) + tokens * self.traits.row
