"""The native backend's events: text, channels, stop strings, limits, errors, reuse."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dspark_local import native
from dspark_local.errors import CheckpointError, ContextLengthError, ModelNotFoundError, OutOfMemoryError, UsageError
from dspark_local.events import (
    Event,
    Finished,
    PrefillProgress,
    RoundDone,
    TextDelta,
    ToolArgumentsDelta,
    ToolCallStarted,
)
from dspark_local.native import NativeBackend
from dspark_local.protocols.special_tokens import BOS
from dspark_local.request import ChatMessage, ChatRequest, SamplingSettings, SpeculationSettings, TokenRequest
from tests.local.scripted import scripted_backend

GREEDY = SamplingSettings(temperature=0.0, max_tokens=200)
ANSWER = "Twelve times seven is 84."


def question(
    text: str = "12 * 7?", sampling: SamplingSettings = GREEDY, spec: str = "static:5", think: bool = False
) -> ChatRequest:
    return ChatRequest(
        (ChatMessage("user", text),),
        sampling,
        SpeculationSettings.parse(spec),
        thinking="thinking" if think else "chat",
        conversation_id="one",
    )


def never() -> bool:
    return False


def said(events: Iterable[Event], channel: str = "content") -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta) and event.channel == channel)


def end(events: list[Event]) -> Finished:
    assert isinstance(events[-1], Finished)
    return events[-1]


def test_an_answer_is_progress_then_text_and_rounds_then_the_end(tmp_path: Path) -> None:
    events = list(scripted_backend(tmp_path).chat(question(), never))
    assert said(events) == ANSWER
    assert end(events).reason == "stop"
    kinds = [type(event) for event in events]
    assert kinds[0] is PrefillProgress
    assert kinds.index(TextDelta) > max(i for i, kind in enumerate(kinds) if kind is PrefillProgress)
    rounds = kinds.count(RoundDone)
    assert rounds == end(events).stats.passes
    assert rounds < len(ANSWER) / 4
    # A round sends its tokens as one piece of text.
    assert kinds.count(TextDelta) <= rounds + 1


@pytest.mark.parametrize("spec", ["off", "static:1", "static:4", "threshold:0.5", "auto"])
def test_every_kind_of_speculation_says_the_same(tmp_path: Path, spec: str) -> None:
    events = list(scripted_backend(tmp_path).chat(question(spec=spec), never))
    assert said(events) == ANSWER


def test_reasoning_comes_on_its_own_channel_and_is_counted(tmp_path: Path) -> None:
    events = list(scripted_backend(tmp_path).chat(question(think=True), never))
    assert said(events, "reasoning") == "Let me see."
    assert said(events) == ANSWER
    assert end(events).stats.reasoning_tokens == len("Let me see.") + 1


def test_a_stop_string_inside_a_block_cuts_text_and_tokens(tmp_path: Path) -> None:
    events = list(scripted_backend(tmp_path).chat(question(sampling=replace(GREEDY, stop=("seven",))), never))
    assert said(events) == "Twelve times "
    assert end(events).reason == "stop"
    assert len(end(events).token_ids) == len("Twelve times seven")


def test_a_stop_string_is_not_looked_for_in_the_reasoning(tmp_path: Path) -> None:
    request = question(sampling=replace(GREEDY, stop=("me",)), think=True)
    events = list(scripted_backend(tmp_path).chat(request, never))
    assert said(events, "reasoning") == "Let me see."
    assert said(events) == "Twelve ti"


def test_the_beginning_of_a_stop_string_is_shown_when_the_answer_ends_with_it(tmp_path: Path) -> None:
    request = question(sampling=replace(GREEDY, stop=("84. And",)))
    assert said(scripted_backend(tmp_path).chat(request, never)) == ANSWER


def test_max_tokens_ends_with_length(tmp_path: Path) -> None:
    events = list(scripted_backend(tmp_path).chat(question(sampling=replace(GREEDY, max_tokens=6)), never))
    assert said(events) == "Twelve"
    assert end(events).reason == "length"


def test_no_event_holds_half_a_character(tmp_path: Path) -> None:
    answer = "naïve 你好 😀 done"
    for spec in ("off", "static:1", "static:3"):
        events = list(scripted_backend(tmp_path, answer).chat(question(spec=spec), never))
        assert said(events) == answer
        assert not any("\ufffd" in event.text for event in events if isinstance(event, TextDelta))


def test_a_tool_call_is_told_apart_and_names_the_reason(tmp_path: Path) -> None:
    block = (
        'One moment.\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name="add">\n'
        '<｜DSML｜parameter name="a" string="false">12</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>'
    )
    events = list(scripted_backend(tmp_path, block).chat(question(), never))
    assert said(events) == "One moment."
    assert [event.name for event in events if isinstance(event, ToolCallStarted)] == ["add"]
    arguments = "".join(event.text for event in events if isinstance(event, ToolArgumentsDelta))
    assert json.loads(arguments) == {"a": 12}
    assert end(events).reason == "tool_calls"


def test_cancelling_ends_within_a_pass_and_keeps_the_text(tmp_path: Path) -> None:
    backend = scripted_backend(tmp_path)
    events: list[Event] = []
    for event in backend.chat(question(spec="static:2"), lambda: len(said(events)) >= 6):
        events.append(event)  # noqa: PERF402 - the list is asked while it grows
    text = said(events)
    assert end(events).reason == "cancelled"
    assert ANSWER.startswith(text)
    assert 6 <= len(text) <= 9


def test_the_second_turn_reuses_the_first_and_says_the_same(tmp_path: Path) -> None:
    backend = scripted_backend(tmp_path)
    list(backend.chat(question(), never))
    messages = (ChatMessage("user", "12 * 7?"), ChatMessage("assistant", ANSWER), ChatMessage("user", "Sure?"))
    again = list(backend.chat(replace(question(), messages=messages), never))
    fresh = list(scripted_backend(tmp_path).chat(replace(question(), messages=messages), never))
    assert end(again).token_ids == end(fresh).token_ids
    assert end(again).stats.cached_tokens > 20
    assert end(fresh).stats.cached_tokens == 0


def test_more_conversations_than_sequences_take_turns(tmp_path: Path) -> None:
    backend = scripted_backend(tmp_path)
    for name in ("a", "b", "c", "a", None, "b"):
        assert said(backend.chat(replace(question(), conversation_id=name), never)) == ANSWER
    assert backend.score([0, 1, 2])[0] is None


def test_plain_decoding_first_and_speculation_later_in_one_conversation(tmp_path: Path) -> None:
    backend = scripted_backend(tmp_path)
    assert said(backend.chat(question(spec="off"), never)) == ANSWER
    events = list(backend.chat(question(spec="static:5"), never))
    assert said(events) == ANSWER
    assert end(events).stats.accepted_tokens > 0


def test_token_ids_are_continued_as_they_are(tmp_path: Path) -> None:
    backend = scripted_backend(tmp_path)
    ids = tuple(backend.tokenize("Say it?"))
    events = list(backend.complete(TokenRequest(ids, GREEDY, SpeculationSettings("static", 3)), never))
    assert said(events) == ANSWER
    assert end(events).token_ids[-1] in backend.tokenizer.eos_ids


def test_a_draft_is_demanded_only_where_it_is_needed(tmp_path: Path) -> None:
    backend = scripted_backend(tmp_path, with_draft=False)
    for spec in ("off", "auto"):
        assert said(backend.chat(question(spec=spec), never)) == ANSWER
    for spec in ("static:3", "threshold:0.5"):
        with pytest.raises(UsageError, match="holds none"):
            backend.chat(question(spec=spec), never)


def test_a_prompt_longer_than_the_context_is_refused_at_once(tmp_path: Path) -> None:
    backend = scripted_backend(tmp_path, context_length=30)
    with pytest.raises(ContextLengthError):
        backend.chat(question("x" * 40), never)


def test_scores_are_the_log_probabilities_of_the_table(tmp_path: Path) -> None:
    backend = scripted_backend(tmp_path)
    ids = backend.tokenize("?" + ANSWER)
    scores = backend.score(ids)
    assert scores[0] is None
    certain = -math.log(1 + 263 * math.exp(-50))
    assert scores[1:] == pytest.approx([certain] * len(ANSWER), abs=1e-6)
    assert backend.score([5]) == [None]
    unlikely = backend.score([*ids[:3], 7])[-1]
    assert unlikely == pytest.approx(-50, abs=1e-3)


def test_scoring_checks_its_ids(tmp_path: Path) -> None:
    backend = scripted_backend(tmp_path, context_length=20)
    with pytest.raises(UsageError, match="no tokens"):
        backend.score([])
    with pytest.raises(UsageError, match="Token 1 is 9999"):
        backend.score([1, 9999])
    with pytest.raises(ContextLengthError):
        backend.score([1] * 21)


def test_counting_a_prompt_equals_encoding_it(tmp_path: Path) -> None:
    backend = scripted_backend(tmp_path)
    done = end(list(backend.chat(question(), never)))
    assert backend.count_prompt_tokens(question()) == done.stats.prompt_tokens
    assert backend.tokenizer.token_id(BOS) == 0


def test_memory_that_runs_out_is_told_with_a_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = scripted_backend(tmp_path)

    def fail(*_: object, **__: object) -> object:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB")

    monkeypatch.setattr(native, "generate", fail)
    with pytest.raises(OutOfMemoryError, match="3 GiB") as caught:
        list(backend.chat(question(), never))
    assert "--context" in caught.value.hint


def test_what_passes_cost_is_measured_once_and_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = scripted_backend(tmp_path)
    stages: list[str] = []
    backend.measure(lambda progress: stages.append(progress.stage))
    assert stages == ["measuring this computer, once"]

    def measure_again(*_: object) -> None:
        raise AssertionError("it is known by now")

    monkeypatch.setattr("dspark_local.engine.speculation.measure_costs", measure_again)
    backend.measure(lambda progress: stages.append(progress.stage))
    assert len(stages) == 1
    assert said(backend.chat(question(spec="auto"), never)) == ANSWER


def test_a_directory_that_is_no_model_is_told_apart_from_a_broken_one(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError):
        NativeBackend.load(tmp_path / "missing")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError):
        NativeBackend.load(tmp_path)
