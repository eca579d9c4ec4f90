import dataclasses
import json
import weakref
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dspark_models.training.draft import Draft
from dspark_models.training.hyper import Sinkhorn
from dspark_models.training.names import official_tensors, training_tensors
from dspark_models.training.shape import official_config
from dspark_models.training.target import Target
from tests.models.training.shapes import TINY


def randomise(module: torch.nn.Module) -> None:
    """Values that leave no rule without effect (zeros and ones would hide mistakes)."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, p in module.named_parameters():
            z = torch.randn(p.shape, generator=generator)
            if "norm.weight" in name:
                p.copy_(1 + 0.2 * z)
            elif name.endswith(("attn_sink", "ape")):
                p.copy_(z)
            elif name.endswith(".base"):
                p.copy_(0.7 * z)
            elif name.endswith(".scale"):
                p.copy_(0.5 + 0.5 * z.abs())
            else:
                p.copy_(0.1 * z)
        for name, b in module.named_buffers():
            if name.endswith("gate.bias"):
                b.copy_(0.3 * torch.randn(b.shape, generator=generator))


def test_target_agrees_with_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    shape = dataclasses.replace(TINY, swiglu_limit=0.5)
    target = Target(shape).eval()
    randomise(target)
    config = official_config(shape)
    for key in ("quantization_config", "expert_dtype"):
        del config[key]
    config.update(torch_dtype="float32", max_position_embeddings=1048576)
    (tmp_path / "config.json").write_text(json.dumps(config))
    tensors = {k: v.contiguous().clone() for k, v in official_tensors(target.state_dict()).items()}
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    oracle = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    ids = torch.randint(0, shape.vocab_size, (2, 53))
    with torch.no_grad():
        expected = oracle(ids, use_cache=False).logits
        got = target(ids, select=True)
    assert (got - expected).abs().max() < 1e-4


def test_names_round_trip() -> None:
    state = Target(TINY).state_dict() | Draft(TINY).state_dict()
    back = training_tensors(official_tensors(state))
    assert back.keys() == state.keys()
    assert all(torch.equal(back[k], state[k]) for k in state)


def test_sinkhorn_gradient_is_exact() -> None:
    x = torch.rand(4, 4, 3, dtype=torch.float64) + 0.1
    x.requires_grad_(True)
    assert torch.autograd.gradcheck(lambda t: Sinkhorn.apply(t, 20, 1e-6), (x,))


def test_sinkhorn_frees_what_it_saved() -> None:
    # A graph that holds its own output is never freed: that once cost 100 MB a step.
    x = torch.rand(4, 4, 5, requires_grad=True)
    out = Sinkhorn.apply(x, 20, 1e-6)
    out.sum().backward()
    alive = weakref.ref(out)
    del out
    assert alive() is None


def test_draft_blocks_do_not_see_each_other_or_the_future() -> None:
    torch.manual_seed(3)
    target, draft = Target(TINY).eval(), Draft(TINY).eval()
    randomise(target)
    randomise(draft)
    ids = torch.randint(3, TINY.vocab_size, (1, 30))
    with torch.no_grad():
        _, taps = target.states(ids)
        seen = torch.cat(taps, -1)
        anchors = torch.tensor([[4, 12, 25]])
        together = draft(target.embed, target.head, seen, anchors, ids.gather(1, anchors))
        for i, at in enumerate(anchors[0].tolist()):
            past = seen[:, max(at - TINY.sliding_window, 0) : at]
            hidden = torch.zeros_like(seen)
            hidden[:, max(at - TINY.sliding_window, 0) : at] = past
            one = torch.tensor([[at]])
            alone = draft(target.embed, target.head, hidden, one, ids.gather(1, one))
            assert torch.allclose(alone.base[0], together.base[i], atol=1e-4)
