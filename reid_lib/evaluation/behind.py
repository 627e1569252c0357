"""VPFA and other maps behind any Matcher, not only behind a network whose query and gallery features are alike.

bank = MatcherBank(matcher, dataset)
panning = fit_to_bank(VectorPanning(), bank, split=0)  # training.panning
scores = evaluate_features(bank, trials, panning)  # evaluation.features: cosine, over the whole feature
"""

import numpy as np
import torch

from reid_lib.datasets.image_store import ImageStore, open_store
from reid_lib.datasets.records import ReIDDataset
from reid_lib.datasets.resolution import degrade
from reid_lib.evaluation.features import FeatureBank
from reid_lib.evaluation.ranking import Matcher


class MatcherBank(FeatureBank):  # decision VPFA-10
    """A Matcher's embeddings of a data set's images: of rate > 1 and of genuine LR images as queries, else as gallery.

    It is used as a `features.FeatureBank`, and kept in memory. Where a query's embedding is one number longer than a
    gallery image's, that number is LRAR's level: it is left out, and the zeros behind the level's length stay, which a
    map can fill.

    Args:
        matcher: its embeddings are one vector for each image; ``device`` and ``split`` are those of `ranking.Matcher`.
        dataset: the data set.
        kernel, batch_size, progress: as `FeatureBank` takes them.

    Raises:
        ValueError: embeddings that are not (n, d), or of different lengths for query and gallery.
    """

    def __init__(self, matcher: Matcher, dataset: ReIDDataset, **options: object) -> None:
        super().__init__(matcher, dataset, **options)
        self.device = getattr(matcher, "device", torch.device("cpu"))
        images = open_store(dataset).batch(np.arange(1)).to(self.device)
        query = matcher.embed_query(images, torch.ones(1, dtype=torch.int64, device=self.device))
        gallery = matcher.embed_gallery(images)
        shapes = f"query {tuple(query.shape)} and gallery {tuple(gallery.shape)}"
        if query.ndim != 2 or gallery.ndim != 2 or query.shape[1] - gallery.shape[1] not in (0, 1):
            raise ValueError(
                f"a map needs one vector of one length for each image, found {shapes}: it cannot stand here"
            )
        self.width = gallery.shape[1]

    @property
    def split(self) -> int | None:
        """The split on whose training identities the matcher was trained."""
        return getattr(self.model, "split", None)

    @torch.inference_mode()
    def _embed(self, store: ImageStore, rows: np.ndarray, rate: int) -> torch.Tensor:
        rates, found = torch.full((len(rows),), rate), torch.empty(len(rows), self.width)
        images = degrade(store.batch(rows).to(self.device), rates, self.kernel)
        genuine = self.dataset.table["camid"].to_numpy()[rows] == self.dataset.genuine_lr_camid
        as_query = torch.from_numpy(genuine | (rate > 1))
        for of in (as_query, ~as_query):
            if of.any():
                some, told = images[of.to(self.device)], rates[of].to(self.device)
                embedding = self.model.embed_query(some, told) if of is as_query else self.model.embed_gallery(some)
                found[of] = embedding[:, : self.width].float().cpu()
        bad = int((~found.isfinite().all(1)).sum())
        if bad:
            raise ValueError(
                f"the matcher gives NaN or infinite embeddings for {bad} of {len(rows)} images of {self.dataset.name} "
                f"at rate {rate}: look at its weights"
            )
        return found
