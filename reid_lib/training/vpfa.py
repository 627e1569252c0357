"""VPFA (Algorithm 1) on the features of a frozen model: the estimator `VectorPanning` and its loop.

Network and loss are in `networks.vpfa` and `losses.vpfa`; what is no part of the paper's method (checks, files,
one module per rate) in `training.feature_maps`::

    panning = VectorPanning().fit(lr_features, hr_features, pids)
    pseudo_hr = panning.transform(query_features)
"""

from typing import Self

import torch
from torch import nn

from reid_lib.losses.vpfa import vector_panning_loss
from reid_lib.networks.vpfa import VectorPanningModule
from reid_lib.profiles import settings
from reid_lib.seeds import torch_generator
from reid_lib.training.feature_maps import FeatureMap
from reid_lib.training.run import Run, initialise

FASTER = {"hidden": 1024}  # decision VPFA-11


class VectorPanning(FeatureMap):  # decision VPFA-3, decision VPFA-8
    """Vector Panning based Feature Alignment (VPFA): pans LR features of any re-ID model to pseudo-HR ones.

    The defaults are the paper's settings (Section 5.2). Training runs in bfloat16 where it is safe (master weights
    stay float32), `transform` in float32. The same parameters, features, machine and number of threads give the same
    estimator. ``VectorPanning(**FASTER)`` has half the width, a third of the weights.

    Args:
        pairing: "identity_mean" (paper): mean LR and mean HR feature of each identity (Eq. 2); "image" (released
            scripts): LR and HR feature of the same image, no identity needed.
        per_rate: one module for each rate, which is then needed at test time too (released scripts); the paper has one
            for all.
        hidden, blocks: width and number of the VP blocks.
        residual: whether the input is added to the output (Eq. 3).
        init_std: standard deviation of the weights' start; None for PyTorch's own (released scripts).
        n_pairs: pairs in an epoch (per module), sampled once; fewer different ones are repeated in turn. None: every
            pair once.
        min_images: with "identity_mean", an identity needs so many LR and so many HR images (of the rate, if
            ``per_rate``).
        epochs, batch_size: length of the training and pairs in a step.
        learning_rate, weight_decay: of Adam; the learning rate is halved after each quarter of the epochs (every 30 of
            120 in the released scripts; the paper only says "fixed schedule").
        seed: of every draw, an integer >= 0.
        device: where maps and training live; None: the CUDA device if there is one, else the CPU.
        progress: whether to show progress bars.
    """

    def __init__(
        self,
        *,
        pairing: str = "identity_mean",
        per_rate: bool = False,
        hidden: int = 2048,
        blocks: int = 3,
        residual: bool = True,
        init_std: float | None = 1e-3,
        n_pairs: int | None = 5000,
        min_images: int = 2,
        epochs: int = 120,
        batch_size: int = 32,
        learning_rate: float = 2e-4,
        weight_decay: float = 1e-5,
        seed: int = 0,
        device: str | torch.device | None = None,
        progress: bool = True,
    ) -> None:
        super().__init__(
            pairing=pairing, per_rate=per_rate, n_pairs=n_pairs, min_images=min_images, seed=seed, device=device
        )
        self.hidden = hidden
        self.blocks = blocks
        self.residual = residual
        self.init_std = init_std
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.progress = progress

    @classmethod
    def for_profile(cls, profile: str, **changes: object) -> Self:
        """Return the estimator with the settings of a profile: a smaller one trains for fewer steps."""
        smaller = {"smoke": {"hidden": 16, "n_pairs": 32, "epochs": 2}, "demo": {"n_pairs": 640, "epochs": 12}}
        return cls(**settings(profile, smaller, changes))

    def _check_parameters(self) -> None:
        super()._check_parameters()
        for name in ("hidden", "blocks", "epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")
        if not 0 < self.learning_rate < float("inf"):
            raise ValueError(f"learning_rate must be above 0 and finite, found {self.learning_rate}")

    def _new_map(self, dim: int) -> nn.Module:
        return VectorPanningModule(dim, self.hidden, self.blocks, self.residual, self.init_std)

    def _fit_map(self, lr: torch.Tensor, hr: torch.Tensor, rate: int) -> nn.Module:
        # Algorithm 1, stage 2 (1): Gaussian weights; stage 1, features and their means (Eq. 2), has given the pairs
        module = initialise(lambda: self._new_map(lr.shape[1]), self.seed, lr.device)
        with torch.random.fork_rng(devices=[]):  # the loop seeds torch; the caller's own draws go on as they were
            self.history_[rate] = train(
                module,
                lr,
                hr,
                epochs=self.epochs,
                batch_size=self.batch_size,
                learning_rate=self.learning_rate,
                weight_decay=self.weight_decay,
                seed=self.seed,
                progress=self.progress,
            )
        return module


def train(
    module: VectorPanningModule,
    lr: torch.Tensor,
    hr: torch.Tensor,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
    seed: int,
    progress: bool = True,
) -> list[dict[str, float]]:
    """Train a VP module on pairs of features (N, d), (N, d) on its device (Algorithm 1, stage 2); return the history.

    The history has a row per epoch: epoch, loss, seconds and pairs (``images``) per second.
    """
    optimizer = torch.optim.Adam(module.parameters(), lr=learning_rate, weight_decay=weight_decay, fused=True)
    # "a fixed learning rate schedule" (Section 4.4): halved every 30 of 120 epochs in the released scripts
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=max(1, epochs // 4), gamma=0.5)
    run = Run(None, {}, seed, {"module": module, "optimizer": optimizer}, lr.device, progress, name="vpfa")
    for epoch in run.epochs(epochs):  # Algorithm 1, stage 2 (2)
        # one order for all processes, of which each takes its share
        order = torch.randperm(len(lr), generator=torch_generator(seed, "epoch", epoch)).to(lr.device)
        for rows in run.batches(order.split(batch_size)):
            z_lr, z_hr = lr[rows], hr[rows]  # (a) a mini-batch of paired features
            with run.autocast():
                # (b) Eq. 3-5: z_LR + tanh(W_4 VP(z_LR)), where VP(z) = W_3 s_2(W_2 s_1(W_1 z))
                panned = module(z_lr)
                # (c) Eq. 6: |panned - z_HR|^2, divided by d and averaged over the mini-batch
                loss = vector_panning_loss(panned, z_hr)
            run.step(optimizer, {"loss": loss}, len(rows))  # (d) gradient descent, by Adam
        schedule.step()
    return run.history
