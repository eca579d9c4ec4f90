"""Special tokens and the layout of conversations (DeepSeek-V4's chat encoding)."""

from __future__ import annotations

from dataclasses import dataclass

from dspark_local.demo.domains.turn import Turn

BOS = "<｜begin▁of▁sentence｜>"
EOS = "<｜end▁of▁sentence｜>"
NOISE = "<｜noise｜>"
USER = "<｜User｜>"
ASSISTANT = "<｜Assistant｜>"
THINK = "<think>"
END_THINK = "</think>"
DSML = "｜DSML｜"
REMINDER = "<｜latest_reminder｜>"

# Order gives the ids: BOS 0, EOS 1, noise 2.
SPECIAL = (BOS, EOS, NOISE, USER, ASSISTANT, THINK, END_THINK, DSML, REMINDER)
NOISE_ID = SPECIAL.index(NOISE)


@dataclass(frozen=True)
class Conversation:
    """Turns with an optional system prompt, in chat or thinking mode."""

    system: str
    turns: tuple[Turn, ...]
    thinking: bool


def prompt_of(conversation: Conversation) -> str:
    """Everything before the last answer; earlier turns carry no reasoning."""
    text = BOS + conversation.system
    for turn in conversation.turns[:-1]:
        answer = turn.after_thinking if conversation.thinking else turn.answer
        text += f"{USER}{turn.question}{ASSISTANT}{END_THINK}{answer}{EOS}"
    opening = THINK if conversation.thinking else END_THINK
    return f"{text}{USER}{conversation.turns[-1].question}{ASSISTANT}{opening}"


def answer_of(conversation: Conversation) -> str:
    """The last answer, with its reasoning in thinking mode."""
    last = conversation.turns[-1]
    if conversation.thinking:
        return f"{last.reasoning}{END_THINK}{last.after_thinking}{EOS}"
    return f"{last.answer}{EOS}"


def segments(conversation: Conversation) -> list[tuple[str, bool]]:
    """The whole text in pieces: (text, whether the model is to learn to write it)."""
    pieces: list[tuple[str, bool]] = [(BOS + conversation.system, False)]
    for turn in conversation.turns[:-1]:
        answer = turn.after_thinking if conversation.thinking else turn.answer
        pieces.append((f"{USER}{turn.question}{ASSISTANT}{END_THINK}", False))
        pieces.append((answer + EOS, True))
    opening = THINK if conversation.thinking else END_THINK
    pieces.append((f"{USER}{conversation.turns[-1].question}{ASSISTANT}{opening}", False))
    pieces.append((answer_of(conversation), True))
    return pieces
