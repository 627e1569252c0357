"""The architectures' pictures: shapes are the network's, descriptions fit, and nothing overlaps."""

import io
from dataclasses import replace
from itertools import combinations

import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Annotation

from reid_lib.networks.vpfa import VectorPanningModule
from reid_lib.reporting import architecture
from reid_lib.reporting.drawing import Arrow
from reid_lib.reporting.papers import cadnet as cadnet_paper
from reid_lib.reporting.papers import drfm as drfm_paper
from reid_lib.reporting.papers import intact as intact_paper
from reid_lib.reporting.papers import lrar as lrar_paper
from reid_lib.reporting.papers import vpfa as vpfa_paper
from reid_lib.training import cadnet, critic, drfm, intact, lrar

PAPERS = (cadnet_paper, intact_paper, lrar_paper, drfm_paper, vpfa_paper)
DRAWINGS = {paper.PAPER.key: paper.ARCHITECTURE for paper in PAPERS}
DRAWINGS |= {"intact: G": intact_paper.GENERATOR, "intact: designs": intact_paper.DESIGNS}
DRAWINGS |= {"drfm: CRFF": drfm_paper.FUSION}
DESIGNS = {"a": {"association": "common space"}, "b": {"association": "D-to-R"}, "c": {}, "d": {"bridge": False}}


def setting(method: str, profile: str, device: str = "meta") -> architecture.Setting:
    size = (256, 128) if profile == "paper" else (64, 32)
    with torch.device(device):
        if method == "vpfa":
            dim, hidden = (3840, 2048) if profile == "paper" else (64, 16)
            return VectorPanningModule(dim, hidden), torch.zeros(2, dim)
        if method == "intact: designs":
            networks = {name: intact_network(profile, size, **changes) for name, changes in DESIGNS.items()}
            return torch.nn.ModuleDict(networks), torch.zeros(2, 3, *size)
        if method.startswith("intact"):
            return intact_network(profile, size), torch.zeros(2, 3, *size)
        if method.startswith("drfm"):
            config = drfm.DRFMConfig.for_profile(profile, weights="none")
            return drfm.build_network(config, size), torch.zeros(2, 3, *size)
        module, config = {"cadnet": (cadnet, cadnet.CADNetConfig), "lrar": (lrar, lrar.LRARConfig)}[method]
        network = module.build_network(config.for_profile(profile, weights="none"), size, 1367)
        return network, torch.zeros(2, 3, *size)


def intact_network(profile: str, size: tuple[int, int], **changes: object) -> torch.nn.Module:
    config = intact.INTACTConfig.for_profile(profile, weights="none", **changes)
    return intact.build_network(config, size, critic.build_critic(config.critic(), size, 1367))


def drawn(method: str):
    return architecture.draw(DRAWINGS[method], setting(method, "paper"), setting(method, "demo"))


@pytest.mark.parametrize("method", DRAWINGS)
def test_every_name_is_in_the_network(method: str) -> None:
    for profile in ("paper", "smoke"):
        network, _ = setting(method, profile)
        names = {name for name, _ in (*network.named_modules(), *network.named_parameters())}
        for box in DRAWINGS[method].boxes:
            assert {box.output, box.part} - {"", "input"} <= names, box.name


def test_shapes_and_counts_at_the_papers_setting() -> None:
    found = architecture.measure(DRAWINGS["cadnet"], *setting("cadnet", "paper"))
    assert found["E"] == ("2048×8×4", 23_508_032)  # ResNet-50 without its classifier
    assert found["G"][0] == found["x"][0] == "3×256×128"
    assert found["C"] == ("1367", 1367 * 4096 + 1367)
    found = architecture.measure(DRAWINGS["lrar"], *setting("lrar", "paper"))
    assert [found[f"mask {i}"][0] for i in (1, 2, 3, 4)] == ["4×256", "4×512", "4×1024", "4×2048"]
    assert found["stage 4"][0] == "2048×16×8"
    found = architecture.measure(DRAWINGS["intact: G"], *setting("intact: G", "paper"))
    assert found["group 4"][0] == "512×16×8"  # Section 4.3: from 256x128 to 16x8
    assert found["image"][0] == "3×256×128"
    found = architecture.measure(DRAWINGS["drfm"], *setting("drfm", "paper"))
    assert found["E_h"] == found["E_l"] == ("2048", 23_508_032 + 2 * 2048)  # ResNet-50 and a BN neck each
    assert found["Pred"] == ("2048", 2048 * 2048 + 2048)
    assert found["CRFF"] == ("2048", 4 * 2048 * 2048 + 3 * 2048)
    found = architecture.measure(DRAWINGS["drfm: CRFF"], *setting("drfm: CRFF", "paper"))
    assert found["F1"] == found["F2"] == ("2048", 2048 * 2048 + 2048)
    assert found["F3"] == ("2048", 4096 * 2048 + 2048)
    assert found["f^sh"] == found["f^l"] == ("2048", 0)
    found = architecture.measure(DRAWINGS["vpfa"], *setting("vpfa", "paper"))
    assert round(sum(count for _, count in found.values()) / 1e6, 2) == 24.14  # Section 5.4


def test_shapes_of_a_tiny_network_and_its_state_stays() -> None:
    network, images = setting("cadnet", "smoke", "cpu")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.train()
    network.F.eval()
    found = architecture.measure(DRAWINGS["cadnet"], network, images)
    assert (network.E.training, network.F.training) == (True, False)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())
    assert found["E"][0] == "×".join(map(str, network.E.feature_map(images).shape[1:]))
    assert found["D_F"][0] == "×".join(map(str, network.D_F(network.E.feature_map(images)).shape[1:]))
    assert found["G"][1] == sum(p.numel() for p in network.G.parameters())


@pytest.mark.parametrize("method", DRAWINGS)
def test_nothing_overlaps(method: str) -> None:
    figure = drawn(method)
    renderer = FigureCanvasAgg(figure).get_renderer()
    texts = [t for t in figure.axes[0].texts if not isinstance(t, Annotation)]
    extents = [(t.get_text(), t.get_window_extent(renderer)) for t in texts]
    for (name, one), (other, two) in combinations(extents, 2):
        inside = min(one.x1, two.x1) - max(one.x0, two.x0), min(one.y1, two.y1) - max(one.y0, two.y0)
        assert min(inside) <= 3, (name, other)  # lines of one box may touch; matplotlib before 3.11 has higher ones
    height = DRAWINGS[method].height
    for name, extent in extents:
        assert 0 <= extent.x0 < extent.x1 <= architecture.WIDTH, name
        assert 0 <= extent.y0 < extent.y1 <= height, name
    boxes = DRAWINGS[method].boxes
    for one, two in combinations(boxes, 2):
        apart = [
            abs(a + s / 2 - b - t / 2) - (s + t) / 2
            for a, s, b, t in zip(one.at, one.size, two.at, two.size, strict=True)
        ]
        assert max(apart) > 0, (one.name, two.name)
    for name, extent in extents:  # a text that begins in a box ends in it
        x, y = (extent.x0 + extent.x1) / 2, height - (extent.y0 + extent.y1) / 2
        for box in boxes:
            (left, top), (width, tall) = box.at, box.size
            if box.look != "plain" and left < x < left + width and top < y < top + tall:
                assert left <= extent.x0 < extent.x1 <= left + width, (box.name, name)


def test_an_unknown_submodule_is_refused() -> None:
    drawing = DRAWINGS["vpfa"]
    wrong = replace(drawing, boxes=(*drawing.boxes, replace(drawing.boxes[1], name="new", output="blocks.7")))
    with pytest.raises(
        architecture.ArchitectureError, match=r"VectorPanningModule has no submodule 'blocks.7'; it has"
    ):
        architecture.draw(wrong, setting("vpfa", "paper"), setting("vpfa", "demo"))


def test_a_submodule_that_is_not_called_and_an_arrow_to_nowhere_are_refused() -> None:
    drawing, both = DRAWINGS["vpfa"], (setting("vpfa", "paper"), setting("vpfa", "demo"))
    with pytest.raises(architecture.ArchitectureError, match=r"'back' was not called"):
        architecture.draw(replace(drawing, run=lambda network, z: network.blocks(z)), *both)
    with pytest.raises(architecture.ArchitectureError, match=r"an arrow ends at 'nowhere.left': expected BOX.SIDE"):
        architecture.draw(replace(drawing, arrows=(Arrow("lr.right", "nowhere.left"),)), *both)


def test_the_same_network_gives_the_same_picture() -> None:
    pictures = [io.BytesIO(), io.BytesIO()]
    for picture in pictures:
        drawn("lrar").savefig(picture, format="png", metadata={"Software": None})
    assert pictures[0].getvalue() == pictures[1].getvalue()
