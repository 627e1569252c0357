"""Every method that has a training loop, by its name: for the command line, the comparison and the contract test."""

from collections.abc import Callable
from typing import Any, NamedTuple

from reid_lib.training import baseline, behind_baseline, cadnet, cluster_contrast, cyclegan, drfm, intact, lrar


class Method(NamedTuple):
    """What is needed to train a method.

    Attributes:
        config: its configuration's class, with ``for_profile(profile, **changes)``.
        train: ``train(config, dataset, *, split, seed, folder, device, progress)``, which returns a Matcher, or for a
            method that recovers images a Recoverer (`evaluation.recovery`).
        needs: what it needs besides the pixels of the training images: "identities", "frozen model" (which its
            configuration describes and its ``train`` provides), or nothing.
        gives: "matcher" or "recoverer".
    """

    config: type
    train: Callable[..., Any]
    needs: tuple[str, ...] = ("identities",)
    gives: str = "matcher"


METHODS = {  # decision HOUSE-5
    "baseline": Method(baseline.BaselineConfig, baseline.train),
    "cadnet": Method(cadnet.CADNetConfig, cadnet.train),
    "cluster_contrast": Method(cluster_contrast.ClusterContrastConfig, cluster_contrast.train, needs=()),
    "cyclegan": Method(cyclegan.CycleGANConfig, cyclegan.train, needs=(), gives="recoverer"),
    "drfm": Method(drfm.DRFMConfig, drfm.train, needs=()),
    "intact": Method(intact.INTACTConfig, intact.train),
    "lrar": Method(lrar.LRARConfig, lrar.train),
    "vpfa": Method(behind_baseline.VPFAConfig, behind_baseline.train, needs=("identities", "frozen model")),
}
