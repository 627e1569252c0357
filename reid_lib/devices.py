"""Where the work runs: this process's device and cores, and the processes that a launcher has started together."""

import os
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from accelerate import PartialState


def processes() -> "PartialState | None":
    """Return the processes that a launcher has started together; None for a process on its own, as in a notebook.

    They run on CUDA devices, one each, or on the CPU where there are none or ACCELERATE_USE_CPU is "true".
    """
    if int(os.environ.get("WORLD_SIZE") or 1) < 2:
        return None
    from accelerate import PartialState

    on_cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() == "true"
    return PartialState(cpu=on_cpu or not torch.cuda.is_available())


def pick_device() -> torch.device:
    """Return this process's CUDA device if there is one, else the CPU."""
    together = processes()
    if together:  # whose CPU has a number
        return torch.device("cpu") if together.device.type == "cpu" else together.device
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    return len(affinity(0)) if affinity else os.cpu_count() or 1
