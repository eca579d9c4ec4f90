"""Where the product keeps what it writes: settings, logs, conversations, models of its own making, an engine's address.

Folders follow the platform's convention; DSPARK_HOME, when set, holds all of them (tests and portable installs).
Every folder is created on first use with mode 0700, because conversations are private.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import platformdirs

_APP_NAME = "dspark-local"


def state_dir() -> Path:
    """Folder of everything that must survive a restart; created when missing. Raises OSError."""
    home = os.environ.get("DSPARK_HOME")
    return _private(Path(home) if home else Path(platformdirs.user_state_dir(_APP_NAME, appauthor=False)))


def log_dir() -> Path:
    """Folder of log files; created when missing. Raises OSError."""
    return _private(state_dir() / "logs")


def config_dir() -> Path:
    """Folder of what a person sets by hand; created when missing. Raises OSError."""
    home = os.environ.get("DSPARK_HOME")
    return _private(Path(home) if home else Path(platformdirs.user_config_dir(_APP_NAME, appauthor=False)))


def models_dir() -> Path:
    """Folder of the models that we write ourselves; created when missing. Raises OSError.

    Models are data, not state: they are large, can be fetched again, and belong on whatever disk the data is on.
    """
    home = os.environ.get("DSPARK_HOME")
    data = Path(home) if home else Path(platformdirs.user_data_dir(_APP_NAME, appauthor=False))
    return _private(data / "models")


def warm_engine_file() -> Path:
    """File that names the engine left running by `dspark-chat --keep-warm`; it need not exist."""
    return state_dir() / "engine.json"


def write_atomically(path: Path, text: str) -> None:
    """Replace `path` with `text` (UTF-8, mode 0600) in one step: a crash leaves the old file or the new one.

    Raises OSError when the disk refuses.
    """
    # mkstemp creates the file with mode 0600; being in the same folder, the replacement is one rename.
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _private(folder: Path) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
