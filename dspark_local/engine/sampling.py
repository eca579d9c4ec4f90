"""From logits to the distribution that a request asks for.

Order, fixed: repetition penalty (prompt and output), presence and frequency penalty (output only), bias, the mask of a
constraint, temperature, top-k, top-p, min-p, renormalisation. Bias comes after the penalties so that it means the same
whatever was said before, the mask last of the three because nothing may undo it. Repetition as in CTRL (Keskar et al.,
2019) and transformers; presence, frequency and bias as in the OpenAI API; min-p as in Nguyen et al. (2024).

Acceptance is lossless for the distribution that leaves this file, so a verify pass must process every row as plain
decoding would: the row after drafts x_0..x_(i-1) counts those drafts as if they had been generated.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence

import torch
from torch import Tensor

from dspark_local.engine.constraints import Constraint
from dspark_local.errors import DsparkError
from dspark_local.request import SamplingSettings


def seeded_generator(seed: int | None) -> torch.Generator:
    """A CPU generator; None takes a seed from the operating system.

    It only ever makes single uniforms, so one seed gives one output on any device with equal probabilities.
    """
    generator = torch.Generator()
    generator.manual_seed(secrets.randbits(63) if seed is None else seed & (2**63 - 1))
    return generator


def uniform(generator: torch.Generator) -> float:
    """One float64 from [0, 1)."""
    return torch.rand((), generator=generator, dtype=torch.float64).item()


def draw(weights: Tensor, generator: torch.Generator) -> int:
    """Index drawn in proportion to weights [V], non-negative, of any positive sum; float64 inside.

    Inverse of the cumulative sum: a weight of exactly 0 is never drawn.
    """
    cumulative = torch.cumsum(weights, 0, dtype=torch.float64)
    point = uniform(generator) * cumulative[-1]
    index = int(torch.searchsorted(cumulative, point, right=True))
    if index < len(weights):
        return index
    return int(torch.nonzero(weights)[-1])  # the product was rounded up to the whole sum


class PositionNoise:
    """Makes a seed mean one text, however it is computed: token i of the answer depends on noise of (seed, i) alone.

    argmax(log p + g) with Gumbel noise g is a sample of p. Draft and target use the same g at the same position, so
    they mostly agree when their distributions are close, and what is decided is the target's own choice in any case:
    with or without drafts, in blocks of any length. They agree a little less often than under a rule that may choose
    afresh: at least (1 - d) / (1 + d) of the time instead of 1 - d, with d their total variation (Daliri et al., 2024).
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._generator = torch.Generator()

    def choose(self, probabilities: Tensor, position: int) -> list[int]:
        """The tokens of answer positions position, position + 1, ... with distributions [T, V], float64 inside."""
        rows = probabilities.double().log().cpu()
        return [int((row + self._gumbel(position + i, len(row))).argmax()) for i, row in enumerate(rows)]

    def _gumbel(self, position: int, size: int) -> Tensor:
        digest = hashlib.sha256(f"{self._seed} {position}".encode()).digest()
        self._generator.manual_seed(int.from_bytes(digest[:8], "little") & (2**63 - 1))
        uniforms = torch.rand(size, generator=self._generator, dtype=torch.float64)
        return -torch.log(-torch.log(uniforms.clamp_(min=1e-300)))


class LogitsProcessor:
    """The distribution of one request's next tokens, given what was said so far.

    prompt_ids count for the repetition penalty; generated ids are told with `append`, which passes them on to the
    constraint. Draft and target are biased and masked alike.
    """

    def __init__(
        self, settings: SamplingSettings, prompt_ids: Sequence[int], constraint: Constraint | None = None
    ) -> None:
        self.settings = settings
        self.constraint = constraint
        self._bias: tuple[Tensor, Tensor] | None = None  # ids [N] int64, what is added to their logits [N] float32
        self._has_penalties = (
            settings.repetition_penalty != 1.0 or settings.presence_penalty != 0.0 or settings.frequency_penalty != 0.0
        )
        self._prompt_ids = list(prompt_ids) if self._has_penalties else []
        self._generated: list[int] = []
        self._in_prompt: Tensor | None = None  # [V] bool
        self._counts: Tensor | None = None  # [V] float32, how often each id was generated
        self._counted = 0

    def append(self, ids: Sequence[int]) -> None:
        """Tokens that are now part of the output."""
        if self._has_penalties:
            self._generated.extend(ids)
        if self.constraint is not None:
            self.constraint.append(ids)

    @property
    def reshapes(self) -> bool:
        """True when some tokens are favoured or excluded for reasons that the model's draft knows nothing of."""
        return self.constraint is not None or bool(self.settings.logit_bias)

    def adjusted(self, logits: Tensor, ahead: Sequence[int] = ()) -> Tensor:
        """Logits [T, V] with penalties, bias and mask, float32; excluded ids have -inf. `ahead` as in penalised."""
        adjusted = self.penalised(logits, ahead)
        if self.settings.logit_bias:
            ids, values = self._bias_on(adjusted.device)
            adjusted = adjusted.index_add(1, ids, values.expand(len(adjusted), -1))
        if self.constraint is not None:
            allowed = self.constraint.mask(ahead, len(adjusted), adjusted.shape[1])
            adjusted = adjusted.masked_fill(~allowed.to(adjusted.device), -torch.inf)
        return adjusted

    def penalised(self, logits: Tensor, ahead: Sequence[int] = ()) -> Tensor:
        """Logits [T, V] with penalties, float32.

        `ahead` are undecided tokens after the output. The last row sees all of them, each row before it one less, so
        a verify pass gives its K drafts for its K + 1 rows. DsparkError when a logit is not a number.
        """
        logits = logits.float()
        if bool(torch.isnan(logits).any()):
            raise DsparkError(
                "The model computed a logit that is not a number.",
                hint="Try --dtype float32; if that does not help, the checkpoint is damaged.",
            )
        if not self._has_penalties:
            return logits
        seen, counts = self._history(logits, ahead)
        s = self.settings
        if s.repetition_penalty != 1.0:
            weakened = torch.where(logits > 0, logits / s.repetition_penalty, logits * s.repetition_penalty)
            logits = torch.where(seen | (counts > 0), weakened, logits)
        return logits - s.frequency_penalty * counts - s.presence_penalty * (counts > 0)

    def probabilities(self, logits: Tensor, ahead: Sequence[int] = ()) -> Tensor:
        """Distributions [T, V] float32 for logits [T, V]; `ahead` as in penalised. Not for greedy settings."""
        s = self.settings
        logits = self.adjusted(logits, ahead)
        # The maximum leaves first: a very low temperature must not overflow.
        scaled = (logits - logits.amax(-1, keepdim=True)) / s.temperature
        if 0 < s.top_k < scaled.shape[-1]:
            scaled = scaled.masked_fill(scaled < scaled.topk(s.top_k).values[..., -1:], -torch.inf)
        probabilities = scaled.softmax(-1)
        if s.top_p < 1.0:
            probabilities = _nucleus(probabilities, s.top_p)
        if s.min_p > 0.0:
            least = s.min_p * probabilities.amax(-1, keepdim=True)
            probabilities = probabilities.masked_fill(probabilities < least, 0.0)
        if s.top_p < 1.0 or s.min_p > 0.0:
            probabilities = probabilities / probabilities.sum(-1, keepdim=True)
        return probabilities

    def best(self, logits: Tensor, ahead: Sequence[int] = ()) -> list[int]:
        """The greedy choice of every row of logits [T, V]; `ahead` as in penalised."""
        choices: list[int] = self.adjusted(logits, ahead).argmax(-1).tolist()
        return choices

    def _bias_on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        if self._bias is None:
            bias = self.settings.logit_bias
            ids = torch.tensor(list(bias), dtype=torch.int64, device=device)
            self._bias = ids, torch.tensor(list(bias.values()), dtype=torch.float32, device=device)
        return self._bias

    def _history(self, logits: Tensor, ahead: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Which ids the prompt has, [V] bool, and how often each row's output has them, [T, V] float32."""
        rows, vocabulary = logits.shape
        if self._in_prompt is None or self._counts is None:
            self._in_prompt = torch.zeros(vocabulary, dtype=torch.bool, device=logits.device)
            self._in_prompt[self._prompt_ids] = True
            self._counts = torch.zeros(vocabulary, device=logits.device)
        for token in self._generated[self._counted :]:
            self._counts[token] += 1
        self._counted = len(self._generated)
        counts = self._counts.repeat(rows, 1)
        unseen_by_first_row = rows - 1
        for index, token in enumerate(ahead):
            counts[max(0, index + 1 - (len(ahead) - unseen_by_first_row)) :, token] += 1
        return self._in_prompt, counts


def _nucleus(probabilities: Tensor, top_p: float) -> Tensor:
    """The smallest set of most likely ids whose mass reaches top_p; the others become 0. Ties: the lower id stays."""
    ordered, ids = probabilities.sort(dim=-1, descending=True, stable=True)
    mass_before = ordered.cumsum(-1, dtype=torch.float64) - ordered
    return torch.zeros_like(probabilities).scatter(-1, ids, ordered.masked_fill(mass_before >= top_p, 0.0))
