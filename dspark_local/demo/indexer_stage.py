"""Stage "indexer": teach the lightning indexer which compressed rows attention reads.

Selection is not differentiable, so target training leaves the indexer alone.
Here the frozen target attends to all rows, and the indexer's scores learn to
order them by the attention they get, summed over the heads.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dspark_local.demo.batches import Batch, Stream
from dspark_local.demo.frozen import load_target
from dspark_local.demo.setup import Budget, Log, Settings, make_tokenizer, save_state, seed_everything
from dspark_models.training.attention import TargetAttention, closed_mask, mask_bias, window_mask
from dspark_models.training.rope import frequencies, table
from dspark_models.training.shape import Shape
from dspark_models.training.target import Target

RATE = 0.003


def attention_inputs(target: Target, batch: Batch) -> dict[int, Tensor]:
    """Normalised attention inputs [B, S, D] of the layers with an indexer."""
    found: dict[int, Tensor] = {}
    handles = []
    for i, block in enumerate(target.layers):
        attn = block.attn
        if isinstance(attn, TargetAttention) and attn.has_indexer:

            def keep(_m: object, args: tuple[Tensor, ...], i: int = i) -> None:
                found[i] = args[0].detach()

            handles.append(attn.register_forward_pre_hook(keep))
    with torch.no_grad():
        target.states(batch.ids)
    for handle in handles:
        handle.remove()
    return found


def indexer_loss(attn: TargetAttention, x: Tensor, real: Tensor) -> Tensor:
    """Cross-entropy between attention over compressed rows and softmax of the scores."""
    b, s, _ = x.shape
    shape = attn.shape
    freq = frequencies(shape, compressed=True).to(x.device)
    cos, sin = table(freq, torch.arange(s, device=x.device))
    visible = closed_mask(s, attn.ratio, x.device)
    with torch.no_grad():
        c_q = attn.low_rank(x)
        q = attn.queries(c_q, cos, sin) * shape.head_dim**-0.5
        rows = attn.compressor(x, freq)
        kv = torch.cat((attn.latent(x, cos, sin), rows), 1)
        seen = torch.cat((window_mask(s, shape.sliding_window, x.device), visible), -1)
        logits = torch.matmul(q.reshape(b, -1, shape.head_dim), kv.transpose(1, 2))
        logits = logits.view(b, s, attn.heads, -1) + mask_bias(seen).view(1, s, 1, -1)
        share = torch.softmax(logits, -1)[..., s:].sum(2)
        share = share / share.sum(-1, keepdim=True).clamp_min(1e-9)
    scores = attn.indexer(x, c_q, cos, sin, freq)
    log_p = torch.log_softmax(scores.masked_fill(~visible, float("-inf")), -1)
    each = -(share * log_p.masked_fill(~visible, 0.0)).sum(-1)
    # Only queries with a real choice between rows teach anything.
    use = real & (visible.sum(-1) > 1)
    return (each * use).sum() / use.sum()


def train_indexer(settings: Settings, shape: Shape) -> None:
    """Distil all indexers and write ``indexer.pt``."""
    seed_everything(settings.seed + 2)
    tokenizer = make_tokenizer(settings, shape)
    (settings.folder / "indexer.pt").unlink(missing_ok=True)
    target = load_target(settings, shape, rounded=False)
    layers = {
        i: block.attn
        for i, block in enumerate(target.layers)
        if isinstance(block.attn, TargetAttention) and block.attn.has_indexer
    }
    parameters = []
    for attn in layers.values():
        assert isinstance(attn, TargetAttention)
        attn.indexer.requires_grad_(True)
        parameters += list(attn.indexer.parameters())
    optimizer = torch.optim.AdamW(parameters, RATE, betas=(0.9, 0.95), weight_decay=0.0)
    stream = Stream(tokenizer, settings.seed + 2000, settings.batch_tokens, 1024)
    # Short texts have fewer rows than the indexer keeps: only long ones matter.
    stream.long = 0.8
    log = Log(settings.folder, "indexer")
    budget = Budget(settings.minutes)
    step = 0
    while budget.fraction < 1.0:
        batch = stream.next().to(settings.device)
        if batch.ids.shape[1] < 2 * shape.index_topk and not settings.smoke:
            continue
        inputs = attention_inputs(target, batch)
        losses = []
        for i, attn in layers.items():
            assert isinstance(attn, TargetAttention)
            losses.append(indexer_loss(attn, inputs[i], batch.real))
        loss = torch.stack(losses).sum()
        for group in optimizer.param_groups:
            group["lr"] = RATE * max(0.02, 1 - budget.fraction)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        if step % 10 == 0 or step < 3:
            log.write(
                step=step, minutes=round(budget.spent / 60, 2),
                loss=[round(float(v.detach()), 4) for v in losses],
            )  # fmt: skip
    state = {n: p for n, p in target.state_dict().items() if ".indexer." in n}
    save_state(settings.folder / "indexer.pt", {"model": state})
