"""simonw's llm, a program of its own, configured by `connect` and answered by a scripted model."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from dspark_local import cli
from dspark_local.server.app import create_app
from dspark_local.server.guard import Access
from dspark_local.server.operations import install_operations
from dspark_local.server.worker import EngineWorker
from tests.local.scripted import scripted_backend

ANSWER = "Twelve times seven is 84."
KEY = "sk-local-91"

pytest.importorskip("llm", reason="llm is a development dependency")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    worker = EngineWorker(lambda progress: scripted_backend(tmp_path / "model", ANSWER))
    app = create_app(worker, Access(KEY))
    residence = install_operations(app, lambda: pytest.fail("nothing here unloads"))
    listener = socket.create_server(("127.0.0.1", 0))
    uvicorn_server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
    thread = threading.Thread(target=uvicorn_server.run, kwargs={"sockets": [listener]})
    (tmp_path / "model").mkdir()
    worker.start()
    thread.start()
    while worker.state == "loading":
        pass
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    assert residence.close(5.0)
    uvicorn_server.should_exit = True
    thread.join(10)


def test_llm_answers_through_what_connect_wrote(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LLM_USER_PATH", str(tmp_path / "llm"))
    monkeypatch.setenv("DSPARK_API_KEY", KEY)
    with pytest.raises(SystemExit):
        cli.main(["connect", "llm", "--url", server, "--write", "--yes"])
    assert 'model_name: "scripted"' in capsys.readouterr().out
    env = {name: value for name, value in os.environ.items() if name not in ("OPENAI_API_KEY", "OPENAI_BASE_URL")}
    command = [sys.executable, "-m", "llm", "-m", "dspark", "--key", KEY, "What is 12 times 7?"]
    answer = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == ANSWER
