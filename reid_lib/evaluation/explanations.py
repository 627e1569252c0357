"""Where a network looks, and how far the images of one identity lie apart (DRFM, Figs. 1 and 7)."""

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional


def grad_cam(
    feature_map: Callable[[torch.Tensor], torch.Tensor],
    head: Callable[[torch.Tensor], torch.Tensor],
    inputs: torch.Tensor,
    directions: torch.Tensor,
) -> torch.Tensor:
    """Grad-CAM (Selvaraju et al., ICCV 2017): where the last map speaks for a direction of the feature.

    The score that is explained is the cosine of an image's feature and its direction, a cluster's centroid, say.

    Args:
        feature_map: maps ``inputs`` to the last map (n, c, h, w).
        head: maps the last map to features (n, d).
        inputs: a network's input (n, 3, H, W).
        directions: (n, d) or (1, d).

    Returns:
        float32 (n, H, W), each image's map between 0 and 1; all 0 where nothing speaks for the direction.
    """
    with torch.enable_grad():
        maps = feature_map(inputs).detach().float().requires_grad_()
        score = functional.cosine_similarity(head(maps), directions).sum()
        (gradient,) = torch.autograd.grad(score, maps)
    weights = gradient.mean((2, 3), keepdim=True)  # alpha of the paper's Eq. 1
    heat = (weights * maps).sum(1, keepdim=True).clamp(min=0).detach()  # its Eq. 2
    heat = functional.interpolate(heat, inputs.shape[2:], mode="bilinear", align_corners=False).squeeze(1)
    return heat / heat.amax((1, 2), keepdim=True).clamp(min=1e-12)


def positive_distances(features: torch.Tensor, pids: np.ndarray, low: np.ndarray) -> dict[str, np.ndarray]:
    """Return the Euclidean distances of all pairs of images of one identity, by whether they share a resolution.

    Args:
        features: (N, d).
        pids: (N,) identities.
        low: bool (N,), which images are LR.

    Returns:
        "same resolution" and "cross resolution", float arrays of any length.

    Raises:
        ValueError: other numbers of identities or resolutions than features.
    """
    pids, low = np.asarray(pids), np.asarray(low, bool)
    if not len(features) == len(pids) == len(low):
        raise ValueError(
            f"expected an identity and a resolution for each of {len(features)} features, found {len(pids)} and "
            f"{len(low)}"
        )
    pairs = []
    for pid in np.unique(pids):
        own = np.flatnonzero(pids == pid)
        first, second = np.triu_indices(len(own), 1)
        pairs.append(np.stack([own[first], own[second]]))
    first, second = np.concatenate(pairs, axis=1)
    distances = (features[first].float() - features[second].float()).norm(dim=1).cpu().numpy()
    same = low[first] == low[second]
    return {"same resolution": distances[same], "cross resolution": distances[~same]}
