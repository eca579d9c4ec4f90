from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from dspark_local.hardware.cpu import parse_cpuinfo, read_cpu
from dspark_local.hardware.ram_rate import last_level_cache_bytes, measure_read_rate
from dspark_local.hardware.unmeasured import NotMeasuredError
from dspark_local.hardware.wsl import is_wsl

SAPPHIRE_RAPIDS = """processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R) w5-2465X
flags\t\t: fpu sse2 fma avx f16c avx2 avx512f avx512_vnni avx512_bf16 amx_bf16 amx_tile amx_int8

processor\t: 1
model name\t: another
flags\t\t: fpu
"""
GRACE = """processor\t: 0
BogoMIPS\t: 2000.00
Features\t: fp asimd aes asimddp sve sve2 i8mm bf16
CPU implementer\t: 0x41
"""


def machine(root: Path, cpuinfo: str, cores: list[tuple[int, int]]) -> Path:
    (root / "proc").mkdir()
    (root / "proc/cpuinfo").write_text(cpuinfo)
    for number, (package, core) in enumerate(cores):
        folder = root / f"sys/devices/system/cpu/cpu{number}/topology"
        folder.mkdir(parents=True)
        (folder / "physical_package_id").write_text(f"{package}\n")
        (folder / "core_id").write_text(f"{core}\n")
    return root


def test_an_x86_processor_shows_what_matters_for_matrix_work(tmp_path: Path) -> None:
    root = machine(tmp_path, SAPPHIRE_RAPIDS, [(0, 0), (0, 1), (1, 0), (1, 1), (0, 0), (0, 1), (1, 0), (1, 1)])
    cpu = read_cpu(root, allowed=range(8))
    assert cpu.model == "Intel(R) Xeon(R) w5-2465X"
    assert cpu.instruction_sets == ("avx2", "f16c", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx")
    assert (cpu.cores, cpu.threads) == (4, 8)


def test_an_arm_processor_shows_its_own(tmp_path: Path) -> None:
    assert read_cpu(machine(tmp_path, GRACE, [(0, 0)]), allowed=[0]).instruction_sets == (
        "neon",
        "dotprod",
        "i8mm",
        "bf16",
        "sve",
        "sve2",
    )


def test_two_threads_of_one_core_are_one_core(tmp_path: Path) -> None:
    root = machine(tmp_path, SAPPHIRE_RAPIDS, [(0, 0), (0, 1), (0, 0), (0, 1)])
    cpu = read_cpu(root, allowed=[0, 2])
    assert (cpu.cores, cpu.threads) == (1, 2)


def test_a_quota_is_never_exceeded(tmp_path: Path) -> None:
    root = machine(tmp_path, SAPPHIRE_RAPIDS, [(0, core) for core in range(16)])
    (root / "proc/self").mkdir()
    (root / "proc/self/cgroup").write_text("0::/\n")
    (root / "sys/fs/cgroup").mkdir(parents=True)
    (root / "sys/fs/cgroup/cpu.max").write_text("350000 100000\n")
    cpu = read_cpu(root, allowed=range(16))
    assert (cpu.cores, cpu.threads) == (4, 4)


def test_a_system_without_proc_and_sys_still_has_a_processor(tmp_path: Path) -> None:
    cpu = read_cpu(tmp_path)
    assert cpu.model
    assert 1 <= cpu.cores <= cpu.threads


@pytest.mark.parametrize("text", ["", "model name", ":\n:::\n", "flags : \n"])
def test_a_damaged_cpuinfo_says_nothing(text: str) -> None:
    assert parse_cpuinfo(text) == ("", frozenset())


def test_this_machine_has_no_more_cores_than_psutil_counts() -> None:
    assert 1 <= read_cpu().cores <= (psutil.cpu_count() or 1)


def test_caches_shared_by_several_cores_count_once(tmp_path: Path) -> None:
    for number, sharers in enumerate(["0-1", "0-1", "2-3", "2-3"]):
        for index, (level, size) in enumerate([(1, "32K"), (3, "32M")]):
            folder = tmp_path / f"sys/devices/system/cpu/cpu{number}/cache/index{index}"
            folder.mkdir(parents=True)
            (folder / "level").write_text(f"{level}\n")
            (folder / "size").write_text(f"{size}\n")
            (folder / "shared_cpu_list").write_text(f"{sharers if level == 3 else number}\n")
    assert last_level_cache_bytes(tmp_path) == 64 * 2**20


def test_the_read_rate_is_that_of_memory() -> None:
    available = psutil.virtual_memory().available
    rate = measure_read_rate(read_cpu().cores, available, seconds=0.2)
    assert 5e8 < rate < 1.5e12  # one slow DDR3 channel; twelve channels of the fastest DDR5 twice


def test_the_read_rate_is_not_measured_in_a_cache() -> None:
    with pytest.raises(NotMeasuredError, match="Too little RAM"):
        measure_read_rate(1, 2**30)


@pytest.mark.parametrize(
    ("release", "expected"),
    [("5.15.167.4-microsoft-standard-WSL2", True), ("4.4.0-19041-Microsoft", True), ("6.8.0-49-generic", False)],
)
def test_wsl_is_known_by_its_kernel(tmp_path: Path, release: str, expected: bool) -> None:
    (tmp_path / "proc/sys/kernel").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/osrelease").write_text(release)
    assert is_wsl(tmp_path) is expected


def test_a_system_without_proc_is_no_wsl(tmp_path: Path) -> None:
    assert not is_wsl(tmp_path)
