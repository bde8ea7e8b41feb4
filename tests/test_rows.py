"""What rows and weights mean to an estimator."""

import numpy as np
import pytest
import torch

from probmix import DensityClassifier, DensityRegressor
from probmix.estimators.rows import split_rows
from probmix.mixup import preset_names
from probmix.random import KeyedRandom, member_keys

SETTINGS = {"max_epochs": 60, "hidden_layer_sizes": (16,), "learning_rate": 0.02, "random_state": 0}


@pytest.mark.parametrize("mixup", ["erm", "probmix", "mixup"])
def test_an_integer_weight_is_the_row_so_many_times(problem, mixup):
    X, y = problem
    weight = np.random.default_rng(1).integers(0, 4, len(y))
    weighted = DensityRegressor(mixup=mixup, **SETTINGS).fit(X, y, sample_weight=weight)
    repeated = DensityRegressor(mixup=mixup, **SETTINGS).fit(X.repeat(weight, axis=0), y.repeat(weight))
    np.testing.assert_array_equal(weighted.predict(X), repeated.predict(X))


@pytest.mark.parametrize("mixup", preset_names())
def test_weights_that_depend_on_the_target_are_honoured(mixup):
    """With no signal in X, rare and heavy rows shift the mean to the weighted mean, for pairs as for single rows."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(1500, 1)), rng.poisson(0.8, 1500)
    weight = np.where(y > 0, 0.25, 1.5) + 0.01 * rng.random(1500)
    hidden = (4,) if "m-probmix" in mixup or "manifold" in mixup else ()
    settings = {"max_epochs": 40, "hidden_layer_sizes": hidden, "n_members": 4, "random_state": 0}
    model = DensityRegressor("poisson", mixup, **settings).fit(X, y, sample_weight=weight)
    assert model.predict(X).mean() == pytest.approx(np.average(y, weights=weight), rel=0.12)


@pytest.mark.parametrize("mixup", ["erm", "probmix"])
@pytest.mark.parametrize("seed", range(3))
def test_tables_of_a_few_categories_are_samples_and_not_sets(mixup, seed):
    """Equal rows are many observations: a split that kept them together would drop whole cells of the table."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 2, (3000, 1)).astype(float)
    settings = {"max_epochs": 30, "hidden_layer_sizes": (8,), "random_state": seed}
    counts = rng.poisson(np.where(X[:, 0] == 1, 0.3, 0.1))
    rates = DensityRegressor("poisson", mixup, **settings).fit(X, counts).predict([[0.0], [1.0]])
    labels = rng.random(3000) < np.where(X[:, 0] == 1, 0.7, 0.2)
    shares = DensityClassifier("erm", **settings).fit(X, labels).predict_proba([[0.0], [1.0]])[:, 1]
    for x in (0, 1):
        assert rates[x] == pytest.approx(counts[X[:, 0] == x].mean(), rel=0.25)
        assert shares[x] == pytest.approx(labels[X[:, 0] == x].mean(), rel=0.15)


def test_rare_classes_have_their_share_of_the_validation_rows():
    classes = torch.tensor([0] * 180 + [1] * 20)
    _, validation = split_rows(200, 0.2, KeyedRandom(member_keys(0, 50)), classes)
    assert validation.shape == (50, 40)
    assert (classes[validation].sum(1) == 4).all()
    assert len(validation.unique()) == 200
    train, validation = split_rows(200, 0.2, KeyedRandom(member_keys(0, 50)))
    assert torch.equal(torch.cat([train, validation], 1).sort(1).values, torch.arange(200).expand(50, 200))
    assert classes[validation].sum(1).unique().numel() > 3


def test_a_target_that_is_constant_among_training_rows_has_the_unit_of_all_rows():
    y = np.zeros(40)
    y[7] = 1e5
    model = DensityRegressor(n_members=8, **SETTINGS).fit(np.random.default_rng(0).normal(size=(40, 2)), y)
    assert model.scaler_.scale.min() > 1e3


def test_weights_pull_the_fit():
    X = np.linspace(-1, 1, 200)[:, None]
    y = np.where(np.arange(200) % 2 == 0, 1.0, 5.0) + 0.1 * np.sin(np.arange(200))
    model = DensityRegressor(**SETTINGS).fit(X, y, sample_weight=np.where(y < 3, 9.0, 1.0))
    assert model.predict(X).mean() == pytest.approx(1.4, abs=0.25)
