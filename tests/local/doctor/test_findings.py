from __future__ import annotations

from dataclasses import replace

import pytest

from dspark_local.doctor.findings import Finding, find
from dspark_local.doctor.hub import Hub
from dspark_local.doctor.report import Report
from dspark_local.doctor.system import System
from dspark_local.doctor.torch_build import TorchBuild
from dspark_local.hardware.facts import Cpu, Disk, Gpu, Hardware, Memory
from dspark_local.hardware.probe import Survey

CARD = Gpu("RTX 4090", "nvidia", (8, 9), 24 * 2**30, 23 * 2**30, 9e11, 2.5e10)
HARDWARE = Hardware(
    gpus=(CARD,),
    cpu=Cpu("Ryzen", 16, 32, ("avx2",), 6e10),
    memory=Memory(192 * 2**30, 180 * 2**30),
    disk=Disk("/models", 10**12, 2 * 10**12, 5e9),
)
TORCH = TorchBuild("2.13.0+cu130", "CUDA 13.0", ("sm_75", "sm_80", "sm_90", "compute_120"))
GOOD = Report(
    system=System("0.1.0", "3.12.1", "Linux", "x86_64", False, "xterm", 120, 40, "/state", ""),
    survey=Survey(HARDWARE, 1, "580.1", {}),
    filesystem="ext4",
    torch=TORCH,
    extras=(),
    kernels=(),
    hub=Hub("https://huggingface.co", "/models", False, False, ""),
    models=(),
    failures=(),
)


def with_hardware(usable: int = 1, driver: str = "580.1", **changes: object) -> Report:
    return replace(GOOD, survey=Survey(replace(HARDWARE, **changes), usable, driver, {}))  # type: ignore[arg-type]


def only(report: Report) -> Finding:
    (finding,) = find(report)
    return finding


def test_a_computer_in_order_has_nothing_found() -> None:
    assert only(GOOD) == Finding("ok", "nothing_found", "Nothing stands in the way.")


def test_a_cpu_build_beside_an_nvidia_card_is_a_problem_with_the_command_that_mends_it() -> None:
    finding = only(replace(with_hardware(usable=0), torch=TorchBuild("2.13.0+cpu", "CPU")))
    assert (finding.severity, finding.code) == ("problem", "torch_without_cuda")
    assert finding.text == "RTX 4090 is there, but torch 2.13.0+cpu is a CPU build, so the card is not used."
    assert finding.advice.endswith("--index-url https://download.pytorch.org/whl/cu130")


def test_a_card_older_than_turing_is_sent_to_the_last_builds_that_have_it() -> None:
    pascal = replace(CARD, name="GTX 1080 Ti", capability=(6, 1))
    finding = only(with_hardware(gpus=(pascal,)))
    assert (finding.severity, finding.code) == ("problem", "torch_lacks_architecture")
    assert "(compute capability 6.1)" in finding.text
    assert finding.advice.endswith("/cu126")


def test_an_nvidia_card_without_a_driver_is_told_apart_from_one_that_torch_cannot_reach() -> None:
    assert only(with_hardware(usable=0, driver="")).code == "nvidia_driver_missing"
    assert only(with_hardware(usable=0)).code == "cuda_not_available"


@pytest.mark.parametrize("gpus", [(), (Gpu("AMD graphics 0x744c", "amd", None, 0, 0),)])
def test_without_a_card_that_torch_can_use_the_cpu_serves_and_that_is_no_problem(gpus: tuple[Gpu, ...]) -> None:
    finding = only(with_hardware(usable=0, driver="", gpus=gpus))
    assert (finding.severity, finding.code) == ("warning", "no_usable_gpu")
    assert ("seen but not used" in finding.text) == bool(gpus)


@pytest.mark.parametrize(
    ("changes", "severity", "code"),
    [
        ({"memory": Memory(16 * 2**30, 12 * 2**30)}, "warning", "ram_small"),
        ({"memory": Memory(64 * 2**30, 2**30)}, "problem", "ram_exhausted"),
        ({"disk": Disk("/models", 1_999_999_999, 10**12)}, "problem", "disk_full"),
        ({"disk": Disk("/models", 10**11, 10**12, 1.5e8)}, "warning", "disk_slow"),
        ({"cpu": Cpu("Old", 4, 4, ("f16c",))}, "warning", "no_avx2"),
        ({"gpus": (replace(CARD, pinned_limit_bytes=65536),)}, "problem", "pinning_refused"),
        ({"gpus": (replace(CARD, pinned_limit_bytes=32 * 2**30),)}, "warning", "pinning_limited"),
    ],
)
def test_hardware_that_stands_in_the_way(changes: dict[str, object], severity: str, code: str) -> None:
    finding = only(with_hardware(**changes))
    assert (finding.severity, finding.code) == (severity, code)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"torch": TorchBuild("", "CPU", error="libcudart.so.13: cannot open shared object file")}, "torch_missing"),
        ({"torch": TorchBuild("2.5.1", "CUDA 12.4")}, "torch_old"),
        ({"system": replace(GOOD.system, state_error="Read-only file system")}, "state_not_writable"),
        ({"hub": Hub("https://x", "/models", False, False, "/models cannot be read")}, "cache_unusable"),
        ({"failures": ("The hub could not be looked at: OSError: gone",), "hub": None}, "probe_failed"),
    ],
)
def test_software_that_stands_in_the_way_is_a_problem(changes: dict[str, object], code: str) -> None:
    finding = only(replace(GOOD, **changes))  # type: ignore[arg-type]
    assert (finding.severity, finding.code) == ("problem", code)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"system": replace(GOOD.system, columns=60)}, "terminal_small"),
        ({"system": replace(GOOD.system, terminal="dumb")}, "terminal_dumb"),
        ({"hub": Hub("https://x", "/models", True, False, "")}, "offline"),
        ({"filesystem": "9p"}, "disk_of_windows"),
    ],
)
def test_what_only_annoys_is_a_warning(changes: dict[str, object], code: str) -> None:
    finding = only(replace(GOOD, **changes))  # type: ignore[arg-type]
    assert (finding.severity, finding.code) == ("warning", code)


def test_a_pipe_has_no_terminal_to_complain_of() -> None:
    system = replace(GOOD.system, columns=None, rows=None, terminal="dumb")
    assert only(replace(GOOD, system=system)).severity == "ok"


def test_problems_come_before_warnings() -> None:
    report = replace(
        with_hardware(memory=Memory(16 * 2**30, 12 * 2**30), disk=Disk("/models", 0, 10**12)), filesystem="9p"
    )
    assert [finding.severity for finding in find(report)] == ["problem", "warning", "warning"]


def test_a_report_with_every_part_failed_still_has_findings() -> None:
    empty = Report(None, None, "", None, (), (), None, (), ("The system could not be looked at: OSError: no",))
    assert [finding.code for finding in find(empty)] == ["probe_failed"]


@pytest.mark.parametrize(
    ("capability", "expected"),
    [
        ((7, 5), True),
        ((8, 9), True),
        ((9, 0), True),
        ((6, 1), False),
        ((7, 0), False),
        ((12, 0), True),
        ((12, 1), True),
    ],
)
def test_binaries_serve_their_major_version_and_portable_code_all_later_ones(
    capability: tuple[int, int], expected: bool
) -> None:
    assert TORCH.has_kernels_for(capability) is expected


def test_binaries_alone_do_not_serve_the_next_major_version() -> None:
    build = TorchBuild("2.7.0+cu126", "CUDA 12.6", ("sm_80", "sm_90a"))
    assert build.has_kernels_for((9, 0))
    assert not build.has_kernels_for((10, 0))
