import numpy as np
import pytest

from reid_lib.datasets import load, mlr
from reid_lib.datasets.records import DatasetError
from reid_lib.datasets.synth.twins import truths, twin_trials


@pytest.fixture(scope="module")
def far():
    return load("synth-caviar", identities=8, images_per_camera=2, size=(32, 16))


def test_a_twin_is_the_same_moment_at_hr(far) -> None:
    near = truths(far)
    assert near.genuine_lr_camid is None
    assert len(near) == len(far)
    camera = far.table["camid"].to_numpy()
    changed = (near.table["path"] != far.table["path"]).to_numpy()
    assert changed[camera == 2].all()
    assert not changed[camera == 1].any()
    row = int(np.flatnonzero(camera == 2)[0])
    lr, hr = (one.read(one.table["path"].iloc[row]).astype(float) for one in (far, near))
    assert 0 < np.abs(lr - hr).mean() < 60  # the same picture, and blurred


def test_trials_differ_in_the_queries_resolution_alone(far) -> None:
    near, drawn = truths(far), mlr.trials(far, n=2)
    twins, hr = twin_trials(drawn, near), twin_trials(drawn, near, rate=1)
    for trial, twin, high in zip(drawn, twins, hr, strict=True):
        assert twin.dataset is near
        assert twin.gallery.equals(trial.gallery)
        assert twin.query[["pid", "camid"]].equals(trial.query[["pid", "camid"]])
        assert twin.query["rate"].tolist() == far.table.loc[twin.query.index, "distance"].round().astype(int).tolist()
        assert set(high.query["rate"]) == {1}
        assert (twin.query["path"] == near.table.loc[twin.query.index, "path"]).all()


def test_sets_without_truths_are_refused(far) -> None:
    with pytest.raises(DatasetError, match="synth has no HR truths"):
        truths(load("synth", identities=8, images_per_camera=1, size=(32, 16)))
    other = mlr.trials(load("synth-caviar", identities=12, images_per_camera=2, size=(32, 16)), n=1)
    with pytest.raises(DatasetError, match="expected trials of the set whose truths"):
        twin_trials(other, truths(far))
