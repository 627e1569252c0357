"""In which precision networks are trained, and what a process knows of the others."""

import multiprocessing
import platform
import subprocess
import sys

import pytest
import torch

from reid_lib import devices
from reid_lib.datasets import load
from reid_lib.training.run import Run
from reid_lib.training.training_set import TrainingSet

CPU = torch.device("cpu")


@pytest.mark.parametrize("amx", [False, True])
@pytest.mark.parametrize("avx512", [False, True])
def test_a_cpu_takes_bfloat16_where_it_computes_with_it(
    amx: bool, avx512: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(devices.PRECISION_VARIABLE, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    expected = torch.bfloat16 if amx or avx512 else torch.float32
    assert devices.precision(CPU) == expected
    with Run(None, {}, 0, {}, CPU, progress=False).autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == expected


def test_cuda_takes_bfloat16() -> None:
    assert devices.precision(torch.device("cuda")) == torch.bfloat16


def test_the_environment_decides_where_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for wanted in ("float32", "bfloat16"):
        monkeypatch.setenv(devices.PRECISION_VARIABLE, wanted)
        assert devices.precision(CPU) == getattr(torch, wanted)
    monkeypatch.setenv(devices.PRECISION_VARIABLE, "half")
    with pytest.raises(ValueError, match="REID_LIB_PRECISION must be bfloat16 or float32, found 'half'"):
        devices.precision(CPU)


def test_another_precision_is_another_run(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = TrainingSet(load("synth", identities=8, size=(64, 32)), device=CPU)
    folders = set()
    for wanted in ("float32", "bfloat16", "float32"):
        monkeypatch.setenv(devices.PRECISION_VARIABLE, wanted)
        folders.add(data.open_run("reid_lib.training.lrar", {}, {}, 0, tmp_path, progress=False).folder)
    assert len(folders) == 2


def test_a_process_forked_from_a_notebook_that_looked_for_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("ACCELERATE_USE_CPU", raising=False)
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: "the kernel")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    with pytest.raises(RuntimeError, match="restart the kernel and call notebook_launcher in the first cell"):
        devices.pick_device()


def test_a_process_is_alone_within_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with devices.alone():
        assert devices.processes() is None
        assert devices.main_says(True)


FAULTS = """
import ctypes, resource, reid_lib.devices
libc, size = ctypes.CDLL(None), 1 << 24
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
for step in range(6):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    gradients = [libc.malloc(size) for _ in range(4)]
    for gradient in gradients:
        libc.memset(gradient, 1, size)
    for gradient in gradients:
        libc.free(gradient)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="what is set is glibc's")
def test_a_step_takes_the_memory_of_the_step_before() -> None:
    """Four gradients of 16 MB are 16,384 pages, or some large ones where the system has such."""
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 10
