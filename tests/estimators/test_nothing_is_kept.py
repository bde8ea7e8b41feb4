"""What a fit has made is gone with the estimator: a loop over fits takes no more memory than one."""

import gc

import numpy as np
import pytest
import torch

from probmix import DensityClassifier, DensityRegressor
from probmix.mixup import Consistency, Mixup
from probmix.networks import MLP, PiecewiseLinear, ResNet, SharedMLP

MADE = {
    "fast": DensityRegressor(preset="fast", max_epochs=2),
    "plain": DensityRegressor(preset="plain", max_epochs=2),
    "log-normals": DensityRegressor("lognormal-mixture", preset="plain", max_epochs=2),
    "stack": DensityRegressor(["gaussian-mixture", "histogram", "student-t"], n_members=2, max_epochs=2),
    "M-ProbMix": DensityRegressor("gaussian", mixup="m-probmix", preset="plain", max_epochs=2),
    "shared weights": DensityRegressor("gaussian", network=SharedMLP((8,), k=2), n_members=1, max_epochs=2),
    "residual": DensityRegressor("gaussian", network=ResNet(), preset="plain", max_epochs=2),
    "piecewise": DensityRegressor(
        "gamma", network=MLP((8,), embedding=PiecewiseLinear()), preset="plain", max_epochs=2
    ),
    "crps": DensityRegressor("gaussian", loss="crps", preset="plain", max_epochs=2),
    "classes": DensityClassifier(preset="fast", max_epochs=2),
}


def tensors() -> int:
    gc.collect()
    # without isinstance, which wakes proxies of other packages
    return sum(issubclass(type(one), torch.Tensor) for one in gc.get_objects())


@pytest.mark.parametrize("name", MADE)
@pytest.mark.filterwarnings("ignore")
def test_fits_and_predictions_leave_no_tensors(name):
    random = np.random.default_rng(0)
    X = random.normal(size=(60, 3))
    y = np.exp(X[:, 0] + 0.3 * random.normal(size=60))
    if name == "classes":
        y = y > 1

    def fit(seed: int) -> None:
        model = MADE[name].__class__(**MADE[name].get_params()).set_params(random_state=seed)
        model.fit(X, y).predict(X[:5])
        model.log_prob(X[:5], y[:5])

    fit(0)
    before = tensors()
    fit(1)
    fit(2)
    assert tensors() == before


def test_neither_do_rows_without_labels():
    random = np.random.default_rng(0)
    X = random.normal(size=(60, 3))
    mixup = Mixup(at=None, unlabelled=Consistency(1.0, pool="linear"))

    def fit(seed: int) -> None:
        model = DensityRegressor("gaussian", mixup=mixup, preset="plain", max_epochs=2, random_state=seed)
        model.fit(X[:30], X[:30, 0], X_unlabelled=X[30:])

    fit(0)
    before = tensors()
    fit(1)
    fit(2)
    assert tensors() == before
