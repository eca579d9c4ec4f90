from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import subprocess
import sys

import pytest
import torch

import dspark_kernels
from dspark_kernels import dispatch
from dspark_kernels.dispatch import OPS, PLAIN, Call, Candidate, Choice, Dispatcher, pick

NO_OPS = {"dispatch", "ue8m0"}  # the latter is arithmetic on scales inside the other ops


def test_every_module_of_operations_has_an_op_and_every_op_a_module() -> None:
    modules = {module.name for module in pkgutil.iter_modules(dspark_kernels.__path__)}
    assert set(OPS.values()) == modules - NO_OPS


@pytest.mark.parametrize("op", OPS)
def test_every_op_runs_in_plain_torch_on_the_cpu(op: str) -> None:
    importlib.import_module(f"dspark_kernels.{OPS[op]}")
    assert pick(op, "cpu") == Choice(PLAIN, "the only implementation in this version")


def test_on_cuda_the_reason_says_that_triton_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    choice = pick("rope", torch.device("cuda", 1), (torch.bfloat16,), ((1, 64),))
    assert choice.implementation == PLAIN
    assert choice.reason.endswith("it has no Triton kernels yet, and triton is not installed")


def test_on_cuda_an_installed_triton_is_not_blamed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(dispatch.importlib.metadata, "version", lambda name: "3.7.1")
    assert pick("rope", "cuda").reason.endswith("it has no Triton kernels yet, though triton 3.7.1 is installed")


def test_the_first_candidate_that_serves_is_taken_and_names_what_came_before() -> None:
    table = Dispatcher(["norm"])
    table.register("norm", Candidate("triton", "fused", lambda call: "it needs a CUDA device"))
    table.register("norm", Candidate("avx", "vectorised", lambda call: None))
    assert table.pick("norm", "cpu") == Choice("avx", "vectorised; triton: it needs a CUDA device")


def test_plain_torch_stays_when_every_candidate_objects() -> None:
    table = Dispatcher(["norm"])
    table.register("norm", Candidate("triton", "fused", lambda call: "it needs a CUDA device"))
    assert table.pick("norm", "cpu") == Choice(PLAIN, "triton: it needs a CUDA device")


def test_a_candidate_sees_device_dtypes_and_shapes() -> None:
    seen: list[Call] = []
    table = Dispatcher(["norm"])
    table.register("norm", Candidate("triton", "fused", lambda call: seen.append(call)))
    table.pick("norm", torch.device("cuda", 1), [torch.bfloat16], [torch.Size([2, 8])])
    assert seen == [Call("cuda:1", (torch.bfloat16,), ((2, 8),))]
    assert seen[0].device_type == "cuda"


def test_an_unknown_op_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="unknown op 'conv', expected one of rms_norm"):
        pick("conv", "cpu")


def test_asking_which_kernel_is_used_loads_no_torch() -> None:
    code = (
        "import sys; from dspark_kernels.dispatch import pick; pick('rope', 'cuda'); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
