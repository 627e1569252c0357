"""PK batches and the augmentation of a batch on its device."""

from collections.abc import Sequence

import numpy as np
import torch

from reid_lib.seeds import numpy_generator


def pk_batches(
    pids: Sequence[int], p: int, k: int, seed: int, epoch: int, steps: int | None = None
) -> list[np.ndarray]:
    """Return one epoch of PK batches: each holds ``p`` identities with ``k`` images each.

    Identities go round in random order, so that over an epoch their numbers of turns differ by one at most (an identity
    that a batch already holds waits for the next one). An identity with fewer than ``k`` images gives some of them
    twice.

    Args:
        pids: (N,) identity of each training image.
        p: identities in a batch.
        k: images per identity.
        seed: the experiment's seed.
        epoch: number of the epoch; with ``seed`` it decides every draw.
        steps: batches in the epoch; None: floor(N / (p k)), at least one, so about as many images as there are.

    Returns:
        Arrays (p * k,) of indices of ``pids``, identity by identity.

    Raises:
        ValueError: fewer identities than ``p``, or ``p``, ``k`` or ``steps`` below 1.
    """
    pids = np.asarray(pids)
    images = {pid: np.flatnonzero(pids == pid) for pid in np.unique(pids)}
    if p < 1 or k < 1 or p > len(images):
        raise ValueError(
            f"a batch of p={p} identities with k={k} images each cannot be drawn from {len(images)} identities"
        )
    if steps is not None and steps < 1:
        raise ValueError(f"steps must be at least 1, or None for about all images, found {steps}")
    draw, queue, batches = numpy_generator(seed, "pk", epoch), [], []
    for _ in range(steps or max(1, len(pids) // (p * k))):
        if len(queue) < p:
            fresh = draw.permutation(list(images))
            waiting = set(queue)  # the rest of the last round goes first, and not twice into one batch
            queue += [pid for pid in fresh if pid not in waiting] + [pid for pid in fresh if pid in waiting]
        batches.append(np.concatenate([_draw_images(images[pid], k, draw) for pid in queue[:p]]))
        queue = queue[p:]
    return batches


def _draw_images(indices: np.ndarray, k: int, draw: np.random.Generator) -> np.ndarray:
    rounds = [draw.permutation(indices) for _ in range(-(-k // len(indices)))]
    return np.concatenate(rounds)[:k]


def augment(images: torch.Tensor, generator: torch.Generator, pad: int = 10, flip: float = 0.5) -> torch.Tensor:
    """Pad with zeros and crop at a random place, and flip some images; all of a batch at once, on its device.

    Args:
        images: uint8 (N, C, H, W).
        generator: source of the draws, on the CPU (the same draws whatever the images' device).
        pad: pixels of zeros on each side (LRAR, Section IV: 10 at 256 x 128).
        flip: probability of a horizontal flip.

    Returns:
        uint8 (N, C, H, W).
    """
    n, _, height, width = images.shape
    offset = torch.randint(0, 2 * pad + 1, (2, n), generator=generator)
    flipped = torch.rand(n, generator=generator) < flip
    padded = torch.nn.functional.pad(images, (pad, pad, pad, pad))
    crop = _crop_each if images.device.type == "cpu" else _crop_at_once
    return crop(padded, offset, flipped, (height, width))


def _crop_each(  # decision ENGINE-15
    padded: torch.Tensor, offset: torch.Tensor, flipped: torch.Tensor, size: tuple[int, int]
) -> torch.Tensor:
    """Copy image by image: on a CPU a tenth of the time of `_crop_at_once`, which looks up every pixel."""
    (height, width), mirrored = size, padded.flip(3).numpy()
    left = torch.where(flipped, padded.shape[3] - width - offset[1], offset[1])
    images = padded.numpy()
    crops = np.empty((*images.shape[:2], height, width), images.dtype)
    for i, (top, start, flip) in enumerate(zip(offset[0].tolist(), left.tolist(), flipped.tolist(), strict=True)):
        crops[i] = (mirrored if flip else images)[i, :, top : top + height, start : start + width]
    return torch.from_numpy(crops)


def _crop_at_once(
    padded: torch.Tensor, offset: torch.Tensor, flipped: torch.Tensor, size: tuple[int, int]
) -> torch.Tensor:
    (height, width), n = size, len(padded)
    rows = offset[0, :, None] + torch.arange(height)
    columns = torch.where(flipped[:, None], torch.arange(width - 1, -1, -1), torch.arange(width)) + offset[1, :, None]
    rows, columns = (indices.to(padded.device, non_blocking=True) for indices in (rows, columns))
    images = torch.arange(n, device=padded.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[images, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def draw_rates(n: int, rates: Sequence[int], generator: torch.Generator) -> torch.Tensor:
    """Draw ``n`` down-sampling rates uniformly from ``rates``; int64 (n,) on the CPU."""
    return torch.tensor(list(rates))[torch.randint(0, len(rates), (n,), generator=generator)]
