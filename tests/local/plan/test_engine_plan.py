"""What the engine of this release is about to allocate, and when it is stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from dspark_local.errors import OutOfMemoryError
from dspark_local.plan.engine_plan import EnginePlan, plan_engine
from dspark_models import Numerics, load_drafter, load_target
from dspark_models.checkpoint import Checkpoint
from tests.models import configs
from tests.models.checkpoints import random_checkpoint

MIB = 2**20


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_checkpoint(configs.RELEASE, draft="dspark").write(tmp_path_factory.mktemp("release"))


def planned(path: Path, available: int, *, context: int, sequences: int = 2, device: str = "cpu") -> EnginePlan:
    checkpoint = Checkpoint.open(path)
    return plan_engine(
        checkpoint,
        available_bytes=available,
        context=context,
        sequences=sequences,
        device=device,
        numerics=Numerics(),
        draft=checkpoint,
    )


def test_a_load_on_the_cpu_holds_what_was_planned(path: Path) -> None:
    plan = planned(path, 8 * 2**30, context=5000, sequences=3)
    target = load_target(path, dtype="float32", device="cpu", context_length=5000, max_sequences=3)
    drafter = load_drafter(path, target, max_sequences=3)
    assert drafter is not None
    held = target.bytes_held() | drafter.bytes_held()
    assert plan.mapped == held.pop("weights") + held.pop("draft_weights")
    assert held.pop("expanded") <= plan.held["expanded"]
    assert held == {part: nbytes for part, nbytes in plan.held.items() if part not in ("expanded", "workspace")}
    assert plan.resident == 0


def test_caches_that_exceed_free_ram_are_refused_with_a_context_that_does_not(path: Path) -> None:
    available = 400 * MIB
    with pytest.raises(OutOfMemoryError) as refused:
        planned(path, available, context=2**20)
    assert refused.value.exit_code == 6
    assert "1M" in refused.value.message
    assert "of RAM is available" in refused.value.message
    offered = int(refused.value.hint.split("--context ")[1].split(",")[0])
    planned(path, available, context=offered)
    with pytest.raises(OutOfMemoryError):
        planned(path, available, context=2 * offered)


def test_no_context_is_offered_where_none_fits(path: Path) -> None:
    with pytest.raises(OutOfMemoryError) as refused:
        planned(path, 10 * MIB, context=1024)
    assert "--context" not in refused.value.hint


def test_mapped_weights_need_no_free_ram(path: Path) -> None:
    plan = planned(path, 8 * 2**30, context=1024)
    assert "weights" not in plan.held
    assert plan.mapped == Checkpoint.open(path).weight_bytes


def test_a_card_takes_dense_weights_and_experts_only_where_all_of_them_fit(path: Path) -> None:
    large = planned(path, 8 * 2**30, context=1024, device="cuda")
    small = planned(path, 2 * 2**30, context=1024, device="cuda:0")
    assert large.held == small.held
    assert large.resident > 0 == small.resident
    draft_dense = large.held["draft_weights"]
    assert 0 < draft_dense < large.held["weights"]
    with pytest.raises(OutOfMemoryError, match="free on cuda"):
        planned(path, 300 * MIB, context=2**18, device="cuda")
