"""Loading costs the checkpoint's size on disk and a named constant, never a second copy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.models.big_checkpoint import write_big_checkpoint

PROGRAM = """
import json, sys
from pathlib import Path

import torch
from dspark_models import LOAD_OVERHEAD_BYTES, Run, load_drafter, load_target


def kib(field):
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(field + ":"))


torch.set_num_threads(1)
path = Path(sys.argv[1])
target = load_target(path, dtype=sys.argv[2], device="cpu", context_length=512, max_sequences=1)
load_drafter(path, target, max_sequences=1)
loaded = kib("RssAnon")
sequence = target.new_sequence()
for _ in range(2):
    target.forward([Run(sequence, torch.arange(24))])
print(json.dumps({
    "loaded": loaded * 1024, "anonymous": kib("RssAnon") * 1024, "peak": kib("VmHWM") * 1024,
    "overhead": LOAD_OVERHEAD_BYTES, "weights": target.bytes_held()["weights"],
}))
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the kernel's own memory counters"),
]


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    path = tmp_path_factory.mktemp("big") / "model"
    size = write_big_checkpoint(path)
    yield path, size
    for file in path.iterdir():  # pytest keeps its directories for three runs; 2 GB are too much for that
        file.unlink()


@pytest.mark.parametrize("dtype", ["float32", "auto", "bfloat16"])
def test_peak_memory_of_loading_is_the_size_on_disk_and_a_constant(big: tuple[Path, int], dtype: str) -> None:
    path, size = big
    assert size >= 2_000_000_000
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path), dtype], env=environment, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    measured = json.loads(finished.stdout)
    assert measured["peak"] <= size + measured["overhead"], measured
    # Mapped pages hide a copy as long as the file has not been read whole; private memory does not.
    assert measured["anonymous"] <= measured["overhead"], measured
    assert measured["weights"] > 0.6 * size
