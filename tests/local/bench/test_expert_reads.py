"""`dspark-local bench --experts`: reads are cold, of the right bytes, and compared like with like."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from dspark_local import cli
from dspark_local.bench import expert_source, expert_table
from dspark_local.bench.expert_reads import AHEAD, FAULTS, RAW, choose, measure
from dspark_local.bench.expert_source import Expert, ExpertSource, Read
from dspark_local.errors import UsageError
from dspark_local.hardware.disk import filesystem_type
from dspark_models.read_ahead import ReadAhead
from tests.models.expert_bank.sources import repack

EXPERTS = 6
ROWS, COLUMNS = 1024, 1024
NBYTES = 3 * (ROWS * COLUMNS // 2 + ROWS * COLUMNS // 32)


def write_model(path: Path, *, experts: int = EXPERTS, rows: int = ROWS, columns: int = COLUMNS) -> Path:
    """Two layers of random FP4 experts in the order in which safetensors stores them."""
    path.mkdir(parents=True)
    random_bytes = torch.Generator().manual_seed(0)
    for layer in range(2):
        tensors = {"norm.weight" if layer else "embed.weight": torch.zeros(2**18)}
        for expert in range(experts):
            for name in ("w1", "w2", "w3"):
                prefix = f"layers.{layer}.ffn.experts.{expert}.{name}"
                codes = torch.randint(-128, 128, (rows, columns // 2), dtype=torch.int8, generator=random_bytes)
                tensors[f"{prefix}.weight"] = codes
                scales = torch.full((rows, columns // 32), 121, dtype=torch.uint8)
                tensors[f"{prefix}.scale"] = scales.view(torch.float8_e8m0fnu)
        save_file(tensors, path / f"model-{layer}.safetensors")
    (path / "config.json").write_text("{}")
    return path


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("reads") / "tiny")


@pytest.fixture(scope="module")
def repacked(published: Path) -> Path:
    return repack(published, published.with_name("tiny-repacked"))


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSPARK_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DSPARK_DEBUG", raising=False)


@pytest.fixture
def counted(published: Path) -> None:
    """Leave where nothing says what came from the disk."""
    if not os.path.exists("/proc/self/io") or not hasattr(os, "RWF_NOWAIT"):
        pytest.skip("only Linux counts what a process reads, and takes questions ahead")
    if filesystem_type(published) == "tmpfs":
        pytest.skip("the tests' temporary folder lies in memory")


def expect_counted(read: Read) -> int:
    assert read.disk_bytes is not None
    return read.disk_bytes


@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize("layout", ["published", "repacked"])
def test_every_read_is_cold_also_of_an_expert_that_was_just_read(layout: str, request: pytest.FixtureRequest) -> None:
    source, expert = ExpertSource(request.getfixturevalue(layout), layout), ("layers.1", 3)
    for _ in range(2):
        for read in (
            source.fetch(expert, ask=False),
            source.fetch(expert, ask=True),
            source.read_raw(expert, random.Random(0)),
        ):
            assert expect_counted(read) >= NBYTES
            assert read.seconds > 0


@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize("layout", ["published", "repacked"])
def test_asked_ahead_only_the_pages_of_the_expert_come_from_the_disk(
    layout: str, request: pytest.FixtureRequest
) -> None:
    source = ExpertSource(request.getfixturevalue(layout), layout)
    source.fetch(("layers.0", 1), ask=True)  # opening the model set off reads of its own
    reads = [source.fetch((layer, expert), ask=True) for layer in ("layers.0", "layers.1") for expert in (0, 1, 3)]
    assert {read.nbytes for read in reads} == {NBYTES}
    assert all(expect_counted(read) >= NBYTES for read in reads)
    assert max(map(expect_counted, reads)) <= NBYTES + 2 * 6 * 4096


@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize("layout", ["published", "repacked"])
def test_mapping_the_files_sets_off_no_reads_that_the_timed_one_would_compete_with(
    layout: str, request: pytest.FixtureRequest
) -> None:
    source = ExpertSource(request.getfixturevalue(layout), layout)
    source.fetch(("layers.0", 1), ask=True)
    before = expert_source._disk_bytes()
    assert before is not None
    read = source.fetch(("layers.0", 3), ask=True)
    after = expert_source._disk_bytes()
    assert after is not None
    assert after - before - expect_counted(read) < 64 * 1024


@pytest.mark.usefixtures("counted")
def test_raw_reads_go_past_the_page_cache(published: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    with expert_source.open_raw(published / "model-0.safetensors") as file:
        assert fcntl.fcntl(file, fcntl.F_GETFL) & os.O_DIRECT


def test_only_the_way_that_asks_asks_and_for_the_whole_expert(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def record(self: ReadAhead, infos: Any) -> bool:
        asked.append(sum(info.nbytes for info in infos))
        return True

    monkeypatch.setattr(ReadAhead, "ask", record)
    source = ExpertSource(published, "tiny")
    source.fetch(("layers.0", 1), ask=False)
    assert asked == []
    source.fetch(("layers.0", 1), ask=True)
    assert asked == [NBYTES]


def test_a_raw_read_is_an_expert_in_whole_pages(published: Path, repacked: Path) -> None:
    for path in (published, repacked):
        read = ExpertSource(path, "tiny").read_raw(("layers.0", 0), random.Random(1))
        assert NBYTES <= read.nbytes < NBYTES + 4096 * 4


def test_a_file_that_is_smaller_than_a_page_is_read_raw_as_far_as_it_goes(tmp_path: Path) -> None:
    parts = {f"layers.0.ffn.experts.0.{name}.weight": torch.zeros(8, 8) for name in ("w1", "w2", "w3")}
    save_file(parts, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text("{}")
    source = ExpertSource(tmp_path, "tiny")
    assert source.fetch(("layers.0", 0), ask=True).nbytes == 768
    assert source.read_raw(("layers.0", 0), random.Random(0)).nbytes == (tmp_path / "model.safetensors").stat().st_size


def test_a_file_system_that_refuses_direct_reads_is_read_through_the_cache(
    published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not hasattr(os, "O_DIRECT"):
        pytest.skip("this system has no direct reads")
    real = os.open

    def refuse(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        if flags & os.O_DIRECT:
            raise OSError(22, "Invalid argument", str(path))
        return real(path, flags, *rest, **named)

    monkeypatch.setattr(os, "open", refuse)
    assert ExpertSource(published, "tiny").read_raw(("layers.0", 0), random.Random(0)).nbytes >= NBYTES


def test_all_ways_of_both_directories_read_the_same_experts_once_each(
    published: Path, repacked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: Counter[tuple[str, str, Expert]] = Counter()

    def fetch(self: ExpertSource, expert: Expert, *, ask: bool) -> Read:
        seen[self.name, AHEAD if ask else FAULTS, expert] += 1
        return Read(0.5 if ask else 2.0, NBYTES, None)

    def read_raw(self: ExpertSource, expert: Expert, draw: random.Random) -> Read:
        seen[self.name, RAW, expert] += 1
        return Read(0.25 if self.name == "a" else 0.125, NBYTES, None)

    monkeypatch.setattr(ExpertSource, "fetch", fetch)
    monkeypatch.setattr(ExpertSource, "read_raw", read_raw)
    monkeypatch.setattr(ExpertSource, "is_asked_ahead", lambda self, expert: True)
    sources, done = [ExpertSource(published, "a"), ExpertSource(repacked, "b")], []
    experts = choose(sources, 5, random.Random(0))
    seen.clear()
    reads = measure(sources, experts, random.Random(0), lambda *told: done.append(told))
    warm_up = Counter({(source.name, FAULTS, experts[0]): 1 for source in sources})
    assert len(set(experts)) == 5
    assert seen - warm_up == Counter({(n, w, e): 1 for n in "ab" for w in (FAULTS, AHEAD, RAW) for e in experts})
    assert done == [(number, 30) for number in range(1, 31)]
    first, second = reads.sources
    assert (first.is_repacked, second.is_repacked) == (False, True)
    assert first.speedup(AHEAD, FAULTS) == 4.0
    assert first.ways[AHEAD].to_raw == 0.5
    assert second.ways[AHEAD].to_raw == 0.25
    assert first.ways[FAULTS].bytes_per_second == NBYTES / 2
    assert first.ways[FAULTS].disk_bytes is None
    assert reads.is_cold is None
    assert expert_table.report_object(reads)["second_to_first"] == {FAULTS: 1.0, AHEAD: 1.0, RAW: 2.0}


def scripted(monkeypatch: pytest.MonkeyPatch, disk_bytes: Callable[[], int]) -> None:
    def read(self: ExpertSource, *_: Any, **__: Any) -> Read:
        return Read(0.1, NBYTES, disk_bytes())

    monkeypatch.setattr(ExpertSource, "fetch", read)
    monkeypatch.setattr(ExpertSource, "read_raw", read)


@pytest.mark.parametrize(("disk_bytes", "is_cold"), [(NBYTES, True), (NBYTES // 2, False), (0, False)])
def test_reads_that_did_not_come_from_the_disk_are_said_not_to_be_cold(
    disk_bytes: int, is_cold: bool, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, lambda: disk_bytes)
    source = ExpertSource(published, "tiny")
    reads = measure([source], choose([source], 2, random.Random(0)), random.Random(0))
    assert reads.is_cold is is_cold
    assert any("Not all cold" in note for note in expert_table.notes(reads)) is not is_cold


def test_a_system_whose_cache_cannot_be_emptied_is_said_to_be_one(
    published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expert_source, "CAN_FORGET", False)
    monkeypatch.setattr(expert_table, "CAN_FORGET", False)
    source = ExpertSource(published, "tiny")
    reads = measure([source], choose([source], 2, random.Random(0)), random.Random(0))
    assert "the page cache cannot be emptied" in expert_table.notes(reads)[0]


def test_more_experts_than_there_are_means_all(published: Path) -> None:
    source = ExpertSource(published, "tiny")
    assert set(choose([source], 10**6, random.Random(0))) == source.experts
    assert len(source.experts) == 2 * EXPERTS


def test_another_model_is_no_other_layout(published: Path, tmp_path: Path) -> None:
    other = ExpertSource(write_model(tmp_path / "other", experts=2, rows=512), "other")
    with pytest.raises(UsageError, match="tiny and other do not have the same experts"):
        choose([ExpertSource(published, "tiny"), other], 2, random.Random(0))


def test_a_model_without_experts_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_file({"norm.weight": torch.zeros(8)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text("{}")
    assert cli._run(["bench", "--experts", "--model", str(tmp_path)]) == 2
    assert "has no routed experts" in capsys.readouterr().err


def test_tables_fit_the_screen_and_compare_both_layouts(
    published: Path, repacked: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["bench", "--experts", "--model", str(published), "--against", str(repacked), "--count", "3"]
    assert cli._run(arguments) == 0
    out, err = capsys.readouterr()
    assert out.startswith("3 experts of 1.7 MB\n\ntiny, as published\nway ")
    assert "\ntiny-repacked, repacked\nway " in out
    assert "\nSecond over first: page faults " in out
    assert all(len(line) <= 80 for line in out.splitlines())
    assert "\x1b" not in out + err
    assert err.startswith("measured in ")


def test_json_is_one_object_without_paths(published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli._run(["bench", "--experts", "--model", str(published), "--count", "2", "--json"]) == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert (report["experts"], report["nbytes"]) == (2, [NBYTES, NBYTES])
    (source,) = report["sources"]
    assert (source["name"], source["is_repacked"]) == ("tiny", False)
    assert {FAULTS, RAW} <= source["ways"].keys()
    assert source["ways"][RAW]["to_raw"] == 1.0
    assert str(published) not in out
    assert not err


def test_experts_too_small_to_ask_for_are_said_to_be_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli._run(["bench", "--experts", "--count", "2"]) == 0
    out = capsys.readouterr().out
    assert "The engine does not ask ahead here: less than 1.0 MB" in out
    assert "\nasked ahead  the" in out  # in the legend alone
    assert out.count("\nasked ahead") == 1


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (["--spec", "--experts"], "two measurements", 2),
        (["--spec", "--against", "elsewhere"], "--against is for --experts", 2),
        (["--experts", "--model", "./absent"], "There is no absent", 4),
    ],
)
def test_wrong_usage_is_told(arguments: list[str], said: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli._run(["bench", *arguments]) == code
    assert said in capsys.readouterr().err
