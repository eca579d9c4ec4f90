"""What every test needs: the helpers under tests/ as `tests.<area>.<module>`, and a small share of the machine."""

from __future__ import annotations

import sys
from pathlib import Path

# Appended, so that an installed wheel wins over the checkout when that is what is under test.
sys.path.append(str(Path(__file__).resolve().parents[1]))
