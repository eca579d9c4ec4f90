import torch
from torch.nn import functional as F

from dspark_models.training.draft import Draft
from dspark_models.training.draft_loss import draft_loss
from dspark_models.training.muon import build_optimizers, orthogonalise, split_parameters
from dspark_models.training.target import Target
from tests.models.training.shapes import TINY


def test_orthogonalise_makes_singular_values_alike() -> None:
    torch.manual_seed(0)
    out = orthogonalise(torch.randn(3, 16, 24), torch.float32)
    values = torch.linalg.svdvals(out)
    assert values.min() > 0.5
    assert values.max() < 1.5


def test_target_learns_a_repeated_batch() -> None:
    torch.manual_seed(0)
    target = Target(TINY).train()
    optimizers = build_optimizers(target, 0.006, 0.003)
    ids = torch.randint(3, TINY.vocab_size, (2, 20))
    losses = []
    for _ in range(8):
        loss = F.cross_entropy(target(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()
        losses.append(float(loss.detach()))
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    assert losses[-1] < losses[0] - 0.5


def test_routers_embeddings_and_streams_are_left_to_adamw() -> None:
    target = Target(TINY)
    muon, _ = split_parameters(target)
    ours = {id(p) for p in muon}
    names = [n for n, p in target.named_parameters() if id(p) in ours]
    assert names
    assert not any(word in n for n in names for word in ("embed", "head.weight", "gate.weight", "hc_"))


def test_confidence_aims_at_the_expected_acceptance() -> None:
    target_logits = torch.tensor([[[0.0, 0.0, -99.0]]])
    logits = torch.tensor([[[0.0, -99.0, -99.0]]])
    labels, valid = torch.zeros(1, 1, dtype=torch.long), torch.ones(1, 1, dtype=torch.bool)
    confidence = torch.zeros(1, 1, requires_grad=True)
    out = draft_loss(logits, confidence, target_logits, labels, valid)
    assert torch.allclose(out.acceptance, torch.tensor([0.5]))
    out.total.backward()
    assert confidence.grad is not None
    assert confidence.grad.abs().item() < 1e-6


def test_invalid_slots_cost_nothing() -> None:
    torch.manual_seed(0)
    logits, goal = torch.randn(2, 3, 7), torch.randn(2, 3, 7)
    labels, confidence = torch.randint(0, 7, (2, 3)), torch.randn(2, 3)
    valid = torch.tensor([[True, True, False], [True, False, False]])
    first = draft_loss(logits, confidence, goal, labels, valid)
    logits[~valid] += 5.0
    assert torch.allclose(first.total, draft_loss(logits, confidence, goal, labels, valid).total)


def test_all_draft_parameters_get_a_gradient() -> None:
    torch.manual_seed(0)
    target, draft = Target(TINY).eval(), Draft(TINY).train()
    ids = torch.randint(3, TINY.vocab_size, (1, 24))
    with torch.no_grad():
        hidden, taps = target.states(ids)
        goal = target.logits(hidden)
    anchors = torch.arange(2, 18).unsqueeze(0)
    out = draft(target.embed, target.head, torch.cat(taps, -1), anchors, ids.gather(1, anchors))
    at = anchors[0].unsqueeze(1) + torch.arange(5)
    embedding, bias = draft.markov(ids[0][at])
    loss = draft_loss(
        out.base + bias,
        draft.confidence(out.hidden, embedding),
        goal[0][at],
        ids[0][at + 1],
        torch.ones_like(at, dtype=torch.bool),
    )
    loss.total.backward()
    missing = [n for n, p in draft.named_parameters() if p.grad is None]
    assert not missing
