import os
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from reid_lib.networks.weights import WeightsError, load_state, load_weights


def _network(width: int = 4) -> nn.Module:
    return nn.Sequential(OrderedDict(conv=nn.Conv2d(3, width, 1), bn=nn.BatchNorm2d(width)))


def _same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s, "epoch": 3}, lambda s: {"model": s}])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_reads_torch_files_wrapped_or_not(tmp_path: Path, wrap, prefix: str):
    state = _network().state_dict()
    torch.save(wrap({prefix + name: value for name, value in state.items()}), tmp_path / "a.pth")
    assert _same(load_state(tmp_path / "a.pth"), state)


def test_reads_files_of_before_pytorch_1_6(tmp_path: Path):
    state = _network().state_dict()
    torch.save(state, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    assert _same(load_state(tmp_path / "a.pth"), state)


def test_reads_safetensors(tmp_path: Path):
    state = _network().state_dict()
    save_file(state, tmp_path / "a.safetensors")
    assert _same(load_state(str(tmp_path / "a.safetensors")), state)


def test_absent_file(tmp_path: Path):
    with pytest.raises(WeightsError, match=r"weight file missing: .*nothing\.pth; give the path of an existing"):
        load_state(tmp_path / "nothing.pth")


class _Code:
    """Pickles to a call: what a malicious weight file does."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_with_code_is_refused_and_the_code_is_not_run(tmp_path: Path, zipped: bool):
    content = {"state_dict": _network().state_dict(), "code": _Code(tmp_path / "ran")}
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match=r"holds more than tensors.*was not read.*weights_only=False"):
        load_state(tmp_path / "a.pth")
    assert not (tmp_path / "ran").exists()


def test_a_whole_pickled_network_is_refused(tmp_path: Path):
    torch.save(_network(), tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="holds more than tensors"):
        load_state(tmp_path / "a.pth")


def test_a_torchscript_archive_is_refused(tmp_path: Path):
    torch.save(_network().state_dict(), tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt", "a") as archive:
        archive.writestr("a/constants.pkl", b"")  # the entry by which PyTorch knows one
    with pytest.raises(WeightsError, match=r"holds more than tensors.*torch\.jit\.load"):
        load_state(tmp_path / "a.pt")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kept", [0.0, 0.02, 0.5, 0.99])
def test_torch_file_cut_short(tmp_path: Path, zipped: bool, kept: float):
    path = tmp_path / "a.pth"
    torch.save(_network(64).state_dict(), path, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(WeightsError, match=r"is cut short or is no weight file .*copy or download it again"):
        load_state(path)


def test_a_flipped_bit_is_seen(tmp_path: Path):
    path, network = tmp_path / "a.pth", _network()
    torch.save(network.state_dict(), path)
    content = bytearray(path.read_bytes())
    content[content.index(network.conv.weight.detach().numpy().tobytes()) + 5] ^= 4
    path.write_bytes(content)
    assert not _same(torch.load(path, weights_only=True), network.state_dict())  # PyTorch does not look
    with pytest.raises(WeightsError, match="is cut short or is no weight file"):
        load_state(path)


@pytest.mark.parametrize("kept", [0.0, 0.02, 0.5, 0.99])
def test_safetensors_file_cut_short(tmp_path: Path, kept: float):
    path = tmp_path / "a.safetensors"
    save_file(_network(64).state_dict(), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(WeightsError, match="is cut short or is no weight file"):
        load_state(path)


def test_file_of_something_else(tmp_path: Path):
    (tmp_path / "a.pth").write_text("<html>404 not found</html>\n" * 50)
    with pytest.raises(WeightsError, match="is cut short or is no weight file"):
        load_state(tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("content", "found"), [([1, 2], "a list"), ({}, "nothing"), ({"epoch": 3}, "a int for 'epoch'")]
)
def test_file_without_weights(tmp_path: Path, content, found: str):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=f"holds no weights: .*found {found}"):
        load_state(tmp_path / "a.pth")


def test_load_weights_fills_the_network_and_ignores_the_classifier(tmp_path: Path):
    source, network = _network(), _network()
    torch.save({**source.state_dict(), "classifier.weight": torch.zeros(7, 4)}, tmp_path / "a.pth")
    load_weights(network, tmp_path / "a.pth")
    assert _same(network.state_dict(), source.state_dict())


def test_the_counter_of_batch_normalisation_may_be_absent(tmp_path: Path):
    source, network = _network(), _network()
    torch.save({n: v for n, v in source.state_dict().items() if "num_batches" not in n}, tmp_path / "a.pth")
    load_weights(network, tmp_path / "a.pth")
    assert torch.equal(network.conv.weight, source.conv.weight)


def test_weights_of_another_network_change_nothing(tmp_path: Path):
    network = _network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.save({f"layer{i}.weight": torch.zeros(2) for i in range(5)}, tmp_path / "a.pth")
    message = (
        r"another network than Sequential, .*: 6 missing \(conv.weight, conv.bias, bn.weight, \.\.\.\); "
        r"5 unexpected \(layer0.weight, layer1.weight, layer2.weight, \.\.\.\)"
    )
    with pytest.raises(WeightsError, match=message):
        load_weights(network, tmp_path / "a.pth")
    assert _same(network.state_dict(), before)


def test_weights_of_another_width(tmp_path: Path):
    torch.save(_network(8).state_dict(), tmp_path / "a.pth")
    with pytest.raises(
        WeightsError, match=r"6 of another shape \(conv.weight \(8, 3, 1, 1\) instead of \(4, 3, 1, 1\), "
    ):
        load_weights(_network(4), tmp_path / "a.pth")
