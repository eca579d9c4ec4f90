"""What an empty conversation shows: what this is, questions to start with, the keys that matter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from dspark_local.backend import ModelInfo
from dspark_tui.first_run import first_run_text
from dspark_tui.keymap import Keymap, keymap
from dspark_tui.model_facts import AllFacts

DEMO_QUESTIONS = ("What is speculative decoding?", "What is 27 + 48?", "Write a Python function that adds two numbers.")
QUESTIONS = (
    "Explain speculative decoding in three sentences.",
    "Write a Python function that merges two sorted lists.",
    "What should I look at first in a crash dump?",
)
_QUESTION_ACTIONS = ("example_1", "example_2", "example_3")

_ABOUT = (
    "A chat with a language model that runs on this computer. A small draft proposes several tokens, the model checks "
    "them in one pass, and the text is exactly the model's own."
)
_DEMO = (
    "This is the bundled demo: a very small model of the real architecture. It knows a tiny world: this program and "
    "speculative decoding, sums with steps, short Python functions, little stories. Other questions get nonsense. "
    "{models} shows real ones."
)
_DEMO_SHORT = (
    "The demo, a very small model of the real architecture, answers now: on speculative decoding, sums, short Python "
    "functions, little stories, and no more."
)
_KEYS = (("stop", "stop"), ("models", "models"), ("help", "all keys"))


class Question(Static, can_focus=True):
    """An example question; by click, Enter, or its function key."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter,space", "ask", "Ask", show=False)]

    @dataclass
    class Asked(Message):
        """The person chose this question."""

        text: str

    def __init__(self, key: str, text: str) -> None:
        super().__init__(markup=False)
        self.text = text
        self.tell_key(key)

    def tell_key(self, key: str) -> None:
        """The key that asks it; it may have none."""
        self.update(Content.assemble((key or "·", "bold $text-primary"), f"  {self.text}"))

    def on_click(self) -> None:
        """Ask it."""
        self.action_ask()

    def action_ask(self) -> None:
        """Ask it."""
        self.post_message(self.Asked(self.text))


class Welcome(Vertical):
    """Shown until the first prompt is sent."""

    DEFAULT_CSS = """
    Welcome .newcomer { height: auto; }
    """

    class Shown(Message):
        """A welcome stands on the screen; who knows more may tell it."""

    def __init__(self, info: ModelInfo | None, keys: Keymap | None = None) -> None:
        super().__init__()
        self._keys = keys or keymap({})
        self.questions = DEMO_QUESTIONS if info is None or info.is_demo else QUESTIONS
        self._is_demo = info is not None and info.is_demo

    def compose(self) -> ComposeResult:
        """Words, questions, keys."""
        yield Static("dspark-local", classes="title", markup=False)
        yield Static(_ABOUT, classes="about", markup=False)
        if self._is_demo:
            yield Static(_DEMO.format(models=self._keys.first("models")), classes="demo", markup=False)
        with Vertical(classes="questions"):
            for action, text in zip(_QUESTION_ACTIONS, self.questions, strict=True):
                yield Question(self._keys.label(action), text)
        yield Static(self._key_words(), classes="keys", markup=False)

    def _key_words(self) -> str:
        named = [f"{key} {words}" for action, words in _KEYS if (key := self._keys.first(action))]
        return "   ".join(["Enter send", "Ctrl+J new line", *named])

    def tell_keys(self, keys: Keymap) -> None:
        """chat.toml has had its say."""
        self._keys = keys
        for question, action in zip(self.query(Question), _QUESTION_ACTIONS, strict=False):
            question.tell_key(keys.label(action))
        for line in self.query(".keys").results(Static):
            line.update(self._key_words())

    def on_mount(self) -> None:
        """Say so."""
        self.post_message(self.Shown())

    async def tell_newcomer(self, facts: AllFacts) -> None:
        """Somebody without a model and without a conversation: say what this computer can run, instead of the rest."""
        for told in self.query(".newcomer"):
            await told.remove()
        if (abouts := self.query(".about")) and self.is_attached:
            await self.mount(Static(first_run_text(facts), classes="newcomer", markup=False), after=abouts.first())
            abouts.first().display = False
        for demo in self.query(".demo").results(Static):
            demo.update(_DEMO_SHORT)
