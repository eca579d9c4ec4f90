"""Coding agents of others, installed with npm and pointed at this server. Run with: pytest tests/agents -m agents

DSPARK_AGENTS_DIR names a folder that holds, or shall hold, the installed agents (640 MB); pytest's cache by default.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.agents.agent import Agent

ROOT = Path(__file__).parents[2]
# Releases beside which the tests were written. Their install scripts are not run: the binaries come as packages.
PACKAGES = ("@anthropic-ai/claude-code@2.1.197", "@openai/codex@0.169.0")
KEY = "secret"


@pytest.fixture(scope="session")
def npm_folder(request: pytest.FixtureRequest) -> Path:
    given = os.environ.get("DSPARK_AGENTS_DIR")
    folder = Path(given) if given else request.config.cache.mkdir("agents")
    modules = folder / "node_modules"
    if not (modules / "@openai").exists():
        if shutil.which("npm") is None:
            pytest.skip("npm is not installed")
        command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder), *PACKAGES]
        installed = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
        if installed.returncode:
            pytest.skip(f"npm could not install the agents: {installed.stderr[-300:]}")
    return modules


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Starts `python ARGUMENTS`, a server that prints where it listens; the URL once the model is loaded."""
    running: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> str:
        path = os.pathsep.join([str(ROOT), *(part for part in sys.path if part)])
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path, "DSPARK_API_KEY": KEY},
        )
        running.append(process)
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        while httpx.get(f"{url}/health", timeout=30).json()["status"] == "loading":
            time.sleep(0.1)
        return url

    yield start
    for process in running:
        process.terminate()
        process.wait(30)


@pytest.fixture
def claude_code(npm_folder: Path, tmp_path: Path) -> Callable[[str], Agent]:
    def pointed_at(url: str) -> Agent:
        environment = {
            "ANTHROPIC_BASE_URL": url,
            "ANTHROPIC_API_KEY": KEY,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
        }
        binary = next(npm_folder.glob("@anthropic-ai/claude-code-*/claude"))
        return Agent(binary, ("--print", "--output-format", "json"), environment, tmp_path)

    return pointed_at


@pytest.fixture
def codex(npm_folder: Path, tmp_path: Path) -> Callable[[str], Agent]:
    def pointed_at(url: str) -> Agent:
        folder = tmp_path / ".codex"
        folder.mkdir()
        provider = f'name = "local"\nbase_url = "{url}/v1"\nwire_api = "responses"\nenv_key = "LOCAL_KEY"\n'
        head = 'model = "dspark-demo"\nmodel_provider = "local"\n'
        (folder / "config.toml").write_text(f"{head}[model_providers.local]\n{provider}")
        (tmp_path / "terse.md").write_text("You are terse.")
        binary = next(npm_folder.glob("@openai/codex-*/vendor/*/bin/codex"))
        environment = {"CODEX_HOME": str(folder), "LOCAL_KEY": KEY}
        return Agent(binary, ("exec", "--skip-git-repo-check", "--json"), environment, tmp_path)

    return pointed_at
