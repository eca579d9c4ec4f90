"""Log-probabilities of an answer's tokens: the target's own, for accepted drafts as for others, in order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from dspark_local.demo import weights_path
from dspark_local.engine.answering import Answering
from dspark_local.engine.generate import generate
from dspark_local.engine.scheduling import Off, Scheduler, Static
from dspark_local.engine.session import Session
from dspark_local.engine.task import Step
from dspark_local.errors import UsageError
from dspark_local.events import Event, Finished, TextDelta, TokenLogprobs, ToolCallStarted
from dspark_local.protocols.tokenizer import ChatTokenizer
from dspark_local.request import ChatMessage, ChatRequest, SamplingSettings, TokenRequest
from dspark_models import load_drafter, load_target
from dspark_models.protocols import Drafter, Target
from tests.fakes import FakeTarget

SETTINGS = SamplingSettings(temperature=0.9, top_p=0.9, seed=3, max_tokens=40, logit_bias={20: -100.0})


class Demo:
    """The demo pair with one session."""

    def __init__(self) -> None:
        self.tokenizer = ChatTokenizer.load(weights_path())
        self.target: Target = load_target(weights_path(), dtype="float32", device="cpu")
        drafter: Drafter | None = load_drafter(weights_path(), self.target)
        self.session = Session(self.target, drafter)
        self.answering = Answering(self.tokenizer, self.target.vocab_size, self.target.context_length)

    def answer(self, request: TokenRequest, scheduler: Scheduler) -> list[Event]:
        self.session.clear()
        prepared = self.answering.complete(request)
        events: list[Event] = []
        for progress in generate(self.session, replace(prepared.task, scheduler=scheduler)):
            if isinstance(progress, Step):
                events += prepared.answer.take()
            elif isinstance(progress, Finished):
                events += [*prepared.answer.finish(truncated=progress.reason != "stop"), progress]
        return events


@pytest.fixture(scope="module")
def demo() -> Demo:
    return Demo()


@pytest.fixture(scope="module")
def prompt(demo: Demo) -> tuple[int, ...]:
    text = "<｜begin▁of▁sentence｜><｜User｜>12 * 7?<｜Assistant｜></think>"
    return tuple(demo.tokenizer.encode_text(text, parse_markup=True))


def scores(events: list[Event]) -> list[TokenLogprobs]:
    return [event for event in events if isinstance(event, TokenLogprobs)]


@pytest.mark.parametrize("scheduler", [Off(), Static(4)])
def test_they_equal_the_log_softmax_of_a_fresh_pass_over_the_whole_text(
    demo: Demo, prompt: tuple[int, ...], scheduler: Scheduler
) -> None:
    events = demo.answer(TokenRequest(prompt, SETTINGS, top_logprobs=20), scheduler)
    told = scores(events)
    assert isinstance(events[-1], Finished)
    ids = [t for t in events[-1].token_ids if t not in demo.tokenizer.eos_ids]
    assert [score.token_id for score in told] == ids
    demo.session.clear()
    logits = demo.session.append([*prompt, *ids], "all")[len(prompt) - 1 : -1].double().numpy()
    peak = logits.max(-1, keepdims=True)
    expected = logits - peak - np.log(np.exp(logits - peak).sum(-1, keepdims=True))
    for row, score in zip(expected, told, strict=True):
        assert score.logprob == pytest.approx(row[score.token_id], abs=2e-4)
        assert [value for _, _, value in score.top] == pytest.approx(np.sort(row)[::-1][:20].tolist(), abs=2e-4)
        assert [row[token] for token, _, _ in score.top] == pytest.approx([v for _, _, v in score.top], abs=2e-4)
        assert all(spelling == demo.tokenizer.token_bytes(token) for token, spelling, _ in score.top)


def test_accepted_drafts_have_the_same_scores_as_tokens_decided_one_by_one(demo: Demo, prompt: tuple[int, ...]) -> None:
    request = TokenRequest(prompt, replace(SETTINGS, temperature=0.0, ignore_eos=True), top_logprobs=3)
    plain, drafted = demo.answer(request, Off()), demo.answer(request, Static(5))
    assert isinstance(drafted[-1], Finished)
    assert drafted[-1].stats.accepted_tokens > 10
    for one, other in zip(scores(plain), scores(drafted), strict=True):
        assert (one.token_id, one.text_bytes) == (other.token_id, other.text_bytes)
        assert one.logprob == pytest.approx(other.logprob, abs=2e-4)


def test_the_bytes_join_to_the_text_and_come_before_it(demo: Demo, prompt: tuple[int, ...]) -> None:
    events = demo.answer(TokenRequest(prompt, SETTINGS, top_logprobs=0), Static(4))
    said, scored = "", b""
    for event in events:
        if isinstance(event, TokenLogprobs):
            assert event.top == ()
            scored += event.text_bytes
        elif isinstance(event, TextDelta):
            said += event.text
            assert scored.decode(errors="replace").startswith(said.rstrip("\ufffd"))
    assert scored.decode(errors="replace") == said


def test_nobody_who_does_not_ask_is_told(demo: Demo, prompt: tuple[int, ...]) -> None:
    assert not scores(demo.answer(TokenRequest(prompt, SETTINGS), Static(4)))


@pytest.mark.parametrize("count", [-1, 21])
def test_more_than_20_alternatives_are_refused(count: int) -> None:
    with pytest.raises(UsageError, match="top_logprobs"):
        TokenRequest((1,), top_logprobs=count)


def test_reasoning_is_scored_on_its_channel_and_calls_and_ends_are_not(demo: Demo) -> None:
    """The model recites a whole answer with all its parts."""
    tokenizer = demo.tokenizer
    call = '<｜DSML｜tool_calls>\n<｜DSML｜invoke name="now">\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>'
    script = [*tokenizer.encode_text(f"Hm.</think>Ok\n\n{call}", parse_markup=True), tokenizer.eos_ids[0]]
    table = torch.zeros(len(script), tokenizer.vocab_size)
    table[torch.arange(len(script)), torch.tensor(script)] = 50.0
    target = FakeTarget(table, lambda state, token: state + 1 if state >= 0 and token == script[state] else 0)
    tools = ({"type": "function", "function": {"name": "now"}},)
    request = ChatRequest(
        (ChatMessage("user", "?"),),
        SamplingSettings(temperature=0.0),
        thinking="thinking",
        tools=tools,
        top_logprobs=1,
    )
    prepared = Answering(tokenizer, target.vocab_size, 4096).chat(request, [tokenizer.eos_ids[0]])
    events: list[Event] = []
    for progress in generate(Session(target), prepared.task):
        events += prepared.answer.take()
        if isinstance(progress, Finished):
            assert list(progress.token_ids) == script
            events += prepared.answer.finish(truncated=False)
    assert any(isinstance(event, ToolCallStarted) for event in events)
    by_channel = {c: b"".join(s.text_bytes for s in scores(events) if s.channel == c) for c in ("reasoning", "content")}
    assert by_channel["reasoning"] == b"Hm.</think>"
    assert by_channel["content"].decode().startswith("Ok\n\n<")
    assert "invoke" not in by_channel["content"].decode()
