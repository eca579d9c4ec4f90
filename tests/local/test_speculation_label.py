from __future__ import annotations

import pytest

from dspark_local.events import SpeculationState
from dspark_local.speculation_label import speculation_label


@pytest.mark.parametrize(
    ("state", "words", "brief"),
    [
        (SpeculationState(), "off", "off"),
        (SpeculationState("on"), "on", "on"),
        (SpeculationState("on", 1.6, 5), "on, 2 of 5", "2/5"),
        (SpeculationState("on", 2.5, 5, 0.18), "on, 3 of 5, +18 %", "+18 %"),
        (SpeculationState("on", 0.2, 5, 1.8), "on, <1 of 5, +180 %", "+180 %"),
        (SpeculationState("on", 2.0, 5, -0.004), "on, 2 of 5, 0 %", "0 %"),
        (SpeculationState("on", 2.0, 5, 0.004), "on, 2 of 5, 0 %", "0 %"),
        (SpeculationState("on", 2.0, 5, -0.03), "on, 2 of 5, -3 %", "-3 %"),
        (SpeculationState("on", 5.6, 5, 0.75), "on, 6 a round, +75 %", "+75 %"),
        (SpeculationState("on", 5.6, 5), "on, 6 a round", "6 a round"),
        (SpeculationState("on", 3.2, 0), "on, 3 a round", "3 a round"),
        (SpeculationState("paused"), "paused", "paused"),
        (SpeculationState("paused", 2.0, 5, -0.06), "paused: costs 6 %", "paused"),
        (SpeculationState("paused", 2.0, 5, -0.004), "paused: gains nothing", "paused"),
        (SpeculationState("paused", 2.0, 5, 0.04), "paused: would gain 4 %", "paused"),
        (SpeculationState("off", 2.0, 5, 0.5), "off", "off"),
    ],
)
def test_the_state_is_said_in_whole_drafts_and_whole_percent(state: SpeculationState, words: str, brief: str) -> None:
    assert speculation_label(state) == words
    assert speculation_label(state, brief=True) == brief
