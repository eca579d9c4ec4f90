"""The traces keep as many drafts as each kind of text is set to, and their confidences mean what they say."""

from __future__ import annotations

import numpy as np
import pytest

from tests.local.engine.replay.traces import BLOCK, MEAN_ACCEPTANCE, acceptance_trace

T = 20_000


@pytest.mark.parametrize(("workload", "tokens"), [("chat", 3.29), ("code", 4.55), ("math", 4.94)])
def test_a_round_of_five_drafts_gives_the_tokens_its_text_is_set_to(workload: str, tokens: float) -> None:
    # Blocks overlap, so 20,000 starts weigh like 4,000 rounds: 0.03 tokens of standard error, 1 % of chat.
    assert 1 + acceptance_trace(workload, T, seed=1).accepted.mean() == pytest.approx(tokens, rel=0.03)


@pytest.mark.parametrize("workload", MEAN_ACCEPTANCE)
def test_in_every_decile_of_confidence_that_share_of_drafts_is_kept(workload: str) -> None:
    trace = acceptance_trace(workload, T, seed=2)
    slots = np.arange(BLOCK)
    is_reached = trace.accepted[:, None] >= slots  # [T, 5]; what follows a dropped draft says nothing
    confidence = trace.confidences[is_reached]
    is_kept = (trace.accepted[:, None] > slots)[is_reached]
    for decile in np.array_split(np.argsort(confidence), 10):
        chance = confidence[decile]
        standard_error = np.sqrt((chance * (1 - chance)).sum()) / len(chance)  # of that many unequal coins
        assert is_kept[decile].mean() == pytest.approx(chance.mean(), abs=4 * standard_error)


@pytest.mark.parametrize("workload", MEAN_ACCEPTANCE)
def test_confidence_tells_kept_from_dropped_drafts_as_well_as_the_paper_reports(workload: str) -> None:
    trace = acceptance_trace(workload, T, seed=3)
    is_kept = trace.accepted > 0
    rank = np.argsort(np.argsort(trace.confidences[:, 0]))
    n_kept, n_dropped = is_kept.sum(), (~is_kept).sum()
    area = (rank[is_kept].sum() - n_kept * (n_kept - 1) / 2) / (n_kept * n_dropped)
    assert 0.81 < area < 0.92  # 0.81 to 0.91 in the paper, rounded


def test_two_blocks_that_draft_one_position_nearly_agree_on_it() -> None:
    confidences = acceptance_trace("chat", T, seed=4).confidences
    log_odds = np.log(confidences / (1 - confidences))
    disagreement = log_odds[:-1, 1] - log_odds[1:, 0]
    assert disagreement.std() == pytest.approx(0.15 * np.sqrt(2), rel=0.03)


def test_arguments_decide_a_trace_completely() -> None:
    first, again = acceptance_trace("code", 50, seed=7), acceptance_trace("code", 50, seed=7)
    np.testing.assert_array_equal(first.confidences, again.confidences)
    np.testing.assert_array_equal(first.accepted, again.accepted)
    for other in (acceptance_trace("code", 50, seed=8), acceptance_trace("math", 50, seed=7)):
        assert not np.array_equal(first.confidences, other.confidences)
