"""What the benchmarks of training measure; the measurements themselves take too long for a test."""

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks import training
from reid_lib.datasets import load
from reid_lib.networks.vpfa import VectorPanningModule
from reid_lib.seeds import torch_generator
from reid_lib.training.cadnet import CADNetConfig
from reid_lib.training.run import initialise
from reid_lib.training.vpfa import VectorPanning


def test_vpfa_measures_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = []

    class Small(VectorPanning):
        def fit(self, *features: object) -> "Small":
            self.hidden, self.n_pairs = 4, 32
            fitted.append(self)
            return super().fit(*features)

    monkeypatch.setattr(training, "VectorPanning", Small)
    parameters, speed, fit, *_ = training.vpfa()
    count = 3840 * 4 + 4 + 2 * (4 * 4 + 4) + 4 * 3840 + 3840 + 3 * 2 * 4
    assert parameters.value == count / 1000
    assert not parameters.kept
    assert speed.value > 0
    assert "the paper: 4,424,371.31" in speed.detail
    if not fitted[1].maps_[0].back.weight.is_cuda:
        assert len(fitted[1].history_[0]) == 4
        assert "scaled" in fit.what
        assert fit.value == pytest.approx(120 / 3 * sum(row["seconds"] for row in fitted[1].history_[0][1:]))


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_overhead_takes_the_same_steps_both_ways(monkeypatch: pytest.MonkeyPatch, precision: str) -> None:
    monkeypatch.setenv("REID_LIB_PRECISION", precision)
    asked = []

    def new_step() -> training.Step:
        network = initialise(lambda: torch.nn.Linear(3, 1), 0, torch.device("cpu"))
        optimizer = torch.optim.Adam(network.parameters(), lr=0.1)

        def terms() -> dict[str, torch.Tensor]:
            asked.append(torch.is_autocast_enabled("cpu"))
            return {"a": network.weight.square().sum(), "b": (network.bias - 1).square().sum()}

        return training.Step(network, optimizer, 1, terms, torch.device("cpu"))

    measured, bare = new_step(), new_step()
    line = training._overhead("small", measured, count=3, repeat=2)
    assert len(asked) == 3 * (1 + 2 + 2)
    assert np.isfinite(line.value)
    bare.bare(15)
    assert set(asked) == {precision == "bfloat16"}
    assert torch.equal(bare.network.weight, measured.network.weight)


def test_cadnet_measures_a_step_and_every_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {"step": 0.9, "data": 0.3, "E": 0.15, "G": 0.3, "F": 0.15, "C": 0.1, "D_F": 0.1, "D_I": 0.2}
    order, done = iter(list(times) * 5), []

    def smoke(profile: str, **changes: object) -> CADNetConfig:
        done.append(profile)
        return CADNetConfig.for_profile("smoke", **changes)

    def taken(work: Callable[[], object], **_: object) -> float:
        return 3 * times[next(order)]  # of three calls; the works have run before

    monkeypatch.setattr(training, "CADNetConfig", SimpleNamespace(for_profile=smoke))
    monkeypatch.setattr(training, "load", partial(load, images_per_camera=1))
    monkeypatch.setattr(training, "seconds", taken)
    whole, *shares = training.cadnet()
    assert whole.value == pytest.approx(120)  # (0.9 + 0.3) / 1.0
    assert not whole.kept
    assert "1200 ms for 16 images" in whole.detail
    names = ["E", "G", "F", "C", "D_F", "D_I", "data"]
    assert [share.what for share in shares] == [f"CAD-Net, {done[0]} profile: share of {name}" for name in names]
    assert [share.value for share in shares] == pytest.approx([100 * times[name] / 1.2 for name in names])


def test_the_papers_module_has_24_14_million_parameters() -> None:
    features = torch.randn(2, 32, 3840, generator=torch_generator(0, "features"))
    panning = VectorPanning(pairing="image", n_pairs=32, epochs=1, progress=False, device="cpu").fit(*features)
    assert training._parameters(panning).kept


def test_the_printed_speed_needs_half_precision() -> None:
    module = VectorPanningModule(3840)
    weights = sum(layer.weight.numel() for layer in module.modules() if isinstance(layer, torch.nn.Linear))
    rate = 2 * weights * training.VPFA_SPEED  # a multiplication and an addition for each weight
    assert rate == pytest.approx(214e12, rel=0.005)
    assert 156e12 < rate < 312e12  # an A100 in TF32, and in half precision
