"""What the chat knows without a screen: conversation, store, figures, words."""

from __future__ import annotations

import random

import pytest

from dspark_local.answer_stream import RoundSummary
from dspark_local.backend import LoadProgress, ModelInfo
from dspark_local.events import Finished, GenerationStats, PrefillProgress, SpeculationState, TextDelta
from dspark_tui.conversation import Conversation
from dspark_tui.meter import LiveMeter
from dspark_tui.open_block import OpenBlockBuffer
from dspark_tui.status import Segment, context_label, fit, loading_label, phase_label, status_line
from dspark_tui.widgets.messages import footer_text

DEMO = ModelInfo("dspark-demo", 2048, is_demo=True, draft_block_size=5)


def test_messages_leave_out_turns_that_ended_before_their_answer_began() -> None:
    conversation = Conversation()
    for prompt, answer in (("a", "A"), ("b", ""), ("c", "C"), ("d", "")):
        conversation.begin(prompt).answer = answer
    assert [message.content for message in conversation.messages()] == ["a", "A", "c", "C", "d"]
    assert conversation.last_answer == "C"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_meter_follows_the_phases_and_counts_tokens_per_pass() -> None:
    clock = Clock()
    meter = LiveMeter(clock)
    meter.begin()
    assert meter.phase == "waiting"
    meter.take(PrefillProgress(0, 400, 0))
    clock.now += 1
    meter.take(PrefillProgress(400, 400, 0))
    assert (meter.phase, meter.phase_seconds) == ("reading", 1)
    meter.take(TextDelta("hm", "reasoning"))
    clock.now += 3
    meter.take(TextDelta("so"))
    assert (meter.phase, meter.thinking_seconds) == ("answering", 3)
    meter.take(RoundSummary(drafted=5, verified=4, accepted=3, context_used=404))
    meter.take(RoundSummary(drafted=5, verified=4, accepted=1, context_used=406))
    assert (meter.accepted_length, meter.tokens_per_second, meter.context_used) == (3.0, 2.0, 406)
    stats = GenerationStats(completion_tokens=6, passes=2, decode_seconds=2.0, context_used=406)
    meter.take(Finished("stop", (), stats))
    meter.end()
    assert (meter.phase, meter.tokens) == ("idle", 6)
    assert (meter.tokens_per_second, meter.accepted_length) == (stats.tokens_per_second, stats.accepted_length)


def test_thinking_that_is_stopped_has_a_duration_too() -> None:
    clock = Clock()
    meter = LiveMeter(clock)
    meter.begin()
    meter.take(TextDelta("hm", "reasoning"))
    clock.now += 2
    meter.end()
    assert meter.thinking_seconds == 2


@pytest.mark.parametrize("width", range(1, 140))
def test_the_status_line_never_exceeds_its_width(width: int) -> None:
    meter = LiveMeter(passes=3, tokens=9, context_used=412, tokens_per_second=123.4, accepted_length=3.21)
    line = status_line(DEMO, meter, thinking=True, width=width)
    assert len(line) <= width
    if width >= 76:
        for figure in ("demo", "123.4 tok/s", "3.21 tok/pass", "412", "(20%)", "spec", "think"):
            assert figure in line


def test_the_status_line_tells_how_speculation_fares_in_words_that_fit() -> None:
    meter = LiveMeter(passes=3, tokens=9, context_used=412, tokens_per_second=123.4, accepted_length=3.21)
    assert "│ spec on │" in status_line(DEMO, meter, thinking=True, width=140)
    meter.take(RoundSummary(5, 4, 3, 412, speculation=SpeculationState("on", 1.6, 5, 0.18)))
    assert "│ spec on, 2 of 5, +18 % │" in status_line(DEMO, meter, thinking=True, width=140)
    assert status_line(DEMO, meter, thinking=True, width=76).endswith("│ ctx 412 (20%) │ spec +18 % │ think")
    meter.take(RoundSummary(0, 0, 0, 413))  # a pass that tells nothing new
    assert "│ spec on, 2 of 5, +18 % │" in status_line(DEMO, meter, thinking=True, width=140)
    meter.take(RoundSummary(0, 0, 0, 414, speculation=SpeculationState("paused", 1.6, 5, -0.06)))
    assert "│ spec paused: costs 6 % │" in status_line(DEMO, meter, thinking=True, width=140)
    foreign = ModelInfo("big", 0, device="remote", dtype="")
    assert "spec" not in status_line(foreign, LiveMeter(), thinking=False, width=140)


def test_a_conversation_that_is_not_on_disk_is_the_last_thing_the_line_leaves_out() -> None:
    meter = LiveMeter(passes=3, tokens=9, context_used=412, tokens_per_second=123.4, accepted_length=3.21)
    assert status_line(DEMO, meter, thinking=True, width=140, unsaved=True).startswith("NOT SAVED │ dspark-demo")
    assert status_line(DEMO, meter, thinking=True, width=12, unsaved=True) == "NOT SAVED"
    assert status_line(None, meter, thinking=True, width=80, unsaved=True).startswith("NOT SAVED │ no model")


def test_a_narrow_line_shortens_first_and_then_drops_the_least_important() -> None:
    segments = [Segment("important", 9), Segment("long words", 5, "lw"), Segment("spare", 1)]
    assert fit(segments, 40) == "important │ long words │ spare"
    assert fit(segments, 24) == "important │ lw │ spare"
    assert fit(segments, 15) == "important │ lw"
    assert fit(segments, 5) == "impo…"


def test_words_for_loading_reading_and_context() -> None:
    assert loading_label(LoadProgress("mapping", 41, 100)) == "Loading the model 41% · mapping"
    assert loading_label(LoadProgress("", 0, 0)) == "Loading the model"
    reading = LiveMeter(phase="reading", prefill=(512, 1400))
    assert phase_label(reading).startswith("Reading the prompt 512/1,400 tokens")
    assert (context_label(412, 2048), context_label(412, 0)) == ("412/2,048 (20%)", "412")


def test_the_footer_says_how_an_answer_ended() -> None:
    turn = Conversation().begin("x")
    turn.state, turn.completion_tokens, turn.tokens_per_second, turn.accepted_length = "stopped", 1200, 41.26, 3.4
    assert footer_text(turn) == "stopped · 1,200 tokens · 41.3 tok/s · 3.40 tok/pass"
    turn.state = "complete"
    assert footer_text(turn).startswith("1,200 tokens")


@pytest.mark.parametrize("seed", range(20))
def test_the_open_block_buffer_changes_neither_order_nor_content(seed: int) -> None:
    rng = random.Random(seed)
    pieces = ["word ", "- item\n", "\n", "\n\n", "```\n", "~~~\n", "x" * 30, "| a | b |\n", "世界 "]
    text = "".join(rng.choice(pieces) for _ in range(400))
    buffer, shown, position = OpenBlockBuffer(200), "", 0
    while position < len(text):
        size = rng.randint(1, 40)
        shown += buffer.feed(text[position : position + size])
        position += size
        assert shown + buffer.held == text[:position]
    assert shown + buffer.drain() == text


def test_a_long_open_block_is_held_back_until_it_closes() -> None:
    buffer = OpenBlockBuffer(50)
    assert buffer.feed("short paragraph\n\n") == "short paragraph\n\n"
    assert buffer.feed("```\n") == "```\n"
    assert buffer.feed("code\n\n" * 10) == ""
    assert buffer.held.count("code") == 10
    assert buffer.feed("```\nafter").startswith("code")
    assert buffer.held == ""
