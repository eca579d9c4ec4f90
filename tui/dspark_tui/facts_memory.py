"""What was known of the models the last time: shown at once, while the seconds of counting anew go by."""

from __future__ import annotations

import contextlib
from pathlib import Path

from dspark_local.paths import state_dir, write_atomically
from dspark_tui.model_facts import AllFacts


def keep_facts(facts: AllFacts) -> None:
    """Write them; a disk that refuses costs only a wait the next time."""
    with contextlib.suppress(OSError):
        write_atomically(_path(), facts.model_dump_json())


def recalled_facts() -> AllFacts | None:
    """Those of the last time; None where there are none that this version reads."""
    with contextlib.suppress(OSError, ValueError):
        return AllFacts.model_validate_json(_path().read_bytes())
    return None


def _path() -> Path:
    return state_dir() / "models-seen.json"
