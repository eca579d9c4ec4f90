"""What the panel shows, from plain events: sources, figures and words."""

from __future__ import annotations

import pytest

from dspark_local.answer_stream import ClientEvent, RoundSummary
from dspark_local.engine_facts import EngineFacts, ExpertTraffic, GraphicsMemory, MemoryPart, SystemMemory
from dspark_local.events import Finished, GenerationStats, SpeculationState, TextDelta, ToolCallStarted
from dspark_tui.engine_panel_figures import PanelFigures
from dspark_tui.engine_panel_text import bar, legend, memory_lines, session_lines, speculation_lines
from dspark_tui.token_sources import TokenSources

GIB = 2**30


def a_pass(*texts: str, accepted: int, drafted: int = 5, copied: int = 0, **extra: object) -> RoundSummary:
    return RoundSummary(drafted, accepted, accepted, 9, copied=copied, texts=texts, **extra)  # type: ignore[arg-type]


def sources_of(*events: ClientEvent) -> TokenSources:
    sources = TokenSources()
    sources.begin()
    for event in events:
        sources.take(event)
    return sources


END = Finished("stop", ())


def test_kept_drafts_are_drafted_and_the_last_token_of_a_pass_is_the_models_own() -> None:
    sources = sources_of(TextDelta("One two three"), a_pass(" two", " three", accepted=1), END)
    assert sources.runs == [("One", "own"), (" two", "draft"), (" three", "own")]
    assert sources.counts == {"own": 1, "draft": 1, "lookup": 0}


def test_drafts_that_lengthen_a_block_from_the_text_are_copied() -> None:
    sources = sources_of(TextDelta("abcd"), a_pass("a", "b", "c", "d", accepted=3, drafted=5, copied=3), END)
    assert sources.runs == [("ab", "draft"), ("c", "lookup"), ("d", "own")]


def test_a_block_from_the_text_alone_is_copied() -> None:
    sources = sources_of(TextDelta("ab"), a_pass("a", "b", accepted=1, drafted=1, copied=1, source="lookup"), END)
    assert sources.runs == [("a", "lookup"), ("b", "own")]


def test_an_end_inside_the_block_leaves_no_token_of_the_models_own() -> None:
    sources = sources_of(TextDelta("ab"), a_pass("a", "b", "", accepted=3), END)
    assert sources.runs == [("ab", "draft")]
    assert sources.counts["draft"] == 3


def test_text_held_back_keeps_the_source_of_its_token() -> None:
    sources = sources_of(
        TextDelta("x"), a_pass("x", " <", accepted=1), TextDelta(" <b"), a_pass("b", "", accepted=0, drafted=0), END
    )
    assert sources.runs == [("x", "draft"), (" <b", "own")]


def test_half_a_token_held_back_does_not_shift_what_follows() -> None:
    sources = sources_of(
        TextDelta("a st"), a_pass("a", " stop", accepted=2), TextDelta("opcd"), a_pass("c", "d", accepted=0), END
    )
    assert sources.runs == [("a stop", "draft"), ("cd", "own")]


def test_reasoning_and_answer_are_paragraphs_although_one_pass_decided_both() -> None:
    sources = sources_of(
        TextDelta("Hm so", "reasoning"), TextDelta("Yes"), a_pass(" so", "", "Yes", accepted=3), TextDelta(" no"),
        a_pass(" no", accepted=0), END,
    )  # fmt: skip
    assert "".join(text for text, _ in sources.runs) == "Hm so\n\nYes no"
    assert (" so", "draft") in sources.runs
    assert ("Yes", "draft") in sources.runs


def test_markup_of_a_tool_call_is_skipped_and_what_comes_later_finds_its_place() -> None:
    sources = sources_of(
        TextDelta("ok"), a_pass("ok", accepted=1),
        ToolCallStarted(0, "call", "f"), a_pass("invoke", "name", accepted=2),
        TextDelta("zz"), a_pass("z", "z", accepted=1), END,
    )  # fmt: skip
    assert sources.runs == [("okz", "draft"), ("z", "own")]


def test_whatever_the_texts_say_the_streamed_text_is_shown_whole() -> None:
    events = [TextDelta("other words"), a_pass("what", "ever", accepted=1), TextDelta(" end"), a_pass("!", accepted=0)]
    assert "".join(text for text, _ in sources_of(*events, END).runs) == "other words end"


def test_a_server_that_tells_no_texts_still_has_its_text_shown() -> None:
    sources = sources_of(TextDelta("abc"), RoundSummary(0, 0, 0, 3), TextDelta("def"))
    assert list(sources.tail(4)) == [("cdef", "own")]
    assert not sources.is_told
    assert "does not tell" in legend(sources, 80, is_answered=True).plain


def test_the_tail_is_cut_inside_a_run() -> None:
    sources = sources_of(TextDelta("abcdef"), a_pass("abcd", "ef", accepted=1), END)
    assert list(sources.tail(3)) == [("d", "draft"), ("ef", "own")]


def test_acceptance_is_counted_by_place_and_shown_with_its_numbers() -> None:
    figures = PanelFigures()
    figures.begin()
    for accepted in (3, 1, 0):
        done = RoundSummary(5, 3, accepted, 9, draft_seconds=0.1, verify_seconds=0.3)
        figures.take(done)
    figures.take(RoundSummary(5, 0, 0, 9, speculation=SpeculationState("paused", gain=-0.06)))
    lines = speculation_lines(figures, 44).plain.splitlines()
    assert lines[0] == "Speculation paused: costs 6 %"
    assert [line.split()[-2:] for line in lines[1:4]] == [["67%", "2/3"], ["33%", "1/3"], ["33%", "1/3"]]
    assert lines[4] == "2.00 tokens a pass, 4 passes"
    assert lines[5] == "time: 25% drafting, 75% verifying"
    assert max(map(len, lines)) <= 44


def test_places_of_a_long_copy_share_a_line() -> None:
    figures = PanelFigures()
    figures.take(RoundSummary(24, 24, 12, 30, source="lookup", copied=24))
    lines = speculation_lines(figures, 44).plain.splitlines()
    assert lines[7].startswith(" 7+")
    assert lines[7].endswith("33% 6/18")


def test_the_session_adds_up_answers_whole_and_stopped() -> None:
    figures = PanelFigures()
    figures.begin()
    figures.take(TextDelta("a"))
    figures.take(RoundSummary(5, 4, 3, 9, draft_seconds=0.5, verify_seconds=0.5))
    figures.begin()
    figures.take(TextDelta("a"))
    figures.take(Finished("stop", (), GenerationStats(completion_tokens=17, passes=4, decode_seconds=1.0)))
    assert (figures.answers, figures.tokens, figures.tokens_per_second) == (2, 20, 10.0)
    assert session_lines(figures, None).plain == "Session 2 answers, 20 tokens, 10.0 tok/s"


def facts(**more: object) -> EngineFacts:
    ram = SystemMemory(32 * GIB, 20 * GIB, 8 * GIB)
    return EngineFacts("v4", "cpu", ram, 3725.0, 2, 1, 3, **more)  # type: ignore[arg-type]


def test_without_a_card_there_is_no_vram_line_and_it_is_said_why() -> None:
    parts = (MemoryPart("window", "ram", GIB, GIB), MemoryPart("weights", "disk", 147 * 10**9, 147 * 10**9))
    lines = memory_lines(facts(parts=parts, experts=ExpertTraffic(7, 10**9, 0)), 44, is_ours=True).plain
    assert "no VRAM: the model computes on the CPU" in lines
    assert not any(line.startswith("VRAM") for line in lines.splitlines())
    assert "8.00 GiB of 32.00 GiB" in lines
    assert "plan 1.00 GiB, 20.00 GiB available" in lines
    assert "147.0 GB of weights mapped from disk" in lines
    assert "experts: 1.0 GB read, 7 fetches" in lines


def test_with_a_card_vram_stands_against_its_plan_and_copies_are_counted() -> None:
    parts = (MemoryPart("weights", "vram", 9 * GIB), MemoryPart("experts", "disk", 10**11))
    card = GraphicsMemory(16 * GIB, 6 * GIB, 10 * GIB)
    lines = memory_lines(facts(parts=parts, vram=card, experts=ExpertTraffic(7, 10**9, 10**8)), 44, is_ours=True).plain
    assert "10.00 GiB of 16.00 GiB" in lines.splitlines()[1]
    assert "plan 9.00 GiB, 6.00 GiB free" in lines
    assert "100.0 MB of it to the card" in lines
    assert max(map(len, lines.splitlines()[:-1])) <= 44


def test_who_is_busy_is_told() -> None:
    assert "1 of 2 slots busy, 3 waiting, up 1 h 2 min" in session_lines(PanelFigures(), facts()).plain


@pytest.mark.parametrize(("share", "drawn"), [(0, "░░░░"), (1, "████"), (2, "████"), (0.5, "██░░"), (0.28125, "█▏░░")])
def test_bars_are_filled_in_eighths(share: float, drawn: str) -> None:
    assert bar(share, 4) == drawn
