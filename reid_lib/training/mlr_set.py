"""The training images as the MLR protocol has them, without identities: each exists at one resolution alone."""

import numpy as np
import torch

from reid_lib.datasets.mlr import lr_camera
from reid_lib.datasets.records import ReIDDataset
from reid_lib.datasets.resolution import degrade, downsample
from reid_lib.datasets.sampling import augment
from reid_lib.digest import weights_digest
from reid_lib.networks.inputs import normalise
from reid_lib.networks.sr import SuperResolution
from reid_lib.seeds import numpy_generator
from reid_lib.training.training_set import InputSettings, UnlabelledSet

SCALE = 4  # of super-resolution and of the down-sampling of HR images (DRFM, 4.2)


class MLRSet(UnlabelledSet):  # decision DRFM-1
    """The HR and the LR images of a training split; in the other space each has a made version of itself.

    The images of the LR camera exist at one rate each, drawn once for the data set, as a stored MLR set has them; a
    genuine LR camera's are LR as they are. Which camera is LR is the protocol's own rule (`mlr.lr_camera`). All of them
    are made once and held as bytes, twice the size of the training images.

    Args:
        dataset, split, device: as `UnlabelledSet` takes them.
        rates: down-sampling rates of the LR images.
        kernel: of the down-sampling.
        sr: makes SHR images; None: LR images take their own place there.

    Attributes:
        low: bool (N,), on the device: which images are LR.
        rates: int64 (N,), on the CPU: the rate of what the LR space has of each image.

    Raises:
        ValueError: no LR or no HR image among the training images, or a super-resolution of another scale.
    """

    def __init__(
        self,
        dataset: ReIDDataset,
        split: int,
        rates: tuple[int, ...],
        kernel: str,
        sr: SuperResolution | None,
        device: torch.device | None = None,
    ) -> None:
        super().__init__(dataset, split, device)
        rows = dataset.table.loc[self.numbers]
        low = (rows["camid"] == lr_camera(dataset, rows, split)).to_numpy()
        if low.all() or not low.any():
            raise ValueError(
                f"{dataset.name}: cross-resolution training needs HR and LR images, found {int((~low).sum())} HR and "
                f"{int(low.sum())} LR ones: every training identity must be seen by the LR camera and another one"
            )
        drawn = numpy_generator(0, dataset.name, "rates of the training images", split).choice(rates, size=len(low))
        own = np.where(self.genuine.numpy(), 1, drawn)
        self.rates = torch.from_numpy(np.where(low, own, SCALE))
        self.low = torch.from_numpy(low.copy()).to(self.device)
        self._hh, self._ll = torch.empty(2, len(low), 3, *self.size, dtype=torch.uint8, device=self.device)
        for some in np.array_split(np.arange(len(low)), -(-len(low) // 128)):
            self._make(some, low[some], kernel, sr, min(rates))
        made = None if sr is None else weights_digest({"shr": self._hh[self.low]})
        self._decisive += [self.rates.tolist(), kernel, made]

    def _make(
        self, indices: np.ndarray, low: np.ndarray, kernel: str, sr: SuperResolution | None, smallest: int
    ) -> None:
        """Make the images of both spaces once: they stay as they are, and a step has less to do."""
        images = self.images(indices)
        self._ll[indices] = degrade(images, self.rates[indices], kernel)
        self._hh[indices[~low]] = images[~low]
        if low.any():
            lr = self._ll[indices[low]]
            self._hh[indices[low]] = lr if sr is None else super_resolved(sr, lr, smallest).to(self.device)

    def both(self, indices: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what the HR space and the LR space have of images (n,): two uint8 (n, 3, H, W)."""
        chosen = torch.from_numpy(indices).to(self.device)
        return self._hh.index_select(0, chosen), self._ll.index_select(0, chosen)

    def pairs(
        self, indices: np.ndarray, config: InputSettings, generator: torch.Generator | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return `both` as the networks' inputs, floats (n, 3, h, w); both augmented alike where there are draws."""
        x_hh, x_ll = self._inputs(torch.cat(self.both(indices), 1), config, generator)
        return x_hh, x_ll

    def of_hr_space(
        self, indices: np.ndarray, config: InputSettings, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """Return the first of `pairs` alone, by the same draws."""
        return self._inputs(self.both(indices)[0], config, generator)[0]

    def _inputs(
        self, images: torch.Tensor, config: InputSettings, generator: torch.Generator | None
    ) -> list[torch.Tensor]:
        """Augment images (n, 3 or 6, H, W), one crop for all channels, and make each three a network's input."""
        if generator is not None:
            images = augment(images, generator, config.pad)
        size = config.input_size or self.size
        return [normalise(x, size).contiguous(memory_format=torch.channels_last) for x in images.split(3, 1)]


def super_resolved(sr: SuperResolution, images: torch.Tensor, smallest: int = 2) -> torch.Tensor:
    """Make SHR images of LR images that were resized to the HR size, uint8 (n, 3, H, W).

    They are shrunk by the smallest rate, the largest size that an LR image can have, since a query's rate is unknown;
    then super-resolved, and shrunk to (H, W).

    Raises:
        ValueError: sides that ``smallest`` does not divide, or a model whose scale is below it.
    """
    height, width = images.shape[2:]
    if height % smallest or width % smallest:
        raise ValueError(f"the smallest rate, {smallest}, must divide the images' sides, found {height}x{width}")
    if sr.scale < smallest:
        raise ValueError(
            f"super-resolution by {sr.scale} does not reach the HR size from 1/{smallest} of it: take a model of scale "
            f"{SCALE}"
        )
    made = sr.upscale(downsample(images, (height // smallest, width // smallest)))
    return made if tuple(made.shape[2:]) == (height, width) else downsample(made, (height, width))
