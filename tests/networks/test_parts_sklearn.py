"""Estimators with each built-in part keep scikit-learn's contract."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from probmix import DensityClassifier, DensityRegressor
from probmix.networks import MLP, Periodic, PiecewiseLinear, ResNet, SharedMLP

FAST = {"max_epochs": 8, "learning_rate": 0.02, "random_state": 0}


@pytest.mark.filterwarnings("ignore::UserWarning")
@parametrize_with_checks(
    [
        DensityRegressor(network=MLP((8,), "silu", dropout=0.1, embedding=Periodic(4, 2)), **FAST, preset="plain"),
        DensityRegressor(
            network=ResNet(8, 1, embedding=PiecewiseLinear(8, 2)), mixup="manifold-mixup", **FAST, preset="plain"
        ),
        # the suite rounds the rows of estimators that take categories, and asks for an accuracy all the same
        DensityClassifier(
            network=SharedMLP((16,), k=2),
            mixup="m-probmix",
            n_draws=4,
            **FAST | {"max_epochs": 40, "learning_rate": 0.05},
            preset="plain",
        ),
    ]
)
def test_scikit_learns_contract(estimator, check):
    check(estimator)
