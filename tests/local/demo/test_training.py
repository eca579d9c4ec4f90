import json
from pathlib import Path

import pytest
import torch

from dspark_local.demo.train import SMOKE_MINUTES, main
from dspark_local.engine.calibration import load_calibration


def test_all_stages_run_end_to_end_and_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for stage in SMOKE_MINUTES:  # a second each: what is learnt is tests/models/training's question
        monkeypatch.setitem(SMOKE_MINUTES, stage, 1 / 60)
    folder = tmp_path / "run"
    main(["all", "--smoke", "--folder", str(folder), "--threads", "1"])
    out = folder / "checkpoint"
    index = json.loads((out / "model.safetensors.index.json").read_text())
    assert {(out / f).exists() for f in index["weight_map"].values()} == {True}
    assert "mtp.2.confidence_head.proj.weight" in index["weight_map"]
    figures = json.loads((folder / "figures.json").read_text())
    assert figures["chat"]["accepted_length"] >= 1.0
    # The engine has played the exported checkpoint in every regime.
    assert [regime for regime, _ in load_calibration(out, 5).regimes] == [0.0, 0.6, 1.0]
    document = json.loads((out / "dspark_calibration.json").read_text())
    assert len(document["temperatures"]) == 5
    assert document["regimes"]["0.6"]["num_samples"] == 60
    # A finished stage that is started again has no budget left and only measures.
    before = torch.load(folder / "target.pt", weights_only=True)["step"]
    main(["target", "--smoke", "--folder", str(folder), "--threads", "1", "--minutes", "0.001"])
    assert torch.load(folder / "target.pt", weights_only=True)["step"] == before
    assert "final" in capsys.readouterr().out
