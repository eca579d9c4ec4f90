"""A coding agent as a program that is asked one thing."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Agent:
    """A binary and what it is run with, in a home of its own."""

    binary: Path
    arguments: tuple[str, ...]
    environment: dict[str, str]
    home: Path

    def ask(self, prompt: str, *arguments: str) -> str:
        """What it prints about one turn."""
        # The prompt comes first: some options take any number of values.
        command = [str(self.binary), *self.arguments, prompt, *arguments]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home), **self.environment}
        done = subprocess.run(
            command,
            env=environment,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout
