"""What VPFA's module is measured against: simpler maps that the paper lacks, fitted on the same pairs."""

import torch
from torch import nn

from reid_lib.training.feature_maps import FeatureMap


class Shift(nn.Module):
    """Adds one vector to every feature: the "resolution direction" at its plainest."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.zeros(dim))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Map features (N, d) to (N, d)."""
        return z + self.offset


class MeanShift(FeatureMap):
    """Adds the mean of (HR - LR) over the pairs, one vector (or one per rate), to every LR feature.

    The parameters are those of `FeatureMap`.
    """

    def _new_map(self, dim: int) -> nn.Module:
        return Shift(dim)

    def _fit_map(self, lr: torch.Tensor, hr: torch.Tensor, rate: int) -> nn.Module:
        map_ = self._new_map(lr.shape[1])
        map_.offset.data = (hr.double() - lr.double()).mean(0).float()
        return map_


class RidgeMap(FeatureMap):  # decision VPFA-5
    """The linear map that ridge regression finds from the LR to the HR features of the pairs.

    It predicts HR - LR from LR minus its mean, so that a strong penalty leaves the mean shift, not zero.

    Args:
        alpha: the penalty on the squared weights, in units of the mean variance of an LR feature's numbers times the
            number of pairs, so that it does not depend on scale or sample size. The default is the best of 0.1 to 1000
            on held-out training identities of VIPeR (OSNet x0.25), with identity means.

    The other parameters are those of `FeatureMap`.
    """

    def __init__(
        self,
        *,
        pairing: str = "identity_mean",
        per_rate: bool = False,
        alpha: float = 10.0,
        n_pairs: int | None = 5000,
        min_images: int = 2,
        seed: int = 0,
        device: str | torch.device | None = None,
    ) -> None:
        super().__init__(
            pairing=pairing, per_rate=per_rate, n_pairs=n_pairs, min_images=min_images, seed=seed, device=device
        )
        self.alpha = alpha

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if not 0 < self.alpha < float("inf"):
            raise ValueError(f"alpha must be above 0 and finite, found {self.alpha}")

    def _new_map(self, dim: int) -> nn.Module:
        return nn.Linear(dim, dim)

    def _fit_map(self, lr: torch.Tensor, hr: torch.Tensor, rate: int) -> nn.Module:
        lr, offsets = lr.double(), hr.double() - lr.double()
        centre, shift = lr.mean(0), offsets.mean(0)
        centred = lr - centre
        covariance = centred.T @ centred / len(lr)
        eye = torch.eye(len(covariance), dtype=torch.float64, device=lr.device)
        penalty = self.alpha * covariance.diagonal().mean().clamp(min=torch.finfo(torch.float64).tiny)
        slope = torch.linalg.solve(covariance + penalty * eye, centred.T @ (offsets - shift) / len(lr))
        map_ = self._new_map(lr.shape[1])
        map_.weight.data = (eye + slope.T).float()
        map_.bias.data = (shift - slope.T @ centre).float()
        return map_
