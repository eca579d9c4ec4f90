"""A repacked folder is the same model: every byte, every logit, every token."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.models.checkpoints import INDEX_NAME, Checkpoint, random_checkpoint
from tests.models.configs import FLASH, FLASH_ODD, PRO, RELEASE
from tests.models.expert_bank.sources import SMALL, bf16_experts, fp8_experts, repack, write_scattered
from tests.models.feeding import append, drafting, feed, sequences

Write = Callable[[Path], Path]

ORDER = ("w1.weight", "w1.scale", "w3.weight", "w3.scale", "w2.weight", "w2.scale")

SOURCES: dict[str, Write] = {
    "official": lambda path: random_checkpoint(FLASH, draft="dspark").write(path),
    "odd sizes": lambda path: random_checkpoint(FLASH_ODD, draft="dflash").write(path),
    "pro with plain mtp": lambda path: random_checkpoint(PRO, draft="mtp").write(path),
    "bf16 experts": lambda path: bf16_experts(SMALL, "dspark").write(path),
    "fp8 experts": lambda path: fp8_experts(SMALL, "dspark").write(path),
    "split experts": lambda path: write_scattered(random_checkpoint(SMALL, draft="dspark"), path),
    "split fp8 experts": lambda path: write_scattered(fp8_experts(SMALL, "mtp"), path, shards=7),
    "one file": lambda path: write_scattered(random_checkpoint(SMALL, draft="mtp"), path, shards=1),
}


@pytest.fixture(scope="module", params=SOURCES)
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return SOURCES[request.param](tmp_path_factory.mktemp("round_trip") / "source")


@pytest.fixture(scope="module")
def folder(source: Path) -> Path:
    """The source, repacked."""
    return repack(source, source.with_name("bank"))


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().view(torch.uint8).numpy().tobytes()


def test_every_tensor_is_bit_for_bit_what_safetensors_reads_from_the_source(source: Path, folder: Path) -> None:
    from dspark_models.checkpoint import Checkpoint as Opened

    opened = Opened.open(folder)
    expected = {name: tensor for shard in source.glob("*.safetensors") for name, tensor in load_file(shard).items()}
    assert opened.tensors.keys() == expected.keys()
    for name, tensor in expected.items():
        assert opened.get(name).dtype == tensor.dtype, name
        assert opened.get(name).shape == tensor.shape, name
        assert bits(opened.get(name)) == bits(tensor), name
        assert opened.tensors[name].nbytes == tensor.nbytes, name
    assert opened.weight_bytes == sum(tensor.nbytes for tensor in expected.values())


def test_every_expert_of_target_and_draft_is_one_aligned_record(folder: Path) -> None:
    from dspark_models.checkpoint import Checkpoint as Opened

    opened = Opened.open(folder)
    bank = opened.bank
    assert bank is not None
    blocks = {".".join(name.split(".")[:2]) for name in opened.tensors if ".ffn.experts." in name}
    assert set(bank.blocks) == blocks
    assert any(block.startswith("mtp.") for block in blocks)
    for block in blocks:
        numbers = {int(name.split(".")[4]) for name in opened.tensors if name.startswith(f"{block}.ffn.experts.")}
        for expert in numbers:
            record = bank.record(block, expert)
            assert record.offset % 4096 == record.nbytes % 4096 == 0
            names = [f"{block}.ffn.experts.{expert}.{part}" for part in ORDER]
            parts = b"".join(
                bits(opened.get(name)).ljust(-(-opened.tensors[name].nbytes // 64) * 64, b"\0")
                for name in names
                if name in opened.tensors
            )
            with record.path.open("rb") as file:
                file.seek(record.offset)
                assert file.read(record.nbytes) == parts.ljust(record.nbytes, b"\0")
    with pytest.raises(IndexError):
        bank.record("layers.0", 999)
    with pytest.raises(KeyError):
        bank.record("layers.999", 0)


def test_the_dense_files_are_plain_safetensors_with_an_index_of_their_own(folder: Path) -> None:
    listed = json.loads((folder / INDEX_NAME).read_text())
    found = {name: path.name for path in folder.glob("*.safetensors") for name in load_file(path)}
    assert listed["weight_map"] == found
    assert not [name for name in found if ".ffn.experts." in name]
    assert listed["metadata"]["total_size"] == sum(
        tensor.nbytes for path in folder.glob("*.safetensors") for tensor in load_file(path).values()
    )


def test_an_expert_of_flash_takes_a_whole_number_of_pages_without_padding() -> None:
    from dspark_models.expert_bank.layout import BlockLayout

    parts: dict[str, tuple[str, tuple[int, ...]]] = {}
    for name, rows, columns in (("w1", 2048, 4096), ("w3", 2048, 4096), ("w2", 4096, 2048)):
        parts[f"{name}.weight"] = ("I8", (rows, columns // 2))
        parts[f"{name}.scale"] = ("F8_E8M0", (rows, columns // 32))
    layout = BlockLayout.of("layers.0", 256, parts)
    assert layout.stride == sum(part.nbytes for part in layout.parts) == 13_369_344 == 3264 * 4096


@pytest.mark.parametrize(
    ("checkpoint", "dtype"),
    [
        (lambda: random_checkpoint(FLASH, draft="dspark"), "float32"),
        (lambda: random_checkpoint(RELEASE, draft="dspark"), "auto"),
        (lambda: fp8_experts(SMALL, "mtp"), "float32"),
        (lambda: bf16_experts(SMALL, "dspark"), "float32"),
    ],
    ids=["official", "the release's roundings", "fp8 experts with mtp", "bf16 experts"],
)
def test_both_layouts_give_identical_logits_drafts_and_greedy_tokens(
    checkpoint: Callable[[], Checkpoint], dtype: str, tmp_path: Path
) -> None:
    source = checkpoint().write(tmp_path / "source")
    original = decode(source, dtype)
    repacked = decode(repack(source, tmp_path / "bank"), dtype)
    assert torch.equal(original[0], repacked[0])
    assert original[1:] == repacked[1:]


def decode(path: Path, dtype: str) -> tuple[torch.Tensor, list[int], list[tuple[int, ...]]]:
    """Logits of a text, greedy tokens after it, and what the draft proposed on the way."""
    from dspark_models import load_drafter, load_target
    from dspark_models.protocols import DraftRequest
    from tests.models.drafts import Recorder

    target = load_target(path, dtype=dtype, device="cpu", context_length=128, max_sequences=1)
    drafter = load_drafter(path, target, max_sequences=1)
    assert drafter is not None
    ids = torch.randint(0, 500, (40,), generator=torch.Generator().manual_seed(1))
    with sequences(target) as (sequence,), drafting(drafter) as (draft,):
        logits, taps = feed(target, sequence, ids, [17, 23])
        drafter.observe(draft, 0, taps)
        answer, proposals = [int(logits[-1].argmax())], []
        while len(answer) < 12:
            position = len(ids) + len(answer) - 1
            block = drafter.draft([DraftRequest(draft, answer[-1], position, Recorder(), 0)])[0]
            proposals.append(tuple(block.ids))
            output = append(target, sequence, answer[-1:])
            drafter.observe(draft, position, output.taps)
            answer.append(int(output.logits[-1].argmax()))
    return logits, answer, proposals


def test_the_original_layout_still_opens_without_a_bank(tmp_path: Path) -> None:
    from dspark_models.checkpoint import Checkpoint as Opened

    opened = Opened.open(random_checkpoint(SMALL).write(tmp_path / "model"))
    assert opened.bank is None


def test_draft_and_target_may_be_folders_of_different_layouts(tmp_path: Path) -> None:
    from dspark_models import load_drafter, load_target

    source = random_checkpoint(SMALL, draft="dspark").write(tmp_path / "source")
    target = load_target(source, dtype="float32", device="cpu", context_length=64, max_sequences=1)
    drafter = load_drafter(repack(source, tmp_path / "bank"), target, max_sequences=1)
    assert drafter is not None
    assert drafter.block_size == 5
