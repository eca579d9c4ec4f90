"""What a conversation's settings make of a request, and how they are said."""

from __future__ import annotations

import pytest

from dspark_local.errors import UsageError
from dspark_local.request import SamplingSettings
from dspark_tui.presets import apply_preset, changed, in_force, preset_of, sampling_of
from dspark_tui.settings_file import Preset
from tests.tui.fake_engine import DEMO


def test_what_a_preset_leaves_out_is_the_models_own() -> None:
    assert sampling_of(Preset(), DEMO) == SamplingSettings(temperature=DEMO.recommended_temperature)
    given = Preset(temperature=0.3, top_p=0.9, top_k=40, min_p=0.05, repetition_penalty=1.1, max_tokens=9, seed=0)
    expected = SamplingSettings(0.3, 40, 0.9, 0.05, 1.1, seed=0, max_tokens=9)
    assert sampling_of(given, DEMO, 1.5) == expected
    assert sampling_of(Preset(), DEMO, 1.5).temperature == 1.5


def test_a_preset_replaces_all_that_was_set_before_and_nothing_else() -> None:
    settings = {"temperature": 1.9, "seed": 3, "thinking": True, "other": "kept"}
    apply_preset(settings, Preset(system_prompt="Rhyme.", top_p=0.5), "poet")
    assert settings == {"system_prompt": "Rhyme.", "top_p": 0.5, "preset": "poet", "other": "kept"}
    assert preset_of(settings) == Preset(system_prompt="Rhyme.", top_p=0.5)
    assert in_force(settings) == "poet · top p 0.5 · system prompt “Rhyme.”"


def test_settings_of_a_foreign_file_that_make_no_sense_count_as_not_there() -> None:
    assert preset_of({"temperature": "hot", "top_k": -3, "seed": 4, "system_prompt": None}) == Preset(seed=4)


@pytest.mark.parametrize(
    ("name", "text"), [("temperature", "warm"), ("temperature", "3"), ("top_p", "0"), ("max_tokens", "1.5")]
)
def test_a_value_that_makes_no_sense_is_refused_by_name(name: str, text: str) -> None:
    with pytest.raises(UsageError, match=name):
        changed(Preset(), name, text)


def test_a_decimal_comma_is_understood_and_nothing_takes_the_models_own() -> None:
    assert changed(Preset(), "temperature", " 0,7 ").temperature == 0.7
    assert changed(Preset(temperature=0.7), "temperature", "") == Preset()


def test_an_effort_is_one_of_the_models_two_levels() -> None:
    efforts = [changed(Preset(), "reasoning_effort", text).reasoning_effort for text in ("High", "max", "")]
    assert efforts == ["high", "max", None]
    with pytest.raises(UsageError, match="reasoning_effort"):
        changed(Preset(), "reasoning_effort", "enormous")
