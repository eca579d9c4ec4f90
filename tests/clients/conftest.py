"""Clients of others that the project does not depend on, each in an environment of its own: pytest -m clients -n 0

DSPARK_CLIENTS_DIR names a folder that holds, or shall hold, what is installed (1.2 GB); pytest's cache by default.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

ROOT = Path(__file__).parents[2]
DRIVERS = Path(__file__).parent / "drivers"
KEY = "secret"

# Releases beside which the tests were written. aider names exact versions of half a hundred packages, so it is alone.
NPM = ("openai@6.49.0",)
PIP = {"python": ("litellm==1.110.2", "langchain-openai==1.7.4"), "aider": ("aider-chat==0.86.2",)}

Told = dict[str, Any]


class Servers(NamedTuple):
    """Where the demo and the scripted engine listen."""

    demo: str
    script: str


def install(command: Sequence[str], what: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode:
        pytest.skip(f"{what} could not be installed: {done.stderr[-300:]}")


@pytest.fixture(scope="session")
def folder(request: pytest.FixtureRequest) -> Path:
    given = os.environ.get("DSPARK_CLIENTS_DIR")
    return Path(given) if given else request.config.cache.mkdir("clients")


@pytest.fixture(scope="session")
def npm_modules(folder: Path) -> Path:
    if not (folder / "node_modules" / "openai").exists():
        if shutil.which("npm") is None:
            pytest.skip("npm is not installed")
        options = ("--no-audit", "--no-fund", "--ignore-scripts")
        install(["npm", "install", *options, "--prefix", str(folder), *NPM], "the npm client")
    return folder


@pytest.fixture(scope="session")
def binaries(folder: Path) -> Callable[[str], Path]:
    """The folder of the programs of one environment, which is made when it is first asked for."""

    def of(name: str) -> Path:
        home = folder / name
        finished = home / "finished"
        if not finished.exists():
            install([sys.executable, "-m", "venv", "--clear", str(home)], "an environment")
            install([str(home / "bin" / "pip"), "install", "--quiet", *PIP[name]], " and ".join(PIP[name]))
            finished.touch()
        return home / "bin"

    return of


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    path = os.pathsep.join([str(ROOT), *(part for part in sys.path if part)])
    environment = {**os.environ, "PYTHONPATH": path, "DSPARK_API_KEY": KEY}
    programs = (("-m", "dspark_local", "serve", "--port", "0"), ("-m", "tests.clients.script_engine"))
    running: list[subprocess.Popen[str]] = []
    try:
        for arguments in programs:
            command = [sys.executable, *arguments]
            running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment))
        urls = []
        for process in running:
            assert process.stdout is not None
            urls.append(process.stdout.readline().split()[-1])
            while httpx.get(f"{urls[-1]}/health", timeout=30).json()["status"] == "loading":
                time.sleep(0.1)
        yield Servers(*urls)
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(30)


@pytest.fixture(scope="session")
def quiet_environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A home without settings, in which nothing is fetched and nothing reported."""
    home = str(tmp_path_factory.mktemp("home"))
    offline = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LANGSMITH_TRACING": "false", "HF_HUB_OFFLINE": "1"}
    return {"PATH": os.environ["PATH"], "HOME": home, **offline}


def cancelled(servers: Servers) -> int:
    """How many answers of the scripted engine were stopped because nobody read them."""
    metrics = httpx.get(f"{servers.script}/metrics", headers={"Authorization": f"Bearer {KEY}"}, timeout=30).text
    found = re.search(r'^dspark_requests_total{outcome="cancelled"} (\S+)$', metrics, re.MULTILINE)
    return int(float(found[1])) if found else 0


def tell(command: Sequence[str], servers: Servers, environment: dict[str, str]) -> Told:
    """What a driver prints about what its client did, and how many answers the server stopped meanwhile."""
    before = cancelled(servers)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    told: Told = json.loads(done.stdout.splitlines()[-1])
    deadline = time.monotonic() + 3  # the whole answer takes longer
    while cancelled(servers) == before and time.monotonic() < deadline:
        time.sleep(0.05)
    return told | {"cancelled": cancelled(servers) - before}


@pytest.fixture(scope="session")
def npm_openai(npm_modules: Path, servers: Servers, quiet_environment: dict[str, str]) -> Told:
    command = ["node", str(DRIVERS / "openai.mjs"), str(npm_modules), *servers, KEY]
    return tell(command, servers, quiet_environment)


@pytest.fixture(scope="session")
def python_client(
    binaries: Callable[[str], Path], servers: Servers, quiet_environment: dict[str, str]
) -> Callable[[str], Told]:
    """What litellm or langchain tells; each is run once."""
    known: dict[str, Told] = {}

    def told_by(name: str) -> Told:
        if name not in known:
            command = [str(binaries("python") / "python"), str(DRIVERS / f"with_{name}.py"), *servers, KEY]
            known[name] = tell(command, servers, quiet_environment)
        return known[name]

    return told_by
