"""The words of the status line."""

from __future__ import annotations

import pytest

from dspark_local.backend import ModelInfo
from dspark_local.events import SpeculationState, TextDelta
from dspark_tui.meter import LiveMeter
from dspark_tui.status import context_label, status_line

INFO = ModelInfo("deepseek-v4-flash", 131_072, draft_block_size=5)


def busy() -> LiveMeter:
    clock = iter((10.0, 10.0, 12.5, 12.5, 12.5)).__next__
    meter = LiveMeter(clock)
    meter.begin()
    meter.take(TextDelta("so"))
    meter.tokens_per_second, meter.accepted_length, meter.context_used = 21.34, 2.5, 65_000
    meter.speculation = SpeculationState("on", verified=2.0, block_size=5, gain=0.18)
    return meter


def test_a_wide_line_tells_all_figures_in_order() -> None:
    assert status_line(INFO, busy(), thinking=True, width=200, memory="VRAM 11.2 of 24 GiB").split(" │ ") == [
        "deepseek-v4-flash",
        "21.3 tok/s",
        "2.50 tok/pass",
        "first token 2.5 s",
        "context 65,000/131,072 (50%) ▰▰▰▱▱",
        "spec on, 2 of 5, +18 %",
        "VRAM 11.2 of 24 GiB",
        "thinking on",
        "F1 help",
    ]


def test_at_80_columns_the_least_important_figures_go_and_the_rest_stays_whole() -> None:
    line = status_line(INFO, busy(), thinking=True, width=76)
    assert len(line) <= 76
    assert line == "deepseek-v4-flash │ 21.3 tok/s │ 2.50 tok/pass │ ctx 65,000 (50%)"


@pytest.mark.parametrize(
    ("used", "length", "said"),
    [
        (0, 2048, "0/2,048"),
        (12, 131_072, "12/131,072"),
        (656, 131_072, "656/131,072 (1%)"),
        (412, 2048, "412/2,048 (20%)"),
        (412, 0, "412"),
    ],
)
def test_a_share_of_the_context_that_rounds_to_nothing_is_left_out(used: int, length: int, said: str) -> None:
    assert context_label(used, length) == said


@pytest.mark.parametrize(("used", "cells"), [(1, "▰▱▱▱▱"), (820, "▰▰▰▱▱"), (1640, "▰▰▰▰▰"), (5000, "▰▰▰▰▰")])
def test_the_bar_fills_with_the_context_and_never_overflows(used: int, cells: str) -> None:
    meter = LiveMeter()
    meter.context_used = used
    line = status_line(ModelInfo("m", 2048), meter, thinking=False, width=200)
    assert line.split(" │ ")[1].endswith(f" {cells}")
