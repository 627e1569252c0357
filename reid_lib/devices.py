"""Where the work runs: this process's device and cores, and the processes that a launcher has started together."""

import ctypes
import multiprocessing
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

import torch

PRECISION_VARIABLE = "REID_LIB_PRECISION"
_alone: ContextVar[bool] = ContextVar("alone", default=False)
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MB = -1, -3, 1 << 20  # glibc, malloc.h

if TYPE_CHECKING:
    from accelerate import PartialState


def processes() -> "PartialState | None":  # decision ENGINE-12
    """Return the processes that a launcher has started together; None for a process on its own, as in a notebook.

    They run on CUDA devices, one each, or on the CPU where there are none or ACCELERATE_USE_CPU is "true".

    Raises:
        RuntimeError: the process was forked from a notebook that had looked for a GPU.
    """
    if _alone.get() or int(os.environ.get("WORLD_SIZE") or 1) < 2:
        return None
    from accelerate import PartialState

    on_gpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() != "true" and torch.cuda.is_available()
    if multiprocessing.parent_process():  # as notebook_launcher starts them
        if on_gpu and torch.cuda._is_in_bad_fork():
            raise RuntimeError(
                "expected a notebook that has not looked for a GPU yet, found that CUDA was in use before its "
                "processes were started: restart the kernel and call notebook_launcher in the first cell"
            )
        # a forked process has the notebook's memory but not its threads, and would wait for them forever
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        torch.set_num_threads(1)
    return PartialState(cpu=not on_gpu)


@contextmanager
def alone() -> Iterator[None]:
    """Within it a process is on its own, whatever a launcher has started (`processes` is None)."""
    before = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(before)


def main_says(answer: bool) -> bool:
    """Return the main process's ``answer``, so that all take one way; on its own, a process's own answer."""
    if processes() is None:
        return answer
    answers = [answer]
    torch.distributed.broadcast_object_list(answers, 0)
    return answers[0]


def pick_device() -> torch.device:
    """Return this process's CUDA device if there is one, else the CPU."""
    together = processes()
    if together:  # whose CPU has a number
        return torch.device("cpu") if together.device.type == "cpu" else together.device
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def precision(device: torch.device) -> torch.dtype:  # decision FIELD-3
    """Return what networks are trained in: bfloat16 where the device computes with it, else float32.

    A CPU without such instructions emulates bfloat16 and is slower with it. Where REID_LIB_PRECISION is set ("bfloat16"
    or "float32") it decides, to compare with results of another machine.

    Raises:
        ValueError: REID_LIB_PRECISION is something else.
    """
    wanted = os.environ.get(PRECISION_VARIABLE) or ("bfloat16" if _computes_bfloat16(device) else "float32")
    if wanted not in ("bfloat16", "float32"):
        raise ValueError(f"{PRECISION_VARIABLE} must be bfloat16 or float32, found {wanted!r}")
    return getattr(torch, wanted)


def _computes_bfloat16(device: torch.device) -> bool:
    # torch.cpu.get_capabilities says the same in public, but not in every supported version
    return device.type != "cpu" or torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


def images_at_once(device: torch.device) -> int:  # decision EVAL-18
    """Return how many images pass a network at a time where nothing is learned: on a CPU, what its cache holds."""
    return 32 if device.type == "cpu" else 128


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def keep_memory() -> None:  # decision ENGINE-16
    """Keep memory that is freed, up to 256 MB of it, for what comes next, where the C library is glibc.

    Else a step's tensors of a megabyte and more go back to the system and are fetched again, page by page.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        mallopt(_MMAP_THRESHOLD, 32 * _MB)  # the largest that it takes
        mallopt(_TRIM_THRESHOLD, 256 * _MB)


keep_memory()  # whatever this process trains or embeds
