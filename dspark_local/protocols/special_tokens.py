"""Spellings of V4's special tokens. The bar is U+FF5C, the word joint U+2581. Source: tokenizer.json of the release."""

from __future__ import annotations

from typing import Literal

BOS = "<｜begin▁of▁sentence｜>"
EOS = "<｜end▁of▁sentence｜>"
USER = "<｜User｜>"
ASSISTANT = "<｜Assistant｜>"
LATEST_REMINDER = "<｜latest_reminder｜>"
THINK_OPEN = "<think>"
THINK_CLOSE = "</think>"
DSML = "｜DSML｜"
"""Only the bars and the letters are one token; the angle brackets and tag names around it are ordinary text."""

QuickTask = Literal["action", "query", "authority", "domain", "title", "read_url"]

TASK_TOKENS: dict[QuickTask, str] = {
    "action": "<｜action｜>",
    "query": "<｜query｜>",
    "authority": "<｜authority｜>",
    "domain": "<｜domain｜>",
    "title": "<｜title｜>",
    "read_url": "<｜read_url｜>",
}

CHAT_TOKENS = (BOS, EOS, USER, ASSISTANT, THINK_OPEN, THINK_CLOSE)
"""Without any one of these a tokenizer cannot carry a conversation."""

MARKUP_TOKENS = (*CHAT_TOKENS, LATEST_REMINDER, DSML, *TASK_TOKENS.values())
"""Every special token that the chat encoding can write."""
