"""chat.toml with everything that it may hold, switched off by comments."""

from __future__ import annotations

from dspark_tui.actions import ACTIONS

_HEAD = """\
# Settings of dspark-chat. Every line is optional; take the # away to make it hold.

# theme = "textual-dark"        # /theme shows them all
# notify = true                 # ring when an answer ends while the terminal is in the background
# mouse = false                 # leave selecting and copying to the terminal
# default_preset = "precise"    # how new conversations begin
"""
_PRESETS = """
# [presets.precise]
# system_prompt = "Answer briefly."
# temperature = 0.2
# top_p = 0.95
# top_k = 40
# min_p = 0.05
# repetition_penalty = 1.1
# max_tokens = 2000
# seed = 1
# thinking = true
# reasoning_effort = "high"     # high or max
"""


def example() -> str:
    """The text of the file; with the comment signs taken away it says what holds anyway, and shows a preset."""
    keys = (
        f'# {f"""{action.id} = "{action.keys}" """:<40} # {action.title}'.rstrip() for action in ACTIONS if action.title
    )
    return "\n".join((_HEAD, "# [keys]", *keys, _PRESETS))
