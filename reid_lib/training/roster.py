"""Who stands side by side: the five methods, their matched controls and the baselines, each as its notebook trains it.

A training is known by its settings and its code (`TrainingSet.open_run`): what a method's own notebook has trained is
found again, and the other way round.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from reid_lib.datasets.records import ReIDDataset
from reid_lib.digest import plain
from reid_lib.evaluation.ranking import Matcher
from reid_lib.reporting.compared import YARDSTICK
from reid_lib.training import baseline, behind_baseline, cadnet, cluster_contrast, drfm, intact, lrar
from reid_lib.training.field import described, started_from
from reid_lib.training.schedules import stretch

HR_LR = (1, 2, 3, 4)


@dataclass(frozen=True)
class Contestant:
    """A method with its settings.

    Attributes:
        config: its configuration.
        train: ``train(config, dataset, *, seed, folder, device, progress)``, which returns its Matcher.
        losses: what it minimises, in words.
        labels: whether it sees the identities of the training images.
        knows_rate: whether it is told the rate of a query.
        batches: as `field.described` takes it.
        genuine_lr: whether it can be trained where LR images are genuine, so that their rate is not known.
    """

    config: Any
    train: Callable[..., Matcher]
    losses: str
    labels: bool = True
    knows_rate: bool = False
    batches: int = 1
    genuine_lr: bool = True
    _of_field: Any = field(default=None, repr=False)  # whose budget is told where config is of another kind

    def described(self) -> dict[str, str]:
        """Return what a row of the field's table says of it, by column."""
        told = described(self._of_field or self.config, self.losses, batches=self.batches, knows_rate=self.knows_rate)
        return told | {"labels": "yes" if self.labels else "no"}


def roster(  # decision HOUSE-14
    profile: str, *, network: str = "", weights: str = "", epochs: int = 0, genuine_lr: bool = False
) -> dict[str, Contestant]:
    """Return the contestants of a profile by their name in tables, the plain baselines first.

    Args:
        profile: one of `profiles.PROFILES`.
        network, weights: another backbone than the field's, and its start (`field.started_from`).
        epochs: length of each training, with the schedule stretched to it; 0: the profile's.
        genuine_lr: whether the data set has genuine LR images: what needs to know their rate is left out.
    """
    started = started_from(network, weights)
    slower = {name: value for name, value in started.items() if name != "learning_rate"}  # have their own
    critic = {"critic_learning_rate": started["learning_rate"]} if "learning_rate" in started else {}
    hr_only = _stretched(baseline.BaselineConfig.for_profile(profile, **started), epochs)
    both = replace(hr_only, rates=HR_LR)
    adaptive = _stretched(lrar.LRARConfig.for_profile(profile, **started), epochs)
    super_resolving = _stretched(intact.INTACTConfig.for_profile(profile, **slower, **critic), epochs)
    super_resolving = replace(super_resolving, critic_epochs=epochs or super_resolving.critic_epochs)
    adversarial = _stretched(cadnet.CADNetConfig.for_profile(profile, **started), epochs)
    unlabelled = _stretched(drfm.DRFMConfig.for_profile(profile, **slower), epochs)
    unlabelled = replace(unlabelled, ps_from=unlabelled.epochs // 4)  # from epoch 10 of 40, or as early
    panned = replace(behind_baseline.VPFAConfig.for_profile(profile), frozen=hr_only)
    control = replace(adaptive, masks="none", varying_length=False)
    peer = _stretched(cluster_contrast.ClusterContrastConfig.for_profile(profile, **slower), epochs)
    known = {
        "HR only": Contestant(hr_only, baseline.train, "identity + triplet"),
        YARDSTICK: Contestant(both, baseline.train, "identity + triplet"),
        "one model per rate": Contestant(
            hr_only, _per_rate, "identity + triplet, four networks", knows_rate=True, genuine_lr=False
        ),
        "IDE + Verif": Contestant(control, _level_below, "identity + verification"),
        "CC": Contestant(peer, cluster_contrast.train, "ClusterNCE", labels=False),
        "CAD-Net": Contestant(adversarial, cadnet.train, "L_cls + L_adv^DF + L_rec + L_adv^DI", batches=2),
        "INTACT": Contestant(super_resolving, intact.train, "L_MSE + L_gan + L_id + L_dis", batches=2),
        "LRAR": Contestant(adaptive, _level_below, "identity + verification", knows_rate=True),
        "DRFM": Contestant(unlabelled, drfm.train, "L_cc + L_ic + L_ps", labels=False, batches=2),
        "HR only + VPFA": Contestant(panned, behind_baseline.train, "VPFA behind HR only", _of_field=hr_only),
    }
    return {name: own for name, own in known.items() if own.genuine_lr or not genuine_lr}


def train_all(
    contestants: Mapping[str, Contestant],
    dataset: ReIDDataset,
    *,
    seed: int = 0,
    folder: str | Path | None = None,
    device: torch.device | None = None,
    end: str = "",
) -> dict[str, Matcher]:
    """Train each contestant, or load it where it is trained already, and return the Matchers by name.

    Args:
        contestants: of `roster`.
        dataset, seed, folder, device: as `baseline.train` takes them.
        end: what is added to each name (`field.suffix`).
    """
    from reid_lib.status import network

    found = {}
    for number, (name, own) in enumerate(contestants.items(), start=1):
        with network(name, number, len(contestants)):
            found[named(name, end)] = own.train(own.config, dataset, seed=seed, folder=folder, device=device)
    return found


def named(name: str, end: str) -> str:
    """Return a contestant's name with its network's suffix, which stands before a "+ VPFA"."""
    first, plus, rest = name.partition(" + VPFA")
    return f"{first}{end}{plus}{rest}"


def training_seconds(one: Contestant, seed: int, folder: str | Path) -> float:
    """Return how long a contestant's networks were trained, by the histories of their runs; NaN where one is not there.

    A run is known by its loop, seed and configuration; of several (older code) the newest counts. VPFA's module is
    fitted in seconds, and its time is not kept: what it stands behind counts alone.

    Args:
        one: the contestant.
        seed: of its training.
        folder: parent of the runs' folders.
    """
    wanted = [one.config]
    if isinstance(one.config, behind_baseline.VPFAConfig):
        wanted = [one.config.frozen]
    elif isinstance(one.config, intact.INTACTConfig):
        wanted.append(one.config.critic())
    elif one.train is _per_rate:
        wanted = [replace(one.config, rates=(rate,)) for rate in HR_LR]
    return sum(_seconds_of(config, seed, Path(folder)) for config in wanted)


def _seconds_of(config: object, seed: int, folder: Path) -> float:
    loop = type(config).__module__.rpartition(".")[2]
    runs = sorted(folder.glob(f"{loop}-seed{seed}-*/history.csv"), key=lambda path: path.stat().st_mtime)
    own = [path for path in runs if _config_of(path.parent) == plain(config)]
    return float(pd.read_csv(own[-1])["seconds"].sum()) if own else float("nan")


def _config_of(folder: Path) -> object:
    """Return the configuration that a run's checkpoint names; None where it cannot be read."""
    try:
        return json.loads(torch.load(folder / "last.pt", map_location="cpu", weights_only=True, mmap=True)["config"])
    except Exception:  # a damaged file raises nearly anything
        return None


def find(names: Sequence[str], known: Mapping[str, Contestant]) -> dict[str, Contestant]:
    """Return the contestants of these names, however they are spelt: "cadnet", "HR+LR", "vpfa".

    Raises:
        ValueError: an unknown name; the message lists the known ones.
    """
    spelt = {letters(name): name for name in known} | {"vpfa": "HR only + VPFA", "naive": "one model per rate"}
    for name in names:
        if spelt.get(letters(name)) not in known:
            raise ValueError(f"method must be one of {', '.join(known)}, found {name!r}")
    return {spelt[letters(name)]: known[spelt[letters(name)]] for name in names}


def letters(name: str) -> str:
    """Return a name's letters and digits alone, in lower case: CAD-Net, cadnet and "CAD Net" are one."""
    return "".join(character for character in name.lower() if character.isalnum())


def _stretched(config: Any, epochs: int) -> Any:
    return stretch(config, epochs or config.epochs)


def _per_rate(config: baseline.BaselineConfig, dataset: ReIDDataset, **options: object) -> Matcher:
    return baseline.train_per_rate(config, dataset, HR_LR, **options)


def _level_below(config: lrar.LRARConfig, dataset: ReIDDataset, **options: object) -> Matcher:
    """LRAR, which takes a rate that it has not seen for the next lower resolution, or the lowest there is."""
    matcher = lrar.train(config, dataset, **options)
    matcher.rule = "lower"
    return matcher
