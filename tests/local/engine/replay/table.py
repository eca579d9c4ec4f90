"""Prints how the scheduler fares on every profile: `python -m tests.local.engine.replay.table`, from the checkout."""

from __future__ import annotations

from statistics import fmean

from tests.local.engine.replay.hindsight import clairvoyant_rate, static_rate
from tests.local.engine.replay.profiles import Profile, offload_profiles
from tests.local.engine.replay.replay import replay
from tests.local.engine.replay.traces import BLOCK, acceptance_trace

TOKENS = 2_000
SEEDS = range(3)


def line(profile: Profile) -> str:
    """Rates relative to plain decoding, means of the traces, and how often it drafted."""
    rows = []
    for seed in SEEDS:
        trace = acceptance_trace(profile.workload, TOKENS + BLOCK, seed)
        static = [static_rate(profile, trace, drafts, TOKENS) for drafts in range(BLOCK + 1)]
        auto, ahead = replay(profile, trace, TOKENS, seed), replay(profile, trace, TOKENS, seed, ahead=True)
        bound = clairvoyant_rate(profile, trace, TOKENS)
        rows.append([*static[1:], auto.rate, ahead.rate, bound, auto.drafted * static[0], auto.verified * static[0]])
    plain = 1000 / profile.plain_ms
    *fixed, auto_rate, ahead_rate, bound, drafted, verified = (
        fmean(row[i] for row in rows) / plain for i in range(len(rows[0]))
    )
    best = max(range(BLOCK), key=fixed.__getitem__)
    return (
        f"{profile.name:44} {profile.engine:8} {profile.workload}  always-5 {fixed[-1]:.2f}  "
        f"best fixed {fixed[best]:.2f} (k={best + 1})  auto {auto_rate:.2f}  ahead {ahead_rate:.2f}  "
        f"bound {bound:.2f}  drafted {drafted:.0%}, {verified:.1f} verified"
    )


if __name__ == "__main__":
    for one in offload_profiles():
        print(line(one), flush=True)
