"""LRAR (Wu et al., TIP 2023): training with progressive masks (Algorithm 1), its ablations, and its Matchers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from reid_lib.datasets.records import ReIDDataset
from reid_lib.datasets.sampling import draw_rates, pk_batches
from reid_lib.evaluation.matchers import PerRateMatcher
from reid_lib.losses.common import identity_loss
from reid_lib.losses.lrar import feature_differences, resolution_adaptive_distances, verification_loss
from reid_lib.networks.inputs import normalise
from reid_lib.networks.lrar import LRARNetwork
from reid_lib.training.field import on_field
from reid_lib.training.run import initialise
from reid_lib.training.schedules import adam
from reid_lib.training.starts import build_backbone
from reid_lib.training.training_set import TrainingSet

MASKS = ("progressive", "end_to_end", "none")
RULES = ("lower", "higher")
STAGES = 4


@dataclass(frozen=True)
class LRARConfig:  # decision LRAR-2, decision LRAR-3, decision LRAR-7, decision LRAR-10, decision LRAR-14
    """Settings of LRAR; the defaults are the paper's, and the ``paper`` profile's.

    The ablations of Table II are ``masks="none"`` (w/o mask), ``varying_length=False`` (w/o val), the latter with
    ``masks="end_to_end"`` (w/o val*), and ``masks="none", varying_length=False`` (IDE + Verif). Those of Table IV are
    ``identity_weight=0`` and ``verification_weight=0``. For "end-to-end" in Tables III and V: ``masks="end_to_end"``.

    Raises:
        ValueError: a value that is out of place; the message says what was expected.
    """

    network: str = "resnet50"  # last stride 1 (IV)
    width: int = 32  # of "tiny" in its place
    weights: str = "imagenet"  # see `starts.build_backbone`; not given, of [33], whose training IV takes
    rates: tuple[int, ...] = (1, 2, 3, 4)  # seen rates, one level each; 1 is HR, of the highest level (V-B)
    masks: str = "progressive"  # Algorithm 1; "end_to_end": all four stages' from the start; "none" (III-E.2)
    mask_std: float = 0.01  # of the masks' Gaussian start; not given, chosen on held-out identities of synth
    varying_length: bool = True  # whether an image of level k keeps only the first k sub-vectors (III-B)
    identity_weight: float = 1.0  # weights of the two losses, 0 leaves one out (III-E)
    verification_weight: float = 0.5  # lambda (IV)
    hidden: int = 512  # width of the verification MLP; not given
    genuine_rate: int = 2  # that a genuine LR image is taken to have; it is not down-sampled in training (V-E.1)
    kernel: str = "bicubic"  # of the down-sampling; not given
    p: int = 8  # identities in a batch of 32 (IV); how it is drawn is not given
    k: int = 4  # images of each: the first half are queries, the others gallery
    input_size: tuple[int, int] | None = (256, 128)  # (H, W); None: the data set's own (IV)
    pad: int = 10  # pixels around an image before the random crop (IV)
    learning_rate: float = 3.5e-4  # of Adam (IV)
    mask_learning_rate: float = 3.5e-4  # of the masks; the schedule is the same
    weight_decay: float = 5e-4  # masks have none; not given, of [33]
    epochs: int = 120  # "in total", shared equally by the four phases of Algorithm 1 (IV)
    steps: int | None = None  # in an epoch; None: as many as show about all images once
    warmup: int = 10  # epochs of "warm-up ... as suggested by [33]" (IV)
    milestones: tuple[int, ...] = (40, 70)  # epochs at which the learning rate is divided by 10 (IV)

    def __post_init__(self) -> None:
        if not self.rates or len(set(self.rates)) < len(self.rates) or min(self.rates) < 1:
            raise ValueError(f"rates must be different integers >= 1, at least one, found {self.rates}")
        if len(self.rates) > 1 and 1 not in self.rates:
            raise ValueError(f"rates must hold 1, the gallery is HR and needs a level; found {self.rates}")
        if self.masks not in MASKS:
            raise ValueError(f"masks must be one of {', '.join(MASKS)}, found {self.masks!r}")
        if self.masks == "progressive" and self.epochs < STAGES:
            raise ValueError(
                f'masks="progressive" needs at least {STAGES} epochs, one for each stage, found epochs={self.epochs}'
            )
        if min(self.identity_weight, self.verification_weight) < 0 or not (
            self.identity_weight or self.verification_weight
        ):
            raise ValueError(
                "identity_weight and verification_weight must be >= 0, one of them above, found "
                f"{self.identity_weight} and {self.verification_weight}"
            )
        if self.k < 2:
            raise ValueError(f"k must be at least 2, a query and a gallery image of each identity, found {self.k}")

    @classmethod
    def for_profile(cls, profile: str, recipe: str = "field", **changes: object) -> "LRARConfig":
        """Return the settings of a profile and a recipe (`field.on_field`)."""
        # with 3e-2 masks get as far in 400 steps as with the paper's rate in its 50,000
        own = {"smoke": {"p": 4}, "demo": {"p": 8, "mask_learning_rate": 3e-2}}
        paper = {"learning_rate": 3.5e-4, "mask_learning_rate": 3.5e-4, "warmup": 1, "milestones": (3, 5)}
        return cls(**on_field(profile, own, changes, recipe, paper))


def level_of(rates: torch.Tensor, seen: Sequence[int], rule: str | None = None) -> torch.Tensor:  # decision LRAR-9
    """Return the level of each rate: m for the smallest of m ``seen`` rates (HR), 1 for the largest (III-B).

    Args:
        rates: integers >= 1, (n,).
        seen: the rates that have a level.
        rule: what a rate without a level takes (V-F): "lower", the level of the next lower resolution, "higher", that
            of the next higher one, and either way that of the last one beyond the ends. None: it is refused.

    Returns:
        int64 (n,), on the device of ``rates``.

    Raises:
        ValueError: a rate without a level and no rule, a rate below 1, or an unknown rule.
    """
    if rule not in (None, *RULES):
        raise ValueError(f"rule must be None or one of {', '.join(RULES)}, found {rule!r}")
    known = torch.tensor(sorted(seen), device=rates.device)
    if rule == "higher":
        index = (torch.searchsorted(known, rates, right=True) - 1).clamp(min=0)
    else:
        index = torch.searchsorted(known, rates).clamp(max=len(known) - 1)
    if (rates < 1).any():
        raise ValueError(f"rates must be integers >= 1 (1 = HR), found {int(rates.min())}")
    unseen = rates[known[index] != rates]
    if rule is None and len(unseen):
        raise ValueError(
            f"rate {int(unseen[0])} has no level, the network has seen {', '.join(map(str, known.tolist()))}: "
            f"choose a neighbouring level with rule={' or rule='.join(map(repr, RULES))}"
        )
    return len(known) - index


class LRARMatcher:  # decision LRAR-4
    """The Matcher of LRAR (Eq. 2): a query is compared on what its level keeps, a gallery image is always of level m.

    Args:
        network: a trained network.
        rates: the seen rates, one level each.
        input_size: (h, w) that the network takes.
        device: where it is.
        split: the split on whose training identities it was trained.
        genuine_rate: what a query's rate is multiplied by: 1, or on a set with genuine LR queries, which come with
            rate 1, the rate that they are taken to have. (There, set it to 1 to match HR queries.)
        rule: the level of an unseen rate (`level_of`); may be set again at any time.

    Attributes:
        As the arguments.
    """

    def __init__(
        self,
        network: LRARNetwork,
        rates: Sequence[int],
        input_size: tuple[int, int],
        device: torch.device,
        split: int | None = None,
        genuine_rate: int = 1,
        rule: str | None = None,
    ) -> None:
        self.network, self.rates, self.input_size, self.device = network.eval(), tuple(rates), input_size, device
        self.split, self.genuine_rate, self.rule = split, genuine_rate, rule

    def embed_query(self, images: torch.Tensor, rates: torch.Tensor) -> torch.Tensor:
        """Embed uint8 images (n, 3, H, W) of rates (n,): zero-padded features, then their length: (n, d + 1).

        Raises:
            ValueError: a rate without a level while ``rule`` is None.
        """
        return self.embed_at(images, level_of(rates * self.genuine_rate, self.rates, self.rule).to(self.device))

    def embed_at(self, images: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
        """Embed uint8 query images (n, 3, H, W) of levels (n,) as `embed_query` does: (n, d + 1)."""
        return torch.cat([self._embed(images, levels), self.network.widths(levels)[:, None]], 1)

    def embed_gallery(self, images: torch.Tensor) -> torch.Tensor:
        """Embed uint8 HR images (n, 3, H, W) as features (n, d)."""
        return self._embed(images, torch.full((len(images),), len(self.rates), device=self.device))

    def distance(self, query: torch.Tensor, gallery: torch.Tensor) -> torch.Tensor:
        """Return Eq. 2 (n_query, n_gallery)."""
        return resolution_adaptive_distances(query[:, :-1], gallery, query[:, -1].long())

    @torch.inference_mode()
    def _embed(self, images: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
        return self.network(normalise(images, self.input_size).contiguous(memory_format=torch.channels_last), levels)


def train(  # decision LRAR-8
    config: LRARConfig,
    dataset: ReIDDataset,
    *,
    split: int = 0,
    seed: int = 0,
    folder: str | Path | None = None,
    device: torch.device | None = None,
    progress: bool = True,
) -> LRARMatcher:
    """Train LRAR on the training identities of a split (Algorithm 1) and return its Matcher.

    Args:
        config: settings.
        dataset, split, seed, folder, device, progress: those of `baseline.train`.

    Raises:
        ValueError: genuine LR images without a level.
    """
    data, size = TrainingSet(dataset, split, device), config.input_size or dataset.size
    check_genuine(config, data)
    network = initialise(lambda: build_network(config, size, data.identities), seed, data.device)
    others = [p for name, p in network.named_parameters() if p.requires_grad and "masks." not in name]
    # decay would draw every mask to 1/2
    masks = {"params": list(network.masks), "lr": config.mask_learning_rate, "weight_decay": 0.0}
    optimizer, scheduler = adam([{"params": others}, masks], config)
    parts = {"network": network, "optimizer": optimizer, "scheduler": scheduler}
    run = data.open_run(__name__, config, parts, seed, folder, progress)
    for epoch in run.epochs(config.epochs):
        network.train()
        network.introduce_masks(*masked_stages(config, epoch))  # Algorithm 1: from the classifier backwards
        for indices in run.batches(pk_batches(data.pids, config.p, config.k, seed, epoch, config.steps)):
            # x_p at a drawn rate r, x_g at HR (III-A); a genuine LR image stays as it is
            rates, genuine = batch_rates(config, run.generator), data.genuine[indices]
            inputs = data.inputs(indices, rates.where(~genuine, 1), config, run.generator)
            levels = level_of(rates.where(~genuine, config.genuine_rate), config.rates).to(data.device)
            with run.autocast():
                terms = losses(network, config, inputs, levels, data.labels_of(indices))
            run.step(optimizer, terms, images=len(indices))
        scheduler.step()
    genuine_rate = 1 if dataset.genuine_lr_camid is None else config.genuine_rate
    return LRARMatcher(network, config.rates, size, data.device, split, genuine_rate)


def train_naive(  # decision LRAR-11
    config: LRARConfig, dataset: ReIDDataset, rates: Sequence[int] | None = None, **options: object
) -> PerRateMatcher:
    """Train the naive solution (V-E.1, Table III): one IDE + Verif for each rate, on LR queries and LR gallery of it.

    Args:
        config: settings.
        dataset: the data set.
        rates: those of the models; the paper has 2, 3 and 4. None: ``config.rates``.
        **options: those of `train`.
    """
    plain = replace(config, masks="none", varying_length=False)
    return PerRateMatcher(
        {r: train(replace(plain, rates=(r,)), dataset, **options) for r in rates or config.rates}, config.kernel
    )


def check_genuine(config: LRARConfig, data: TrainingSet) -> None:
    """Raise ValueError where there are genuine LR images, and the rate that they are taken to have has no level."""
    if data.genuine.any() and config.genuine_rate not in config.rates:
        raise ValueError(
            f"{data.name} has genuine LR images, taken for rate {config.genuine_rate}, which has no level: add it "
            f"to rates {config.rates}, or change genuine_rate"
        )


def build_network(config: LRARConfig, size: tuple[int, int], identities: int) -> LRARNetwork:
    """Build the network of a configuration for images of ``size`` (H, W)."""
    backbone = build_backbone(config.network, config.width, config.weights, size)
    masks, levels = config.masks != "none", len(config.rates)
    return LRARNetwork(backbone, identities, levels, config.hidden, masks, config.varying_length, config.mask_std)


def masked_stages(config: LRARConfig, epoch: int) -> tuple[int, int]:  # decision LRAR-6
    """Return how many stages, counted from the classifier, have masks in ``epoch``, and how many of these are fixed."""
    if config.masks == "progressive":
        fixed = epoch * STAGES // config.epochs
        return fixed + 1, fixed
    return (STAGES, 0) if config.masks == "end_to_end" else (0, 0)


def batch_rates(config: LRARConfig, generator: torch.Generator) -> torch.Tensor:  # decision LRAR-5
    """Return the rates of a batch of x_p and x_g (Algorithm 1): int64 (p * k,), identity by identity.

    Of each identity's images the first half, the queries, get LR rates drawn uniformly; the others, the gallery, are HR
    (III-A). With one rate alone all images get it.
    """
    best, *lower = sorted(config.rates)
    rates = torch.full((config.p, config.k), best)
    queries = rates[:, : config.k // 2]
    queries.copy_(draw_rates(queries.numel(), lower or [best], generator).view_as(queries))
    return rates.flatten()


def losses(
    network: LRARNetwork, config: LRARConfig, inputs: torch.Tensor, levels: torch.Tensor, labels: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Return the weighted terms of L = L_cls + lambda L_verif (III-E) of a batch of `batch_rates`."""
    features, terms = network(inputs, levels), {}  # z = cat(v_1, ..., v_k, 0, ..., 0), masked by Eq. 3
    if config.identity_weight:  # L_cls, one classifier for all levels
        terms["identity"] = config.identity_weight * identity_loss(network.classifier(features), labels)
    if config.verification_weight:
        half = config.k // 2
        (query, gallery), (query_labels, gallery_labels), (widths, _) = (
            (grid[:, :half].flatten(0, 1), grid[:, half:].flatten(0, 1))
            for grid in (x.unflatten(0, (config.p, config.k)) for x in (features, labels, network.widths(levels)))
        )
        # Eq. 4: v_ij = z_i - z_j of every query i and gallery image j, y_ij = 1 where both show one identity
        differences, same = feature_differences(query, gallery, widths, query_labels, gallery_labels)
        terms["verification"] = config.verification_weight * verification_loss(network.verify(differences), same)
    return terms
