"""What the wheel holds: four packages, the demo's weights, and nothing that would shadow other people's packages."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {"dspark_local", "dspark_kernels", "dspark_models", "dspark_tui"}
DEMO_LIMIT_BYTES = 24_000_000


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_the_wheel_holds_the_four_packages_and_no_other(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES


def test_the_demo_pair_travels_in_the_wheel_within_its_size(wheel: zipfile.ZipFile) -> None:
    demo = [info for info in wheel.infolist() if info.filename.startswith("dspark_local/demo/weights/")]
    names = {Path(info.filename).name for info in demo}
    assert {"config.json", "tokenizer.json", "dspark_calibration.json", "model.safetensors.index.json"} <= names
    assert 1_000_000 < sum(info.file_size for info in demo) <= DEMO_LIMIT_BYTES


def test_the_style_sheet_of_the_chat_travels_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    assert "dspark_tui/app.tcss" in wheel.namelist()


@pytest.mark.parametrize("folder", ["kernels", "models", "tui", "tests"])
def test_bare_folders_are_no_packages(folder: str) -> None:
    assert not (ROOT / folder / "__init__.py").exists()


def test_no_bare_folder_of_ours_can_be_imported() -> None:
    code = (
        "import importlib.util as u\n"
        "found = [u.find_spec(name) for name in ('kernels', 'models', 'tui')]\n"
        "print([path for spec in found if spec for path in (spec.submodule_search_locations or [])])"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=ROOT.parent, check=True, capture_output=True, text=True
    )
    assert str(ROOT) not in done.stdout
