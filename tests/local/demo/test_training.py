import json
from pathlib import Path

import pytest
import torch

from dspark_local.demo.scaling import calibration_error, errors, fit
from dspark_local.demo.train import main


def test_calibration_error_of_a_constant() -> None:
    p = torch.full((100,), 0.8)
    outcome = (torch.arange(100) < 60).float()
    assert calibration_error(p, outcome) == pytest.approx(0.2, abs=1e-6)


def test_scaling_repairs_overconfident_logits() -> None:
    generator = torch.Generator().manual_seed(0)
    true = torch.randn(6000, 3, generator=generator).double() + 1.0
    hits = torch.rand(6000, 3, generator=generator) < torch.sigmoid(true)
    accepted = hits.long().cumprod(1).sum(1)
    logits = true * 3.0
    temperatures = fit(logits, accepted)
    before = errors(logits, accepted, torch.ones(3))
    after = errors(logits, accepted, temperatures)
    assert all(a < 0.5 * b for a, b in zip(after, before, strict=True))
    assert temperatures[0] == pytest.approx(3.0, rel=0.2)


def test_all_stages_run_end_to_end_and_resume(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    main(["all", "--smoke", "--folder", str(folder), "--threads", "1"])
    out = folder / "checkpoint"
    index = json.loads((out / "model.safetensors.index.json").read_text())
    assert {(out / f).exists() for f in index["weight_map"].values()} == {True}
    assert "mtp.2.confidence_head.proj.weight" in index["weight_map"]
    calibration = json.loads((out / "dspark_calibration.json").read_text())
    assert len(calibration["temperatures"]) == 5
    # A finished stage that is started again has no budget left and only measures.
    before = torch.load(folder / "target.pt", weights_only=True)["step"]
    main(["target", "--smoke", "--folder", str(folder), "--threads", "1", "--minutes", "0.001"])
    assert torch.load(folder / "target.pt", weights_only=True)["step"] == before
    assert "final" in capsys.readouterr().out
