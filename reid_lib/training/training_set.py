"""What a loop trains on: the training images of one split, on a device, and the run that is kept for them."""

from collections.abc import Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from reid_lib.datasets.image_store import open_store
from reid_lib.datasets.records import ReIDDataset
from reid_lib.datasets.resolution import degrade, upsample
from reid_lib.datasets.sampling import augment
from reid_lib.devices import pick_device, precision
from reid_lib.digest import NOT_DECISIVE, code_digest, keyed, weights_digest
from reid_lib.networks.inputs import normalise
from reid_lib.training.run import Run, Stateful
from reid_lib.values import check_parameters


class InputSettings(Protocol):
    """The fields of a configuration that say how an image becomes the network's input."""

    kernel: str
    input_size: tuple[int, int] | None
    pad: int


def check_config(config: Any) -> None:
    """Refuse settings that would train something else than they say.

    Raises:
        ValueError: a boolean is given as something else (a text is always true), a number as text, or a batch is one
            image of one identity.
    """
    if is_dataclass(config):
        check_parameters(type(config), vars(config))
    p, k = (getattr(config, name, None) for name in ("p", "k"))
    if p == k == 1:
        raise ValueError(
            "a batch of p=1 identity with k=1 image cannot be trained on, batch normalisation has no variance of one "
            "image and a triplet needs three: choose a larger p or k"
        )


class UnlabelledSet:  # decision HOUSE-3
    """The training images of a split without their identities, for methods that must not know them.

    An image's index counts the training images, 0 to N - 1, in the order of their paths (with identities: of identity,
    then path); its number is its row in the data set's table.

    Args:
        dataset: the data set.
        split: number of the train/test split.
        device: where batches go; None takes the CUDA device if there is one.

    Attributes:
        numbers: int64 (N,), the images' numbers.
        genuine: bool (N,), on the CPU: which images are LR by nature.
        store: the image store of the whole data set.
        size: (H, W) of the images in pixels.
        name, split, device: of the data set, the split, the device.
    """

    _order: tuple[str, ...] = ("path",)  # of the images, so that the order of the data set's rows makes no difference

    def __init__(self, dataset: ReIDDataset, split: int = 0, device: torch.device | None = None) -> None:
        rows = dataset.part("train", split).sort_values(list(self._order))
        self.name, self.size, self.split, self.device = dataset.name, dataset.size, split, device or pick_device()
        self.numbers = rows.index.to_numpy()
        self.genuine = torch.from_numpy((rows["camid"] == dataset.genuine_lr_camid).to_numpy(copy=True))
        self.store = open_store(dataset)
        self._decisive: list[Any] = [dataset.fingerprint(), self.numbers.tolist()]

    def __len__(self) -> int:
        return len(self.numbers)

    def images(self, indices: np.ndarray) -> torch.Tensor:
        """Return images by their indices (n,): uint8 (n, 3, H, W) on the device."""
        return self.store.batch(self.numbers[indices]).to(self.device, non_blocking=True)

    def inputs(
        self, indices: np.ndarray, rates: torch.Tensor, config: InputSettings, generator: torch.Generator
    ) -> torch.Tensor:
        """Read images, down-sample them by their rates (n,), resize, augment and normalise them.

        Returns:
            The network's input, floats (n, 3, h, w), channels last.
        """
        images = degrade(self.images(indices), rates, config.kernel)
        if config.input_size not in (None, self.size):
            images = upsample(images, config.input_size)
        return normalise(augment(images, generator, config.pad)).contiguous(memory_format=torch.channels_last)

    def open_run(  # decision ENGINE-7, decision ENGINE-8
        self,
        name: str,
        config: Any,
        parts: Mapping[str, Stateful],
        seed: int,
        folder: str | Path | None,
        progress: bool = True,
    ) -> Run:
        """Open the `Run` of a loop on these images: a new one, or the one of the same experiment that ``folder`` keeps.

        What decides the result names its place in ``folder``: the configuration, images, labels and seed, the weights
        that the modules of ``parts`` start from, the code of the loop with all that it imports, and the precision.

        Args:
            name: the loop's module, ``__name__``.
            config: the method's frozen dataclass.
            parts: every module, optimiser and scheduler whose state a resume needs, by name.
            seed: seed of all draws.
            folder: parent of the run's own folder; None keeps nothing.
            progress: whether to show progress bars.

        Raises:
            ValueError: as `check_config`.
        """
        check_config(config)
        if folder is not None:
            starts = {
                key: weights_digest(part.state_dict()) for key, part in parts.items() if isinstance(part, nn.Module)
            }
            computed = [code_digest(name, NOT_DECISIVE), str(precision(self.device))]
            decisive = [config, *self._decisive, seed, starts, *computed]
            folder = keyed(folder, f"{name.rpartition('.')[2]}-seed{seed}", *decisive)
        return Run(folder, config, seed, dict(parts), self.device, progress)


class TrainingSet(UnlabelledSet):
    """The training images of a split with their identities.

    Attributes:
        pids: integers (N,), the images' identities as the data set numbers them.
        labels: int64 (N,) on the device, the identities as 0 to ``identities`` - 1.
        identities: how many there are.
    """

    _order = ("pid", "path")

    def __init__(self, dataset: ReIDDataset, split: int = 0, device: torch.device | None = None) -> None:
        super().__init__(dataset, split, device)
        self.pids = dataset.table["pid"].to_numpy()[self.numbers]
        found, labels = np.unique(self.pids, return_inverse=True)
        self.labels, self.identities = torch.from_numpy(labels).to(self.device), len(found)
        self._decisive.append(self.pids.tolist())

    def labels_of(self, indices: np.ndarray) -> torch.Tensor:
        """Return the labels of images by their indices (n,): int64 (n,) on the device."""
        return self.labels[torch.from_numpy(indices).to(self.device, non_blocking=True)]
