"""Matchers that any method can hand out: of one network, of one network per rate, and of one with a map behind it."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import torch
from numpy.typing import ArrayLike
from torch import nn

from reid_lib.datasets.resolution import degrade
from reid_lib.devices import pick_device
from reid_lib.evaluation.ranking import euclidean
from reid_lib.networks.inputs import normalise
from reid_lib.networks.osnet import osnet_x0_25


class Map(Protocol):
    """What moves features of LR images; the estimators of `training.feature_maps` are such."""

    def transform(self, features: torch.Tensor, rates: ArrayLike) -> torch.Tensor:
        """Map features (n, d) of images of rates (n,) to features (n, d)."""
        ...


class FeatureMatcher:  # decision HOUSE-6
    """The Matcher of one network: the same feature for query and gallery, compared by cosine.

    Args:
        embed: maps normalised images (N, 3, h, w) to features (N, d); a network in eval mode, or a method of one.
        input_size: (h, w) that ``embed`` takes.
        device: where it runs.
        split: the split on whose training identities it was trained; None: on no identity of the data set.
    """

    def __init__(
        self,
        embed: Callable[[torch.Tensor], torch.Tensor],
        input_size: tuple[int, int],
        device: torch.device,
        split: int | None = None,
    ) -> None:
        self.embed, self.input_size, self.device, self.split = embed, input_size, device, split

    @torch.inference_mode()
    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Map uint8 images (n, 3, H, W) to the network's own features (n, d), of any length."""
        inputs = normalise(images, self.input_size).contiguous(memory_format=torch.channels_last)
        return self.embed(inputs).float()

    def embed_gallery(self, images: torch.Tensor) -> torch.Tensor:
        """Embed uint8 images (n, 3, H, W) as features (n, d) of length 1."""
        return nn.functional.normalize(self.features(images))

    def embed_query(self, images: torch.Tensor, rates: torch.Tensor) -> torch.Tensor:
        """Embed uint8 images (n, 3, H, W) as features (n, d) of length 1; the rates make no difference."""
        return self.embed_gallery(images)

    def distance(self, query: torch.Tensor, gallery: torch.Tensor) -> torch.Tensor:  # decision EVAL-3
        """Squared Euclidean distances (n_query, n_gallery) of features of length 1: they rank as cosines do."""
        return euclidean(query, gallery)


def pretrained_name(weights: str | Path) -> str:
    """Return the method's name in tables: "OSNet x0.25 (msmt17)" for ``osnet_x0_25_msmt17.pth``."""
    return f"OSNet x0.25 ({Path(weights).stem.removeprefix('osnet_x0_25_')})"


def pretrained(weights: str | Path, device: torch.device | None = None) -> FeatureMatcher:
    """Return the Matcher of an OSNet x0.25 checkpoint as it is (256 x 128 pixels, 512-d features).

    Args:
        weights: the checkpoint's file.
        device: None takes the CUDA device if there is one.

    Raises:
        ValueError: weights "none": a random network would be measured.
        WeightsError: the file is absent, cannot be read, holds more than tensors, or is of another network.
    """
    if str(weights) == "none":
        raise ValueError('weights="none" would measure a random network: name an OSNet x0.25 file')
    device = device or pick_device()
    network = osnet_x0_25(weights=weights).to(device, memory_format=torch.channels_last).eval()
    return FeatureMatcher(network, network.input_size, device)


class PerRateMatcher:
    """One model per rate: a query of rate r meets the gallery, down-sampled by r, in the model of r.

    LRAR calls this the naive solution (Section V-E.1). A rate without a model goes to the nearest smaller one, or the
    smallest there is. An embedding's last column of a query is the index of its model; a gallery's is (n, models, d).
    """

    def __init__(self, matchers: dict[int, FeatureMatcher], kernel: str = "bicubic") -> None:
        self.rates = sorted(matchers)
        self.matchers = [matchers[rate] for rate in self.rates]
        self.kernel, self.device, self.split = kernel, self.matchers[0].device, self.matchers[0].split

    def model_of(self, rates: torch.Tensor) -> torch.Tensor:
        """Return the index of the model for each rate; int64 (n,)."""
        known = torch.tensor(self.rates, device=rates.device)
        return (torch.searchsorted(known, rates, right=True) - 1).clamp(min=0)

    def embed_query(self, images: torch.Tensor, rates: torch.Tensor) -> torch.Tensor:
        """Embed each image by the model of its rate: (n, d + 1)."""
        models = self.model_of(rates)
        features = [(models == i).nonzero().squeeze(1) for i in range(len(self.matchers))]
        parts = {i: self.matchers[i].embed_gallery(images[rows]) for i, rows in enumerate(features) if len(rows)}
        width = next(iter(parts.values())).shape[1]
        embedding = torch.empty(len(images), width + 1, device=images.device)
        for i, part in parts.items():
            embedding[features[i], :-1] = part
        embedding[:, -1] = models
        return embedding

    def embed_gallery(self, images: torch.Tensor) -> torch.Tensor:
        """Embed each image by every model, at that model's rate: (n, models, d)."""
        versions = [
            m.embed_gallery(degrade(images, r, self.kernel)) for r, m in zip(self.rates, self.matchers, strict=True)
        ]
        return torch.stack(versions, dim=1)

    def distance(self, query: torch.Tensor, gallery: torch.Tensor) -> torch.Tensor:
        """Squared Euclidean distances (n_query, n_gallery), each in its query's model."""
        distances = torch.empty(len(query), len(gallery), device=query.device)
        for i in range(len(self.matchers)):
            rows = (query[:, -1] == i).nonzero().squeeze(1)
            distances[rows] = euclidean(query[rows, :-1], gallery[:, i])
        return distances


class PannedMatcher(FeatureMatcher):
    """The Matcher of a network with an estimator behind it: query features are panned, then compared by cosine.

    Every query is panned, whatever its rate; the gallery never is. The estimator must be fitted on the features that
    ``embed`` gives, before they get length 1.

    Args:
        embed, input_size, device: as `FeatureMatcher` takes them.
        panning: a fitted map (`training.vpfa.VectorPanning`).
        split: the split on whose training identities network or estimator were trained; None: on no identity.
    """

    def __init__(
        self,
        embed: Callable[[torch.Tensor], torch.Tensor],
        input_size: tuple[int, int],
        device: torch.device,
        panning: Map,
        split: int | None = None,
    ) -> None:
        super().__init__(embed, input_size, device, split)
        self.panning = panning

    def embed_query(self, images: torch.Tensor, rates: torch.Tensor) -> torch.Tensor:
        """Embed uint8 images (n, 3, H, W) of rates (n,) as panned features (n, d) of length 1."""
        return nn.functional.normalize(self.panning.transform(self.features(images), rates))
