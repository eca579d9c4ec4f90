"""The acceptance rule: shapes, edges, exactness on hand-made distributions."""

from __future__ import annotations

import pytest
import torch

from dspark_local.engine.accept import accept, accept_greedy
from dspark_local.engine.sampling import draw, seeded_generator


def rows(*values: list[float]) -> torch.Tensor:
    return torch.tensor(values)


def test_greedy_keeps_the_matching_prefix_and_adds_the_targets_choice() -> None:
    assert accept_greedy([4, 5, 6, 7], [4, 5, 6]) == (3, 7)
    assert accept_greedy([4, 9, 6, 7], [4, 5, 6]) == (1, 9)
    assert accept_greedy([3, 9, 6, 7], [4, 9, 6]) == (0, 3)
    assert accept_greedy([8], []) == (0, 8)


def test_greedy_refuses_a_wrong_number_of_rows() -> None:
    with pytest.raises(ValueError, match="3 target rows, got 2"):
        accept_greedy([1, 2], [1, 2])


@pytest.mark.parametrize(
    ("target", "drafts", "ids", "message"),
    [
        (rows([0.5, 0.5]), [rows([0.5, 0.5])[0]], [0], "2 target rows"),
        (rows([0.5, 0.5], [0.5, 0.5]), [], [0], "0 distributions"),
        (rows([0.5, 0.5], [0.5, 0.5]), [torch.ones(3) / 3], [0], "shape"),
        (rows([0.5, 0.5], [0.5, 0.5]), [None], [2], "vocabulary"),
        (rows([0.5, 0.5], [0.5, 0.5]), [rows([1.0, 0.0])[0]], [1], "excludes"),
        (torch.ones(2) / 2, [], [], "target rows"),
    ],
)
def test_sampling_refuses_what_does_not_fit(
    target: torch.Tensor, drafts: list[torch.Tensor | None], ids: list[int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        accept(target, drafts, ids, seeded_generator(0))


def test_a_draft_from_the_targets_own_distribution_is_always_kept() -> None:
    generator = seeded_generator(3)
    p = torch.randn(1000, generator=generator).softmax(-1)
    for _ in range(300):
        token = draw(p, generator)
        assert accept(torch.stack([p, p]), [p.clone()], [token], generator)[0] == 1


def test_a_draft_that_the_target_excludes_is_never_kept_nor_drawn() -> None:
    generator = seeded_generator(4)
    p, q = rows([0.0, 0.5, 0.5])[0], rows([0.9, 0.1, 0.0])[0]
    for _ in range(300):
        kept, following = accept(torch.stack([p, p]), [q], [0], generator)
        assert kept == 0
        assert following in (1, 2)


def test_a_certain_draft_is_kept_as_often_as_the_target_says_it() -> None:
    generator = seeded_generator(5)
    p = rows([0.2, 0.3, 0.5])[0]
    target = torch.stack([p, p])
    outcomes = [accept(target, [None], [1], generator) for _ in range(20_000)]
    kept = sum(number for number, _ in outcomes) / len(outcomes)
    assert kept == pytest.approx(0.3, abs=0.015)
    lost = [following for number, following in outcomes if number == 0]
    assert 1 not in lost
    assert lost.count(2) / len(lost) == pytest.approx(0.5 / 0.7, abs=0.02)


def test_certain_draft_with_all_the_mass_is_kept() -> None:
    p = rows([0.0, 1.0])[0]
    assert accept(torch.stack([p, p]), [None], [1], seeded_generator(0)) == (1, 1)


def test_a_difference_far_below_any_fixed_threshold_still_draws_from_the_difference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """p and q differ by 1e-9 of mass: a rule that fell back to p under 1e-8 would draw token 2 as well."""
    p = torch.tensor([0.5 + 1e-9, 0.25 - 1e-9, 0.25], dtype=torch.float64)
    q = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64)

    monkeypatch.setattr("dspark_local.engine.accept.uniform", lambda _: 1.0 - 1e-12)
    assert accept(torch.stack([p, p]), [q], [1], seeded_generator(0)) == (0, 0)


def test_rows_of_float32_that_do_not_sum_to_one_are_normalised() -> None:
    generator = seeded_generator(6)
    p = rows([0.5, 0.5])[0]
    for token in (0, 1):
        assert accept(torch.stack([p * 1.0001, p]), [p * 0.9999], [token], generator)[0] == 1
