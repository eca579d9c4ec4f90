"""What every test needs: the helpers under tests/ as `tests.<area>.<module>`, a small share of the machine, and a state
folder that is not the user's own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Appended, so that an installed wheel wins over the checkout when that is what is under test.
sys.path.append(str(Path(__file__).resolve().parents[1]))


@pytest.fixture(scope="session", autouse=True)
def _own_state_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Costs and calibrations learnt by tests are neither read from nor left on the machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DSPARK_HOME", str(tmp_path_factory.mktemp("state")))
        yield
