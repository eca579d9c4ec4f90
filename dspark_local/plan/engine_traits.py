"""What an engine makes of a computer: the constants of the cost model that are the software's.

Two engines are described. BASELINE is calibrated on a published measurement (FreeToken, RTX 5090, EPYC with 8 memory
channels: 24.5-26.9 tokens/s; the model gives 27.4 at its number of slots). TUNED is the same with launches gathered in
graphs, a cheap hand-off to the CPU, a cache that counts accepted tokens, look-ahead at 75 % recall, and draft experts
in 2 bit: what a very good engine can reach.
"""

from __future__ import annotations

from dataclasses import dataclass

from dspark_local.plan.expert_locality import CachePolicy

ENGINE_NOTE = (
    "The speeds are those of an engine with expert tiers and fused kernels. This release computes in plain torch and "
    "is slower."
)
NO_ENGINE_NOTE = "This version fetches this model, but has no engine that runs it yet."


@dataclass(frozen=True, slots=True)
class EngineTraits:
    """Seconds and shares.

    launch          starting one layer's kernels with routed experts; dense_launch without
    handoff         waiting for the CPU's part of a layer, once where an expert is missing
    step            host work of one pass
    row             what each further row adds to a layer
    markov          choosing one draft
    dense_efficiency, expert_efficiency   of the card's bandwidth that reading dense weights and experts reaches
    cpu_efficiency  of RAM's bandwidth that the CPU's expert product reaches alone
    overlapped      of RAM's bandwidth that CPU and copies reach together
    cpu_launch      one layer on the CPU
    look_ahead      share of misses foreseen early enough to be copied behind other work
    draft_expert_scale  bytes of a draft expert that are read, of those stored
    """

    name: str
    policy: CachePolicy
    launch: float
    handoff: float
    look_ahead: float = 0.0
    draft_expert_scale: float = 1.0
    dense_launch: float = 60e-6
    step: float = 0.5e-3
    row: float = 2e-6
    markov: float = 25e-6
    cpu_launch: float = 20e-6
    dense_efficiency: float = 0.75
    expert_efficiency: float = 0.60
    cpu_efficiency: float = 0.755
    overlapped: float = 0.818


BASELINE = EngineTraits("baseline", "recent", launch=180e-6, handoff=180e-6)
TUNED = EngineTraits(
    "tuned",
    "frequent",
    launch=72e-6,
    handoff=45e-6,
    look_ahead=0.75,
    draft_expert_scale=0.52,
    dense_launch=24e-6,
)
