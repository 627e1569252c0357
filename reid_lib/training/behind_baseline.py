"""VPFA as a method among methods: behind a baseline that was trained on HR images and is then frozen."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from reid_lib.datasets.mlr import MLR_RATES
from reid_lib.datasets.records import ReIDDataset
from reid_lib.evaluation.features import frozen_features
from reid_lib.evaluation.matchers import PannedMatcher
from reid_lib.profiles import settings
from reid_lib.training import baseline
from reid_lib.training.panning import fit_to_bank
from reid_lib.training.vpfa import VectorPanning


@dataclass(frozen=True)
class VPFAConfig:  # decision HOUSE-13
    """Settings of VPFA behind a baseline trained on HR images; the defaults are the paper's.

    The fields of the module have the meaning that they have in `vpfa.VectorPanning`.
    """

    frozen: baseline.BaselineConfig = field(default_factory=baseline.BaselineConfig)  # the paper has TransReID
    kernel: str = "bicubic"  # of the down-sampling, for the frozen model as well
    rates: tuple[int, ...] = MLR_RATES  # of the LR features
    pairing: str = "identity_mean"
    per_rate: bool = False
    hidden: int = 2048
    n_pairs: int | None = 5000
    epochs: int = 120

    @classmethod
    def for_profile(cls, profile: str, **changes: object) -> "VPFAConfig":
        """Return the settings of a profile: those of the baseline and of `VectorPanning` under it."""
        module = vars(VectorPanning.for_profile(profile))
        smaller = {name: module[name] for name in ("hidden", "n_pairs", "epochs")}
        smaller["frozen"] = baseline.BaselineConfig.for_profile(profile)
        return cls(**settings(profile, {profile: smaller}, changes))


def train(
    config: VPFAConfig,
    dataset: ReIDDataset,
    *,
    split: int = 0,
    seed: int = 0,
    folder: str | Path | None = None,
    device: torch.device | None = None,
    progress: bool = True,
) -> PannedMatcher:
    """Train a baseline on HR images, freeze it, fit VPFA's module on its features, and return the Matcher of both.

    The arguments are those of `baseline.train`.
    """
    of_frozen = {"split": split, "seed": seed, "folder": folder, "device": device, "progress": progress}
    frozen = baseline.train(replace(config.frozen, kernel=config.kernel), dataset, **of_frozen)
    bank = frozen_features(frozen, dataset, config.kernel, progress)
    own = {name: getattr(config, name) for name in ("pairing", "per_rate", "hidden", "n_pairs", "epochs")}
    panning = VectorPanning(**own, seed=seed, device=frozen.device, progress=progress)
    fit_to_bank(panning, bank, split, config.rates, folder=folder)
    return PannedMatcher(frozen.embed, frozen.input_size, frozen.device, panning, split)
