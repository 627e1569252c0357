"""The field: what all methods share, what a recipe changes, and what a table says of a training."""

from dataclasses import fields, replace

import pytest

from reid_lib.training import field
from reid_lib.training.baseline import BaselineConfig
from reid_lib.training.cadnet import CADNetConfig
from reid_lib.training.cluster_contrast import ClusterContrastConfig
from reid_lib.training.cyclegan import CycleGANConfig
from reid_lib.training.drfm import DRFMConfig
from reid_lib.training.field import FIELDS, Field, described, on_field, started_from, suffix
from reid_lib.training.intact import INTACTConfig
from reid_lib.training.lrar import LRARConfig
from reid_lib.training.methods import METHODS

SHARED = [f.name for f in fields(Field) if f.name != "batch"]
ON_FIELD = (BaselineConfig, CADNetConfig, LRARConfig)
UNLABELLED = (ClusterContrastConfig, DRFMConfig)


def images(config: object) -> int:
    halves = 2 if isinstance(config, CADNetConfig) else 1
    return halves * config.p * config.k * config.steps * config.epochs


@pytest.mark.parametrize("profile", FIELDS)
def test_all_methods_share_the_field(profile: str) -> None:
    for kind in ON_FIELD:
        config = kind.for_profile(profile)
        assert {name: getattr(config, name) for name in SHARED} == {
            name: getattr(FIELDS[profile], name) for name in SHARED
        }
        assert images(config) == FIELDS[profile].images, kind


def test_every_method_that_learns_from_identities_is_on_the_field() -> None:
    on = {name for name, method in METHODS.items() if method.config in ON_FIELD}
    behind = {name for name, method in METHODS.items() if hasattr(method.config.for_profile("demo"), "frozen")}
    assert METHODS["vpfa"].config.for_profile("demo").frozen == BaselineConfig.for_profile("demo")
    on |= {name for name, method in METHODS.items() if method.config in (INTACTConfig, *UNLABELLED)}  # the next tests
    assert set(METHODS) - on - behind == {n for n, m in METHODS.items() if m.config is CycleGANConfig}


@pytest.mark.parametrize("profile", FIELDS)
def test_intacts_critic_is_on_the_field_and_its_generator_but_for_the_weight_decay(profile: str) -> None:
    config = INTACTConfig.for_profile(profile)
    for kind, own in ((config.critic(), set()), (config, {"weight_decay"})):
        shared = [name for name in SHARED if name not in own]
        expected = {name: getattr(FIELDS[profile], name) for name in shared}
        assert {name: getattr(kind, name) for name in shared} == expected
        assert images(kind) == FIELDS[profile].images


@pytest.mark.parametrize("profile", FIELDS)
def test_methods_without_identities_are_on_the_field_but_for_the_learning_rate(profile: str) -> None:
    """FIELDS' learning rate is meant for true labels."""
    for config in (kind.for_profile(profile) for kind in UNLABELLED):
        shared = {name: getattr(FIELDS[profile], name) for name in SHARED if name != "learning_rate"}
        assert {name: getattr(config, name) for name in shared} == shared
        assert config.learning_rate < FIELDS[profile].learning_rate
        assert images(config) == FIELDS[profile].images


def test_a_recipe_gives_what_the_paper_prints_on_the_fields_network_and_budget() -> None:
    cadnet, lrar = (kind.for_profile("demo", recipe="paper") for kind in (CADNetConfig, LRARConfig))
    assert (cadnet.optimizer, cadnet.neck, cadnet.milestones, cadnet.momentum) == ("sgd", False, (), 0.9)
    assert (lrar.learning_rate, lrar.mask_learning_rate) == (LRARConfig().learning_rate, LRARConfig().learning_rate)
    for config in (cadnet, lrar):
        assert images(config) == FIELDS["demo"].images
        assert (config.width, config.weights) == (FIELDS["demo"].width, FIELDS["demo"].weights)
    on = CADNetConfig.for_profile("demo")
    assert (on.optimizer, on.neck) == ("adam", True)
    assert CADNetConfig.for_profile("demo", recipe="paper", neck=True).neck  # the caller's changes win
    for kind in (CADNetConfig, LRARConfig):
        assert kind.for_profile("paper") == kind.for_profile("paper", recipe="paper") == kind()


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="recipe must be one of field, paper, found 'printed'"):
        LRARConfig.for_profile("demo", recipe="printed")
    with pytest.raises(ValueError, match="unknown profile 'quick'"):
        on_field("quick", {}, {})


def test_another_start_is_the_same_for_all_methods() -> None:
    assert started_from() == {}
    assert started_from(weights="none") == {"weights": "none"}
    changes = started_from("osnet_x0_25", "osnet.pth")
    assert changes == {"network": "osnet_x0_25", "weights": "osnet.pth", "learning_rate": 1e-3}
    for kind in ON_FIELD:
        assert kind.for_profile("demo", **changes).network == "osnet_x0_25"
    assert [suffix(name) for name in ("", "osnet_x0_25", "resnet50")] == ["", " (OSNet x0.25)", " (resnet50)"]


def test_what_a_table_says_of_a_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(field.FIELDS, "demo", Field(steps=10, epochs=4))
    for kind in ON_FIELD:
        told = described(kind.for_profile("demo"), "a loss", batches=2 if kind is CADNetConfig else 1)
        assert (told["images"], told["steps"], told["losses"], told["rate known"]) == ("1,280", "40", "a loss", "no")
        assert (told["backbone"], told["start"]) == ("tiny, width 16", "synth")
    config = replace(LRARConfig(), weights="folder/osnet_x0_25_msmt17.pth", network="osnet_x0_25")
    told = described(config, "both", knows_rate=True)
    assert told["images"] == "120 epochs"
    assert (told["backbone"], told["start"]) == ("osnet_x0_25", "osnet_x0_25_msmt17")
    assert (told["steps"], told["rate known"]) == ("", "yes")
