"""The curve of what was made small, in the user's units."""

import numpy as np
import pytest
from sklearn.base import clone

from probmix import DensityClassifier, DensityRegressor

RNG = np.random.default_rng(0)
N = 50
X = RNG.normal(size=(N, 2))
REAL = 100 + 20 * X[:, 0] + 10 * RNG.normal(size=N)
POSITIVE = np.exp(5 + X[:, 0] + RNG.normal(size=N))
ZEROS = np.where(RNG.random(N) < 0.3, 0.0, POSITIVE)
EXPOSURE = RNG.uniform(0.5, 4, N)
COUNTS = RNG.poisson(EXPOSURE * np.exp(X[:, 0]))
WEIGHT = RNG.integers(1, 4, N).astype(float)
SETTINGS = {
    "batch_size": None, "hidden_layer_sizes": (4,), "random_state": 0, "device": "cpu", "preset": "plain",
    "validation_fraction": 0.0, "learning_rate": 0.05, "patience": None, "weight_decay": 0.0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("family", "y", "fit"),
    [
        ("gaussian", REAL, {}),
        ("gaussian", np.stack([REAL, POSITIVE], 1), {}),
        ("gaussian", REAL, {"sample_weight": WEIGHT}),
        ("gamma", POSITIVE, {}),
        ("zero-adjusted-gamma", ZEROS, {"sample_weight": WEIGHT}),
        ("poisson", COUNTS, {"exposure": EXPOSURE}),
        ("gaussian-mixture", REAL, {}),
    ],
)
def test_the_loss_of_an_epoch_is_that_of_the_weights_before_it(family, y, fit):
    model = DensityRegressor(family, "erm", max_epochs=2, **SETTINGS).fit(X, y, **fit)
    before = DensityRegressor(family, "erm", max_epochs=1, **SETTINGS).fit(X, y, **fit)
    assert model.training_curve_.shape == (2, 1)
    assert model.validation_curve_.shape[1] == 0
    assert model.training_curve_[1, 0] == pytest.approx(-before.score(X, y, **fit), rel=1e-5)
    assert model.training_curve_[0, 0] == before.training_curve_[0, 0]


def test_the_crps_has_the_unit_of_the_targets():
    from probmix.scores import crps

    model = DensityRegressor("gaussian", "erm", loss="crps", max_epochs=2, **SETTINGS).fit(X, REAL)
    before = DensityRegressor("gaussian", "erm", loss="crps", max_epochs=1, **SETTINGS).fit(X, REAL)
    assert model.training_curve_[1, 0] == pytest.approx(crps(before.predict_dist(X), REAL).mean().item(), rel=1e-5)
    several = DensityRegressor("gaussian", "erm", loss="crps", max_epochs=2, **SETTINGS)
    assert several.fit(X, np.stack([REAL, POSITIVE], 1)).training_curve_.shape == (2, 0)
    members = clone(several).set_params(n_members=3).fit(X, np.stack([REAL, POSITIVE], 1))
    assert members.training_curve_.shape == (2, 0)


def test_batches_count_by_their_rows():
    settings = SETTINGS | {"learning_rate": 1e-30}
    whole = DensityRegressor("gaussian", "erm", max_epochs=2, **settings).fit(X, REAL)
    parts = clone(whole).set_params(batch_size=7).fit(X, REAL)
    np.testing.assert_allclose(parts.training_curve_, whole.training_curve_, rtol=1e-5)


def test_classes_have_a_curve_and_members_one_each():
    model = DensityClassifier(mixup="erm", n_members=3, max_epochs=5, **SETTINGS).fit(X, X[:, 0] > 0)
    assert model.training_curve_.shape == (5, 3)
    assert (np.diff(model.training_curve_, axis=0) < 0).all()


def test_members_that_stop_have_no_losses_after():
    settings = SETTINGS | {"validation_fraction": 0.3, "patience": 2, "learning_rate": 0.5}
    model = DensityRegressor("gaussian", "erm", n_members=3, max_epochs=40, **settings).fit(X, REAL)
    np.testing.assert_array_equal(np.isfinite(model.training_curve_), np.isfinite(model.validation_curve_))
    assert len(model.training_curve_) == model.n_epochs_.max() < 40


def test_mixed_rows_have_their_loss_in_the_same_units():
    """That of the marginal distribution, at which training begins, is hardly another one under a mixup."""
    settings = SETTINGS | {"learning_rate": 1e-30}
    plain, mixed = (
        DensityRegressor("gaussian", mixup, max_epochs=1, **settings).fit(X, REAL) for mixup in ("erm", "probmix")
    )
    np.testing.assert_allclose(mixed.training_curve_, plain.training_curve_, atol=0.3)
