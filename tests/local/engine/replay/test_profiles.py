"""The golden profiles are complete, ordered as physics orders them, and say which computers they stand for."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from tests.local.engine.replay.profiles import offload_profiles, profile_of
from tests.local.engine.replay.traces import BLOCK, MEAN_ACCEPTANCE


def test_there_are_eight_computers_with_two_engines_and_three_workloads() -> None:
    profiles = offload_profiles()
    assert len({(profile.name, profile.engine, profile.workload) for profile in profiles}) == len(profiles) == 8 * 2 * 3
    assert {profile.engine for profile in profiles} == {"baseline", "target"}
    assert {profile.workload for profile in profiles} == set(MEAN_ACCEPTANCE)


def test_every_row_costs_and_no_row_costs_more_than_a_plain_token() -> None:
    for profile in offload_profiles():
        assert len(profile.verify_ms) == BLOCK + 1
        rows = [later - earlier for earlier, later in pairwise(profile.verify_ms)]
        assert min(rows) > 0, profile
        assert max(rows) < profile.plain_ms, profile


def test_the_first_row_costs_a_plain_token_and_the_room_the_draft_takes() -> None:
    for profile in offload_profiles():
        assert profile.plain_ms < profile.verify_ms[0] < 1.12 * profile.plain_ms, profile


def test_a_draft_is_cheap_beside_a_token_but_not_free() -> None:
    for profile in offload_profiles():
        assert 0.1 < profile.draft_ms / profile.plain_ms < 0.22, profile


def test_noise_of_a_pass_is_between_three_and_twenty_percent() -> None:
    assert all(0.03 < profile.step_cv < 0.2 for profile in offload_profiles())


def test_the_target_engine_decodes_faster_on_every_computer() -> None:
    plain_ms = {(profile.name, profile.engine): profile.plain_ms for profile in offload_profiles()}
    for (name, engine), ms in plain_ms.items():
        if engine == "target":
            assert 1.3 < plain_ms[name, "baseline"] / ms < 1.8, name


def test_five_computers_are_offloaded_desktops() -> None:
    desktops = Counter(profile.name.split(" GB")[0] for profile in offload_profiles() if profile.is_offloaded_desktop)
    assert desktops == dict.fromkeys(["RTX 3060 12", "RTX 3090 24", "RTX 4090 24", "RTX 5090 32", "RTX 2080 Ti 11"], 6)
    assert not profile_of("RTX 5090 32 GB, EPYC", "baseline", "chat").is_offloaded_desktop


def test_an_ambiguous_or_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="2 profiles for 'RTX 5090'"):
        profile_of("RTX 5090", "baseline", "chat")
    with pytest.raises(ValueError, match="0 profiles for 'GTX'"):
        profile_of("GTX", "baseline", "chat")
