from __future__ import annotations

import time
from typing import Any

import pytest

from dspark_tui.store import ConversationStore
from dspark_tui.widgets.composer import Composer
from dspark_tui.widgets.messages import AssistantMessage, UserMessage
from dspark_tui.widgets.notice import ErrorNotice
from dspark_tui.widgets.streaming_markdown import StreamingMarkdown
from dspark_tui.widgets.thinking import ThinkingBlock, ThinkingHeader
from dspark_tui.widgets.welcome import Question, Welcome
from tests.tui.fake_engine import ANSWER, REASONING, FakeBackend


def box(chat: Any) -> Composer:
    return chat.screen.query_one(Composer)  # type: ignore[no-any-return]


async def test_a_prompt_is_answered_shown_as_markdown_and_on_disk(open_chat: Any) -> None:
    async with open_chat(size=(100, 40)) as chat:
        await chat.send("What is a draft?")
        await chat.answered()
        turn = chat.screen.conversation.turns[0]
        assert (turn.answer, turn.state) == (ANSWER, "complete")
        await chat.until(lambda: "🙂 included." in chat.text())
        await chat.until(lambda: "**small draft**" not in chat.text())
        await chat.until(lambda: "small draft" in chat.text())
        assert chat.screen.query_one("StreamingMarkdown Markdown").source == ANSWER
        assert chat.saved() == chat.screen.conversation
        assert box(chat).text == ""


async def test_what_the_person_writes_is_never_read_as_markup(open_chat: Any) -> None:
    async with open_chat() as chat:
        prompt = "[bold]x[/bold] [link=http://a] *y*"
        await chat.send(f"echo {prompt}")
        await chat.answered()
        await chat.until(lambda: f"echo {prompt}" in chat.text())


async def test_the_status_line_tells_model_speed_accepted_length_context_and_speculation(open_chat: Any) -> None:
    async with open_chat(size=(170, 30)) as chat:
        await chat.until(lambda: "dspark-demo (demo model) │ context 0/2,048 │ spec on │" in chat.text())
        await chat.send("hello")
        await chat.answered()
        turn = chat.screen.conversation.turns[0]
        speeds = f"{turn.tokens_per_second:.1f} tok/s │ {turn.accepted_length:.2f} tok/pass"
        await chat.until(lambda: speeds in chat.text())
        used = chat.screen.meter.context_used
        assert used > 50
        await chat.until(lambda: f"context {used:,}/2,048 ({used / 2048:.0%})" in chat.text())
        await chat.until(lambda: "│ spec on, 2 of 5, +18 % │" in chat.text())


async def test_the_state_of_speculation_is_live_and_begins_anew_with_a_conversation(open_chat: Any) -> None:
    async with open_chat(size=(170, 30)) as chat:
        await chat.send("endless")
        await chat.until(lambda: "│ spec on, 2 of 5, +18 % │" in chat.text())
        assert chat.busy
        await chat.pilot.press("escape")
        await chat.answered()
        await chat.pilot.press("ctrl+n")
        await chat.until(lambda: "│ spec on │" in chat.text())


async def test_esc_stops_the_answer_keeps_the_partial_text_and_marks_it(
    open_chat: Any, engine: tuple[str, FakeBackend]
) -> None:
    async with open_chat() as chat:
        await chat.send("endless")
        await chat.until(lambda: len(chat.answer) > 50)
        await chat.pilot.press("escape")
        await chat.answered()
        turn = chat.screen.conversation.turns[0]
        assert turn.state == "stopped"
        assert turn.answer.startswith("word0 word1")
        await chat.until(lambda: "stopped ·" in chat.text())
        await chat.until(lambda: chat.screen.query_one("StreamingMarkdown Markdown").source == turn.answer)
        assert chat.saved().turns[0] == turn
        await chat.pilot.pause(0.1)
        passes = engine[1].passes
        await chat.pilot.pause(0.2)
        assert engine[1].passes == passes, "the engine went on after Esc"
        await chat.send("echo still here")
        await chat.answered()
        assert chat.screen.conversation.last_answer == "still here"


async def test_the_next_prompt_carries_the_conversation(open_chat: Any, engine: tuple[str, FakeBackend]) -> None:
    async with open_chat() as chat:
        for prompt in ("echo one", "echo two"):
            await chat.send(prompt)
            await chat.answered()
        request = engine[1].requests[-1]
        assert [message.content for message in request.messages] == ["echo one", "one", "echo two"]
        assert request.conversation_id == chat.screen.conversation.id
        assert request.sampling.temperature == 0.0


async def test_thinking_streams_in_its_own_block_which_folds_under_its_duration(open_chat: Any) -> None:
    async with open_chat(thinking=True) as chat:
        await chat.send("hello")
        await chat.answered()
        turn = chat.screen.conversation.turns[0]
        assert (turn.reasoning, turn.answer) == (REASONING, ANSWER)
        block = chat.screen.query_one(ThinkingBlock)
        await chat.until(lambda: not block.is_live)
        assert not block.is_open
        header = chat.screen.query_one(ThinkingHeader)
        assert str(header.visual) == "▸ Thought for 1 s"
        header.focus()
        await chat.pilot.press("enter")
        assert block.is_open
        assert block.query_one(".reasoning").display


async def test_ctrl_t_switches_thinking_for_the_next_answer(open_chat: Any) -> None:
    async with open_chat(size=(120, 30)) as chat:
        await chat.pilot.press("ctrl+t")
        await chat.hinted("Thinking is on")
        await chat.send("hello")
        await chat.answered()
        assert chat.screen.conversation.turns[0].reasoning == REASONING
        await chat.pilot.press("ctrl+t")
        await chat.send("hello")
        await chat.answered()
        assert chat.screen.conversation.turns[1].reasoning == ""
        assert not chat.screen.query(ThinkingBlock).last().display


@pytest.mark.parametrize("nothing", ["", "   \n "])
async def test_an_empty_prompt_is_ignored_with_a_hint(open_chat: Any, nothing: str) -> None:
    async with open_chat() as chat:
        await chat.send(nothing)
        await chat.hinted("Nothing to send yet")
        assert chat.screen.conversation.turns == []
        assert chat.screen.query(Welcome)


@pytest.mark.parametrize(
    ("prompt", "message"), [("this is too long", "The prompt has 3,000 tokens"), ("a fault", "a wire came loose")]
)
async def test_a_refused_prompt_returns_to_the_box_with_the_servers_message(
    open_chat: Any, prompt: str, message: str
) -> None:
    async with open_chat() as chat:
        await chat.send(prompt)
        await chat.until(lambda: message in chat.text())
        assert box(chat).text == prompt
        assert chat.screen.conversation.turns == []
        assert not chat.screen.query(UserMessage)
        assert not chat.screen.query(AssistantMessage)
        assert not chat.store.contains(chat.screen.conversation.id)
        box(chat).clear()
        await chat.send("echo fine")
        await chat.answered()
        assert chat.screen.conversation.last_answer == "fine"
        assert not chat.screen.query(ErrorNotice)


async def test_ctrl_n_begins_anew_and_leaves_the_old_conversation_on_disk(open_chat: Any) -> None:
    async with open_chat() as chat:
        await chat.send("echo old")
        await chat.answered()
        old = chat.screen.conversation.id
        await chat.pilot.press("ctrl+n")
        await chat.until(lambda: bool(chat.screen.query(Welcome)))
        assert chat.screen.conversation.turns == []
        assert not chat.screen.query(UserMessage)
        assert chat.store.load(old).last_answer == "old"
        assert chat.screen.meter.context_used == 0


async def test_enter_sends_ctrl_j_adds_a_line_and_the_box_grows_to_six(open_chat: Any) -> None:
    async with open_chat() as chat:
        assert box(chat).size.height == 1
        await chat.pilot.press("a", "ctrl+j", "b")
        assert box(chat).text == "a\nb"
        await chat.until(lambda: box(chat).size.height == 2)
        await chat.pilot.press(*["ctrl+j"] * 8)
        await chat.until(lambda: box(chat).size.height == 6)
        await chat.pilot.press("enter")
        await chat.answered()
        assert chat.screen.conversation.turns[0].prompt.startswith("a\nb")


async def test_up_in_an_empty_box_recalls_earlier_prompts_in_turn(open_chat: Any) -> None:
    async with open_chat() as chat:
        for prompt in ("echo one", "echo two"):
            await chat.send(prompt)
            await chat.answered()
        await chat.pilot.press("up")
        assert box(chat).text == "echo two"
        await chat.pilot.press("up")
        assert box(chat).text == "echo one"
        box(chat).clear()
        await chat.write("draft")
        await chat.pilot.press("up")
        assert box(chat).text == "draft"


async def test_an_example_question_is_asked_by_its_key_and_by_a_click(open_chat: Any) -> None:
    async with open_chat() as chat:
        await chat.pilot.press("f3")
        await chat.answered()
        assert chat.screen.conversation.turns[0].prompt == "What is 27 + 48?"
        await chat.pilot.press("f3")
        assert len(chat.screen.conversation.turns) == 1
        await chat.pilot.press("ctrl+n")
        await chat.until(lambda: len(chat.screen.query(Question)) == 3)
        await chat.pilot.pause()
        await chat.pilot.click(chat.screen.query(Question).first())
        await chat.answered()
        assert chat.screen.conversation.turns[0].prompt == "What is speculative decoding?"


async def test_ctrl_y_copies_the_answer_as_it_was_written(open_chat: Any) -> None:
    async with open_chat() as chat:
        await chat.pilot.press("ctrl+y")
        await chat.hinted("no answer to copy")
        await chat.send("hello")
        await chat.answered()
        await chat.pilot.press("ctrl+y")
        await chat.until(lambda: chat.app.clipboard == ANSWER)


async def test_ctrl_c_stops_an_answer_first_and_quits_only_when_pressed_twice(open_chat: Any) -> None:
    async with open_chat() as chat:
        await chat.send("endless")
        await chat.until(lambda: len(chat.answer) > 0)
        await chat.pilot.press("ctrl+c")
        await chat.answered()
        assert chat.screen.conversation.turns[0].state == "stopped"
        await chat.pilot.press("ctrl+c")
        await chat.hinted("again to quit")
        assert chat.app._exit is False
        chat.screen._quit_until = time.monotonic() + 60  # however slow this machine is
        await chat.pilot.press("ctrl+c")
        assert chat.app._exit is True


async def test_quitting_in_the_middle_of_an_answer_keeps_what_arrived(open_chat: Any) -> None:
    async with open_chat() as chat:
        await chat.send("endless")
        await chat.until(lambda: len(chat.answer) > 50)
        conversation = chat.screen.conversation
        await chat.pilot.press("ctrl+q")
    saved = ConversationStore(chat.store.path).load(conversation.id)
    assert saved.turns[0].answer.startswith("word0 word1")
    assert saved.turns[0].state == "stopped"


async def test_a_partial_answer_is_on_disk_while_it_streams(open_chat: Any) -> None:
    async with open_chat() as chat:
        await chat.send("endless")
        other = ConversationStore(chat.store.path)  # as another program sees the disk
        await chat.until(lambda: bool(other.load(chat.screen.conversation.id).last_answer))
        assert chat.saved().turns[0].state == "interrupted"  # as a crash at this moment would leave it
        await chat.pilot.press("escape")
        await chat.answered()


async def test_it_follows_the_answer_until_scrolled_up_and_not_after(open_chat: Any) -> None:
    async with open_chat() as chat:
        messages = chat.screen.query_one("#messages")
        await chat.send("endless")
        await chat.until(lambda: messages.max_scroll_y > 12)
        await chat.until(lambda: messages.scroll_y >= messages.max_scroll_y - 1)
        await chat.pilot.press("pageup")
        await chat.pilot.pause(0.4)
        held = messages.scroll_y
        grown = messages.max_scroll_y
        await chat.until(lambda: messages.max_scroll_y > grown + 2)
        assert messages.scroll_y == held
        await chat.pilot.press("escape")
        await chat.answered()


async def test_the_reading_phase_is_shown_before_the_first_token(open_chat: Any) -> None:
    async with open_chat() as chat:
        await chat.send("patience")
        await chat.until(lambda: "Reading the prompt" in chat.text())
        await chat.answered()


async def test_f1_shows_the_keys_and_closes_again(open_chat: Any) -> None:
    async with open_chat() as chat:
        await chat.pilot.press("f1")
        await chat.until(lambda: "Keys and commands" in chat.text() and "Enter          " in chat.text())
        await chat.pilot.press("escape")
        await chat.until(lambda: "Keys and commands" not in chat.text())


async def test_a_long_list_streams_whole_and_in_order(open_chat: Any) -> None:
    async with open_chat() as chat:
        text = "\n".join(f"- item {n} with **some** words" for n in range(120))
        await chat.send(f"echo {text}")
        await chat.answered()
        assert chat.screen.conversation.last_answer == text
        markdown = chat.screen.query_one(StreamingMarkdown)
        await chat.until(lambda: markdown.source == text)
        await chat.until(lambda: not markdown.query_one(".held").display)
