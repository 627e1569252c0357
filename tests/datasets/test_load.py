import inspect

import pytest

from reid_lib.datasets import LOADERS, load
from reid_lib.datasets.names import NAMES
from reid_lib.datasets.records import DatasetError


def test_the_synthetic_sets_load_without_a_folder() -> None:
    assert load("synth", identities=24).name == "synth"
    assert load("synth-caviar", identities=24).genuine_lr_camid == 2
    assert set(load("synth-thermal", identities=24).table["modality"]) == {"visible", "thermal"}


def test_an_unknown_name_lists_the_known_ones_and_the_nearest() -> None:
    with pytest.raises(DatasetError, match=r"unknown data set 'vipr' \(did you mean 'viper'\?\).*") as error:
        load("vipr")
    assert all(name in str(error.value) for name in NAMES)
    with pytest.raises(DatasetError, match="unknown data set '7'; known are viper"):
        load("7")


def test_an_unknown_option_lists_the_known_ones_and_the_nearest() -> None:
    with pytest.raises(DatasetError, match=r"viper has no option 'partitions' \(did you mean 'partition'\?\); it has"):
        load("viper", partitions="x.mat")


def test_every_boolean_option_of_every_loader_is_a_boolean() -> None:
    found = 0
    for name, loader in LOADERS.items():
        for option, parameter in inspect.signature(loader).parameters.items():
            if isinstance(parameter.default, bool):
                found += 1
                with pytest.raises(DatasetError, match=f"{name}: {option} must be true or false .* found 'perhaps'"):
                    load(name, **{option: "perhaps"})
    assert found >= 7


def test_a_text_for_a_number_is_refused() -> None:
    with pytest.raises(DatasetError, match="synth: identities must be an integer such as 400, found 'many'"):
        load("synth", identities="many")


@pytest.mark.parametrize("name", ["viper", "caviar", "cuhk03", "market1501", "msmt17", "regdb"])
def test_a_benchmark_without_its_folder_says_what_is_expected_and_where_to_get_it(name: str, tmp_path) -> None:
    with pytest.raises(DatasetError, match=f"{name}: expected root, the folder that holds .*given out by its authors"):
        load(name)
    with pytest.raises(DatasetError, match=r"there is no folder .*nowhere\. .*given out by its authors"):
        load(name, tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["viper", "caviar", "market1501", "msmt17", "table"])
@pytest.mark.parametrize(("file", "hint"), [("p.mat", "option partition=FILE"), ("p.csv", "--dataset table")])
def test_a_file_in_place_of_the_folder_explains_itself(name: str, file: str, hint: str, tmp_path) -> None:
    (tmp_path / file).touch()
    with pytest.raises(DatasetError, match=rf"{name}: expected root, .*found the file .*{file}: .*{hint}"):
        load(name, tmp_path / file)


@pytest.mark.parametrize("name", ["synth", "table", "market1501"])
def test_a_size_of_one_number_is_refused_before_the_set_is_read(name: str) -> None:
    with pytest.raises(DatasetError, match=rf"{name}: size must be \(height, width\) in pixels, .* found 128"):
        load(name, size=128)
