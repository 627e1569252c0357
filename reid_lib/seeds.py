"""Random generators that depend on explicit seeds and names alone.

Every random draw of the project comes from a generator made here. Two draws with different names never share a
stream, so adding a draw to one part of an experiment leaves all other parts as they were.
"""

import zlib

import numpy as np
import torch


def _entropy(seed: int, names: tuple[str | int, ...]) -> list[int]:
    if seed < 0:
        raise ValueError(f"a seed must be an integer >= 0, found {seed}")
    return [seed, *(zlib.crc32(str(name).encode()) for name in names)]


def numpy_generator(seed: int, *names: str | int) -> np.random.Generator:
    """Return the NumPy generator of ``seed`` and ``names``: the same arguments give the same stream, on any machine."""
    return np.random.default_rng(_entropy(seed, names))


def torch_generator(seed: int, *names: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return the torch generator of ``seed`` and ``names`` on ``device``.

    CPU and CUDA generators of the same seed give different (but each reproducible) streams.
    """
    state = np.random.SeedSequence(_entropy(seed, names)).generate_state(2, np.uint32)
    return torch.Generator(device=device).manual_seed(int(state[0]) << 31 ^ int(state[1]))
