from __future__ import annotations

import random

import pytest

from dspark_local.protocols.stop_strings import StopStrings


def feed(stops: list[str], fragments: list[str]) -> tuple[str, bool]:
    watch = StopStrings(stops)
    out = ""
    for fragment in fragments:
        text, stopped = watch.push(fragment)
        out += text
        if stopped:
            return out, True
    return out + watch.finish(), False


def first_complete(stops: list[str], text: str) -> tuple[str, bool]:
    """The rule itself: grow the text by one character until it ends with a stop; the longest such stop is cut."""
    for end in range(1, len(text) + 1):
        ended = [stop for stop in stops if text[:end].endswith(stop)]
        if ended:
            return text[: end - max(map(len, ended))], True
    return text, False


@pytest.mark.parametrize(
    ("stops", "text", "expected"),
    [
        (["\n\n"], "one\ntwo\n\nthree", ("one\ntwo", True)),
        (["END"], "EN", ("EN", False)),
        (["abcd", "bc"], "xabcd", ("xa", True)),
        (["bc", "abc"], "xabc", ("x", True)),
        (["aab"], "aaab", ("a", True)),
        ([], "anything", ("anything", False)),
        (["好的"], "你好好的吧", ("你好", True)),
    ],
)
def test_text_is_cut_before_the_stop_that_is_complete_first(
    stops: list[str], text: str, expected: tuple[str, bool]
) -> None:
    assert feed(stops, [text]) == expected
    assert feed(stops, list(text)) == expected


def test_only_a_possible_beginning_of_a_stop_is_held_back() -> None:
    watch = StopStrings(["###"])
    assert watch.push("text #") == ("text ", False)
    assert watch.push("#") == ("", False)
    assert watch.push("x") == ("##x", False)


def test_nothing_comes_after_a_stop() -> None:
    watch = StopStrings(["."])
    assert watch.push("a.b") == ("a", True)
    assert watch.push("c") == ("", True)
    assert watch.finish() == ""


def test_fragmentation_never_changes_the_result() -> None:
    rng = random.Random(3)
    for _ in range(2000):
        stops = ["".join(rng.choices("ab", k=rng.randrange(1, 5))) for _ in range(rng.randrange(1, 4))]
        text = "".join(rng.choices("abc", k=rng.randrange(20)))
        cuts = sorted(rng.choices(range(len(text) + 1), k=rng.randrange(5)))
        fragments = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        assert feed(stops, fragments) == first_complete(stops, text), (stops, fragments)
