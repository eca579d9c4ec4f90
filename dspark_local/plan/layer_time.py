"""Seconds of one block of layers in one pass, given how many experts it finds where.

A layer takes its dense weights and launches, then the longest of: hits read on the card, misses copied and computed by
the CPU side by side, reads from disk. Misses are whole experts, so the expectation is taken over their numbers, not of
their mean: the longer of two things is longer on average than the longer of two averages.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from dspark_local.plan.engine_traits import EngineTraits
from dspark_local.plan.machine import Machine
from dspark_local.plan.model_facts import Experts

_NEGLIGIBLE = 1e-4


@dataclass(frozen=True, slots=True)
class Uses:
    """Different experts of one block that a pass uses, on average: in all, not on the card, and of these on disk."""

    distinct: float
    misses: float
    from_disk: float


@dataclass(frozen=True, slots=True)
class ExpertRates:
    """Seconds for one expert: on the card, copied or computed alone, copied and computed side by side, from disk."""

    hit: float
    copy: float
    copy_shared: float
    compute: float
    compute_shared: float
    read: float

    @classmethod
    def of(
        cls, experts: Experts, machine: Machine, traits: EngineTraits, *, tokens_each: float, scale: float = 1.0
    ) -> ExpertRates:
        """tokens_each is how many of the pass's tokens an expert serves on average; scale shrinks its bytes."""
        nbytes = scale * experts.nbytes
        arithmetic = tokens_each * 2 * experts.values / machine.cpu_flops
        compute = max(nbytes / (traits.cpu_efficiency * machine.ram_rate), arithmetic)
        read = nbytes / machine.disk_rate
        if machine.card is None:
            return cls(0.0, math.inf, math.inf, compute, compute, read)
        link = machine.card.link_rate
        # Copies keep most of their rate beside the CPU's reads; the CPU gets what RAM has left.
        together = max(traits.overlapped * machine.ram_rate, link)
        link_shared = min(0.92 * link, 0.85 * together)
        cpu_shared = max(together - link_shared, 0.5e9)
        return cls(
            hit=nbytes / (traits.expert_efficiency * machine.card.memory_rate),
            copy=nbytes / link,
            copy_shared=nbytes / link_shared,
            compute=compute,
            compute_shared=max(nbytes / cpu_shared, arithmetic),
            read=read,
        )


def expert_seconds(uses: Uses, rates: ExpertRates, traits: EngineTraits, fixed: float) -> float:
    """Expected seconds that the experts of one layer add to its `fixed` ones."""
    total = 0.0
    for from_disk, from_ram, weight in _splits(uses):
        copied_early = 0.0
        if math.isfinite(rates.copy):
            copied_early = min(traits.look_ahead * from_ram, traits.look_ahead * fixed / rates.copy)
        missing = from_ram - copied_early
        shared, copied = _split_misses(missing, rates)
        hits = max(uses.distinct - from_disk - from_ram, 0.0) + copied_early
        routed = max((hits + min(copied, 1.0)) * rates.hit, shared)
        if missing > 0.05 and math.isfinite(rates.copy):
            routed += traits.handoff
        disk = from_disk * rates.read
        disk -= min(traits.look_ahead * disk, fixed + routed)
        total += weight * max(routed, disk + (rates.compute if from_disk else 0.0))
    return total


def _split_misses(missing: float, rates: ExpertRates) -> tuple[float, float]:
    """(seconds, experts copied) of the fastest division of `missing` experts between copies and the CPU."""
    if missing <= 0:
        return 0.0, 0.0
    options = [(missing * rates.compute, 0.0)]
    if math.isfinite(rates.copy):
        options.append((missing * rates.copy, missing))
        even = missing * rates.compute_shared / (rates.compute_shared + rates.copy_shared)
        for copied in (math.floor(even), math.ceil(even)):
            if 0 < copied <= missing:
                seconds = max(copied * rates.copy_shared, (missing - copied) * rates.compute_shared)
                options.append((seconds, float(copied)))
    return min(options)


def _splits(uses: Uses) -> Iterator[tuple[int, int, float]]:
    """(from disk, from RAM, probability): each of the distinct experts falls to its place independently."""
    count = max(round(uses.distinct), 1)
    miss = min(uses.misses / uses.distinct, 1.0) if uses.distinct else 0.0
    disk = min(uses.from_disk / uses.misses, 1.0) if uses.misses else 0.0
    for missing in range(count + 1):
        chance = _binomial(count, missing, miss)
        if chance < _NEGLIGIBLE:
            continue
        for from_disk in range(missing + 1):
            weight = chance * _binomial(missing, from_disk, disk)
            if weight >= _NEGLIGIBLE / 10:
                yield from_disk, missing - from_disk, weight


def _binomial(count: int, hits: int, chance: float) -> float:
    return float(math.comb(count, hits) * chance**hits * (1 - chance) ** (count - hits))
