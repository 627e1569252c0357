"""The Vector Panning (VP) module of VPFA ("Looking Alike From Far to Near", Liu et al., 2025), Section 4.2.

It stands behind a frozen re-ID model and moves the feature of an LR image towards where that of the HR image would be.
"""

from itertools import pairwise

import torch
from torch import nn


class VectorPanningModule(nn.Module):  # decision VPFA-2
    """VP module (Eq. 3-5): blocks of (Linear, LayerNorm, ReLU), a Linear back, tanh, added to the input.

    At 3840 numbers a feature and the defaults it has 24.14 million parameters (Section 5.4).

    Args:
        dim: d, numbers in a feature.
        hidden: width of the blocks ("Dim" in Table 4b).
        blocks: how many blocks ("#VP Blocks" in Table 4b).
        residual: whether the input is added (Eq. 3); without it the module predicts the HR feature itself (Table 4a),
            and can only reach values between -1 and 1.
        init_std: standard deviation of the start of all weight matrices, whose biases start at zero (Section 4.2);
            None keeps PyTorch's own start, as the authors' released script does.

    Raises:
        ValueError: a size is below 1, or ``init_std`` is not above 0.
    """

    def __init__(
        self, dim: int, hidden: int = 2048, blocks: int = 3, residual: bool = True, init_std: float | None = 1e-3
    ) -> None:
        super().__init__()
        for name, value in (("dim", dim), ("hidden", hidden), ("blocks", blocks)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, found {value}")
        if init_std is not None and not init_std > 0:
            raise ValueError(f"init_std must be above 0, or None for PyTorch's own start, found {init_std}")
        self.dim, self.residual = dim, residual
        self.blocks = nn.Sequential(*(_block(*widths) for widths in pairwise([dim, *[hidden] * blocks])))
        self.back = nn.Linear(hidden, dim)
        if init_std is not None:
            for module in self.modules():
                if isinstance(module, nn.Linear):
                    nn.init.normal_(module.weight, std=init_std)
                    nn.init.zeros_(module.bias)

    def gate(self, z: torch.Tensor) -> torch.Tensor:
        """Return f(z) = tanh(W_4 VP(z)) (Eq. 4, 5), shape (N, d), each number between -1 and 1."""
        vp = self.blocks(z)  # Eq. 4: W_3 s_2(W_2 s_1(W_1 z)); s: LayerNorm and ReLU, behind W_3 too
        return torch.tanh(self.back(vp))  # Eq. 5: tanh(W_4 VP(z))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Map LR features (N, d) to pseudo-HR features (N, d)."""
        return z + self.gate(z) if self.residual else self.gate(z)  # Eq. 3: z + f(z)


class MirrorAveraged(nn.Module):
    """A frozen network whose feature is the mean of that of the image and of its mirror image (released scripts)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images (N, 3, H, W) to features (N, d)."""
        return (self.network(x).float() + self.network(x.flip(3)).float()) / 2


def _block(width_in: int, width_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width_in, width_out), nn.LayerNorm(width_out), nn.ReLU(inplace=True))
