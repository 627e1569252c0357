"""The maps under scikit-learn's own checks of an estimator."""

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.estimator_checks import parametrize_with_checks

from reid_lib.training.vpfa import VectorPanning
from reid_lib.training.yardsticks import MeanShift, RidgeMap


class _AsScikitLearnCalls:
    """A map fitted as scikit-learn's checks fit: on a matrix, and perhaps a target that is no matrix of HR features.

    The HR features are the LR features, moved, so that there is something to learn.
    """

    def fit(self, X: Any, y: Any = None) -> Self:
        numbers = np.asarray(X).dtype.kind in "fiu"
        return super().fit(X, np.asarray(X) + 1.0 if numbers else X)

    def fit_transform(self, X: Any, y: Any = None) -> Any:
        return self.fit(X).transform(X)


class Shift(_AsScikitLearnCalls, MeanShift):
    def __init__(self, *, seed: int = 0) -> None:
        super().__init__(seed=seed, pairing="image", n_pairs=None, device="cpu")


class Ridge(_AsScikitLearnCalls, RidgeMap):
    def __init__(self, *, alpha: float = 10.0, seed: int = 0) -> None:
        super().__init__(alpha=alpha, seed=seed, pairing="image", n_pairs=None, device="cpu")


class Panning(_AsScikitLearnCalls, VectorPanning):
    def __init__(self, *, hidden: int = 8, seed: int = 0) -> None:
        super().__init__(
            hidden=hidden, seed=seed, epochs=1, pairing="image", n_pairs=None, device="cpu", progress=False
        )


WORDING = "the error is raised, in our words: they name the matrix (LR or HR) and say what to do"
EXCEPTIONS = dict.fromkeys(
    (
        "check_dtype_object",
        "check_n_features_in_after_fitting",
        "check_complex_data",
        "check_estimators_empty_data_messages",
        "check_fit2d_1sample",
        "check_fit2d_predict1d",
    ),
    WORDING,
)


def _exceptions(_: BaseEstimator) -> dict[str, str]:
    return EXCEPTIONS


@parametrize_with_checks([Shift(), Ridge(), Panning()], expected_failed_checks=_exceptions)
def test_scikit_learn_s_own_checks(estimator: BaseEstimator, check: Any) -> None:
    check(estimator)
