"""Running the output parser over fragments, and generating outputs, good and bad, to run it over."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from dspark_local.events import TextDelta, ToolArgumentsDelta, ToolCallStarted
from dspark_local.protocols.event_list import EventList, ParserEvent
from dspark_local.protocols.output_parser import OutputParser
from dspark_local.protocols.special_tokens import MARKUP_TOKENS
from dspark_local.request import ThinkingMode

D = "｜DSML｜"


@dataclass
class Parsed:
    """What a reader of the events ends up with."""

    content: str = ""
    reasoning: str = ""
    names: list[str] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)
    problems: tuple[str, ...] = ()

    @property
    def objects(self) -> list[Any]:
        return [json.loads(text) for text in self.arguments]


def run_parser(
    fragments: Iterable[str],
    thinking: ThinkingMode,
    *,
    tools: Sequence[Mapping[str, Any]] = (),
    truncated: bool = False,
) -> tuple[list[ParserEvent], tuple[str, ...]]:
    """Events with neighbours of a kind joined, and the problems."""
    numbers = count()
    parser = OutputParser(thinking, tools=tools, new_call_id=lambda: f"call_{next(numbers)}")
    events = [event for fragment in fragments for event in parser.push(fragment)]
    return joined([*events, *parser.finish(truncated=truncated)]), parser.problems


def joined(events: Iterable[ParserEvent]) -> list[ParserEvent]:
    out = EventList()
    for event in events:
        if isinstance(event, TextDelta):
            out.text(event.text, event.channel)
        elif isinstance(event, ToolCallStarted):
            out.call(event.index, event.id, event.name)
        else:
            out.arguments(event.index, event.text)
    return out.take()


def parse(text: str, thinking: ThinkingMode = "chat", **options: Any) -> Parsed:
    """Parse character by character, the hardest cut."""
    events, problems = run_parser(text, thinking, **options)
    parsed = Parsed(problems=problems)
    for event in events:
        if isinstance(event, ToolCallStarted):
            assert (event.index, event.id) == (len(parsed.names), f"call_{len(parsed.names)}")
            parsed.names.append(event.name)
            parsed.arguments.append("")
        elif isinstance(event, ToolArgumentsDelta):
            parsed.arguments[event.index] += event.text
        elif event.channel == "content":
            parsed.content += event.text
        else:
            parsed.reasoning += event.text
    return parsed


def block(*invokes: str) -> str:
    return f"\n\n<{D}tool_calls>\n" + "\n".join(invokes) + f"\n</{D}tool_calls>"


def invoke(name: str, *parameters: str) -> str:
    return f'<{D}invoke name="{name}">\n' + "\n".join(parameters) + f"\n</{D}invoke>"


def parameter(name: str, value: str, kind: str = "true") -> str:
    return f'<{D}parameter name="{name}" string="{kind}">{value}</{D}parameter>'


_SCRAPS = (
    *MARKUP_TOKENS,
    f"<{D}",
    f"</{D}",
    f"<{D}tool_calls>",
    f"</{D}tool_calls>",
    f"<{D}toolcalls>",
    f"<{D}tool>",
    f'<{D}invoke name="f">',
    f'<{D}invoke name="g"\n',
    f"<{D}invoke>",
    f"</{D}invoke>",
    f'<{D}parameter name="a" string="true">',
    f'<{D}parameter name="b" string="false">',
    f'<{D}parameter name="arguments">',
    f'<{D}parameter name="un"closed" string="true">',
    f"</{D}parameter>",
    f"<{D}nonsense>",
    '{"a": 1}',
    "[1, 2",
    '"',
    "\\",
    "<",
    "｜",
    "</",
    ">",
    "\n",
    "\n\n",
    " ",
    "word",
    "你好",
    "😀",
    "a < b",
)


def random_output(rng: random.Random) -> str:
    """Anything a confused model may write."""
    return "".join(rng.choice(_SCRAPS) for _ in range(rng.randrange(1, 25)))


def random_fragments(rng: random.Random, text: str) -> list[str]:
    cuts = sorted(rng.choices(range(len(text) + 1), k=rng.randrange(8)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
