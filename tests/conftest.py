"""What every test needs: the helpers under tests/ as `tests.<area>.<module>`, a small share of the machine, and folders
and a hub that are not the user's own."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# Appended, so that an installed wheel wins over the checkout when that is what is under test.
sys.path.append(str(Path(__file__).resolve().parents[1]))

# One thread each for the workers and the processes that tests start: they would take the cores from each other, tiny
# matrices gain nothing from threads, and sums are taken in one order on every machine. Read when torch is imported.
os.environ["OMP_NUM_THREADS"] = "1"

# huggingface_hub reads its settings once, when it is first imported, so a fixture would come too late. Nobody listens
# on port 9: a test that forgets to name a stand-in fails at once instead of asking the real hub.
_HUB_HOME = tempfile.TemporaryDirectory(prefix="dspark-tests-hf-")
for _name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE"):
    os.environ.pop(_name, None)
os.environ["HF_HOME"] = _HUB_HOME.name
os.environ["HF_ENDPOINT"] = "http://127.0.0.1:9"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"


ASKED_FOR = ("agents", "clients")
"""Marks of suites that install other people's programs, by the gigabyte: nobody's ordinary run does that."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what -m does not name."""
    unasked = [mark for mark in ASKED_FOR if mark not in (config.option.markexpr or "")]
    left_out = [item for item in items if any(item.get_closest_marker(mark) for mark in unasked)]
    if left_out:
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


def pytest_unconfigure() -> None:
    """Leave nothing behind."""
    _HUB_HOME.cleanup()


@pytest.fixture(scope="session", autouse=True)
def _own_state_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Costs and calibrations learnt by tests are neither read from nor left on the machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DSPARK_HOME", str(tmp_path_factory.mktemp("state")))
        yield
