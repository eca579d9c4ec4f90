"""Drafts found in the text."""

from __future__ import annotations

import random

import pytest

from dspark_local.engine.prompt_lookup import KEY_LENGTH, LookupIndex, LookupTrust


def test_what_followed_the_same_tokens_before_is_proposed() -> None:
    index = LookupIndex([1, 2, 3, 4, 5, 6, 7, 9, 1, 2, 3])
    assert index.find() == ([4, 5, 6, 7, 9, 1, 2, 3], 3)
    assert index.find(limit=2) == ([4, 5], 3)


def test_the_longest_match_wins_and_of_equals_the_latest() -> None:
    assert LookupIndex([8, 1, 2, 3, 50, 7, 1, 2, 3, 60, 8, 1, 2, 3]).find(limit=1) == ([50], 4)
    assert LookupIndex([5, 1, 2, 3, 50, 6, 1, 2, 3, 60, 7, 1, 2, 3]).find(limit=1) == ([60], 3)


def test_nothing_is_proposed_without_a_match_or_room() -> None:
    assert LookupIndex([1, 2, 3, 4, 5]).find().ids == []
    assert LookupIndex([1, 2]).find().ids == []
    assert LookupIndex().find().ids == []
    assert LookupIndex([1, 2, 3, 4, 1, 2, 3]).find(limit=0).ids == []


def test_tokens_drafted_ahead_are_part_of_what_is_matched() -> None:
    index = LookupIndex([1, 2, 3, 4, 5, 6, 9, 9, 1])
    assert index.find([2, 3]) == ([4, 5, 6, 9, 9, 1], 3)
    assert index.find([2, 7]).ids == []


def test_a_text_that_repeats_itself_may_match_up_to_its_end() -> None:
    assert LookupIndex([4, 4, 4, 4, 4]).find(limit=1) == ([4], 4)


@pytest.mark.parametrize("seed", range(20))
def test_it_agrees_with_a_search_of_the_whole_text(seed: int) -> None:
    rng = random.Random(seed)
    text = [rng.randrange(3) for _ in range(60)]
    index = LookupIndex(text[:20])
    index.extend(text[20:])
    longest = 0
    for place in range(KEY_LENGTH, len(text)):
        length = 0
        while length < min(place, 32) and text[place - 1 - length] == text[-1 - length]:
            length += 1
        longest = max(longest, length)
    found = index.find()
    # Only the latest few places are compared, so it may miss the longest match but never invents one.
    assert bool(found.ids) == (longest >= KEY_LENGTH)
    if found.ids:
        assert found.length <= longest
        continuation = tuple(text[-found.length :] + found.ids)
        assert any(tuple(text[i : i + len(continuation)]) == continuation for i in range(len(text)))


def test_trust_grows_with_the_match_and_follows_what_happens() -> None:
    trust = LookupTrust()
    before = trust.confidences(3, 10)
    assert before == sorted(before)
    for _ in range(60):
        trust.observe(3, 5, 0)
    assert trust.confidences(3, 1)[0] < 0.1
    assert trust.confidences(30, 1) == LookupTrust().confidences(30, 1)
    for _ in range(200):
        trust.observe(30, 10, 10)
    assert trust.confidences(30, 1)[0] > 0.98


def test_trust_learns_nothing_from_tokens_that_were_never_reached() -> None:
    trust = LookupTrust()
    trust.observe(30, 10, 0)
    once = trust.confidences(30, 1)[0]
    other = LookupTrust()
    other.observe(30, 1, 0)
    assert once == other.confidences(30, 1)[0]
