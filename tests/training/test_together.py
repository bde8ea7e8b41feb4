"""Fits of several parts of the data as one are the fits of each."""

import numpy as np
import pytest
from own_zoo import flat_mlp
from sklearn.base import clone

from probmix import DensityClassifier, DensityRegressor, fit_together

SETTINGS = {"max_epochs": 15, "batch_size": 16, "patience": 3, "hidden_layer_sizes": (8,)}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 3))
Y = X[:, 0] + 0.3 * RNG.normal(size=80)
SPLITS = [RNG.permutation(80)[:size] for size in (60, 60, 55, 60)]


@pytest.mark.parametrize("mixup", ["erm", "local-probmix", "m-probmix"])
@pytest.mark.parametrize("changes", [{}, {"n_members": 2}, {"batch_size": None, "patience": None}], ids=str)
def test_each_is_what_it_would_be_alone(mixup, changes):
    assert_as_alone(DensityRegressor(mixup=mixup, **(SETTINGS | changes), preset="plain"), Y)


def test_own_networks():
    assert_as_alone(DensityRegressor(network=flat_mlp, **SETTINGS, preset="plain"), Y)


def test_classes_that_one_split_lacks_are_fitted_apart():
    labels = np.where(X[:, 1] > 0, "b", "a").astype(object)
    labels[SPLITS[0][:3]] = "rare"
    splits = [SPLITS[0], np.setdiff1d(np.arange(80), SPLITS[0][:3])[:60], SPLITS[1]]
    fits = assert_as_alone(DensityClassifier(**SETTINGS, preset="plain"), labels, splits)
    assert [len(fit.classes_) for fit in fits][:2] == [3, 2]


def assert_as_alone(estimator, y, splits=SPLITS):
    seeds = list(range(5, 5 + len(splits)))
    fits = fit_together(estimator, X, y, splits, seeds)
    assert not hasattr(estimator, "network_")
    for fit, rows, seed in zip(fits, splits, seeds, strict=True):
        alone = clone(estimator).set_params(random_state=seed).fit(X[rows], y[rows])
        np.testing.assert_array_equal(fit.best_epoch_, alone.best_epoch_)
        np.testing.assert_allclose(fit.validation_curve_, alone.validation_curve_, atol=1e-4)
        np.testing.assert_allclose(fit.log_prob(X[rows], y[rows]), alone.log_prob(X[rows], y[rows]), atol=1e-3)
        assert fit.get_params(deep=False) == alone.get_params(deep=False)
        assert set(vars(fit)) == set(vars(alone))
    return fits


def test_what_cannot_be_fitted_together_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"^every split has a seed; got 4 splits and 1 random_states\.$"):
        fit_together(DensityRegressor(preset="plain"), X, Y, SPLITS, [0])
    with pytest.raises(ValueError, match=r"^`checkpoint` keeps a single fit; set it to None to fit several together"):
        fit_together(DensityRegressor(checkpoint=tmp_path / "run", preset="plain"), X, Y, SPLITS, range(4))
