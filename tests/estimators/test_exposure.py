"""Counts over exposures: rates, pairs, units, rows, routing and errors."""

import math

import numpy as np
import pytest
import sklearn
import torch
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from training_cases import MEMBERS, make_data

import probmix
from probmix import DensityRegressor, NaturalHead, fit_together
from probmix.families import Poisson
from probmix.mixup import mixup_loss, preset
from probmix.scores import neg_crps_scorer, neg_nll_scorer

FAST = {"hidden_layer_sizes": (8,), "max_epochs": 4, "random_state": 0}
EXPOSED = ["poisson", "negative-binomial", "fixed-negative-binomial", "zero-inflated-poisson"]


def insurance(n: int = 3000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Claims over part of a year, which depends on x: without exposure the rate would be biased."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (n, 1))
    exposure = np.clip(0.5 + 0.45 * x[:, 0] + 0.05 * rng.normal(size=n), 0.02, 1)
    return x, rng.poisson(exposure * np.exp(1 - x[:, 0])), exposure


@pytest.mark.parametrize("name", EXPOSED)
@pytest.mark.parametrize("mixup", ["erm", "probmix", "mixup", "m-probmix"])
def test_rates_are_found_under_exposures(name, mixup):
    x, y, exposure = insurance(1500)
    hidden = (8,) if mixup == "m-probmix" else ()
    settings = {"hidden_layer_sizes": hidden, "max_epochs": 25, "learning_rate": 0.02, "random_state": 0}
    model = DensityRegressor(name, mixup, n_draws=16, **settings, preset="plain")
    model.fit(x, y, exposure=exposure)
    grid = np.array([[-0.8], [0.0], [0.8]])
    np.testing.assert_allclose(model.predict(grid), np.exp(1 - grid[:, 0]), rtol=0.2)
    doubled = model.predict(grid, exposure=[2.0, 2.0, 2.0])
    np.testing.assert_allclose(doubled, 2 * model.predict(grid), rtol=1e-6)
    assert model.score(x, y, exposure=exposure) > model.score(x, y, exposure=np.ones(1500)) + 0.1
    assert model.sample(grid, 2, random_state=0, exposure=[1, 1, 1e3]).mean(0)[2] > 100
    assert model.predict_interval(grid, exposure=[1, 1, 1e3])[2, 1] > 100
    assert math.isfinite(model.log_prob(x[:1], y[:1], exposure[:1]).item())


def test_a_constant_exposure_is_a_change_of_the_rate():
    x, y, _ = insurance(300)
    whole = DensityRegressor("poisson", **FAST, preset="plain").fit(x, y)
    half = DensityRegressor("poisson", **FAST, preset="plain").fit(x, y, exposure=np.full(300, 0.5))
    np.testing.assert_allclose(half.predict(x), 2 * whole.predict(x), rtol=1e-3)
    np.testing.assert_allclose(half.predict(x, exposure=np.full(300, 0.5)), whole.predict(x), rtol=1e-3)


@pytest.mark.parametrize("mixup", ["probmix", "local-probmix", "mixup", "m-probmix"])
def test_members_and_joint_fits_with_exposures(mixup):
    x, y, exposure = insurance(200)
    splits = [np.arange(0, 150), np.arange(50, 200)]
    model = DensityRegressor("poisson", mixup, **FAST, preset="plain")
    together = fit_together(model, x, y, splits, [0, 1], exposure=exposure)
    for fit, rows, seed in zip(together, splits, (0, 1), strict=True):
        alone = sklearn.base.clone(model).set_params(random_state=seed)
        alone.fit(x[rows], y[rows], exposure=exposure[rows])
        np.testing.assert_allclose(fit.predict(x), alone.predict(x), rtol=2e-3)


@pytest.mark.parametrize("method", ["probmix", "mixup"])
def test_pairs_have_the_mean_of_their_exposures(method):
    """Counts add up and so do exposures: rates are mixed as they are without any, over the mean exposure."""
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(10, 2, generator=draw), torch.randint(0, 5, (10,), generator=draw).float()
    exposure = torch.rand(10, generator=draw) + 0.1
    network, partners = NaturalHead("poisson", 2), torch.randperm(10, generator=draw)
    generator = torch.Generator().manual_seed(1)
    loss = mixup_loss(network, "poisson", x, y, method, partners=partners, exposure=exposure, generator=generator)
    w = preset("probmix").weights.sample((10,), lambda s: torch.rand(s, generator=torch.Generator().manual_seed(1)))
    mean_exposure = (w * torch.stack([exposure, exposure[partners]], -1)).sum(-1)
    mixed = (w.unsqueeze(-1) * torch.stack([x, x[partners]], 1)).sum(1)
    rate = network(mixed).squeeze(-1).exp() * mean_exposure
    labels = torch.stack([y, y[partners]], -1)
    if method == "mixup":
        mean = (w * labels).sum(-1)
        want = rate - mean * rate.log() + torch.lgamma(mean + 1)
    else:
        want = (w * (rate.unsqueeze(-1) - labels * rate.log().unsqueeze(-1) + torch.lgamma(labels + 1))).sum(-1)
    torch.testing.assert_close(loss, want.mean(), rtol=1e-4, atol=0)


@pytest.mark.parametrize("name", ["poisson", "negative-binomial"])
@pytest.mark.parametrize("mixup", [preset("probmix", alpha=1.0), preset("mixup", alpha=1.0)], ids=["probmix", "mixup"])
def test_very_different_exposures_leave_the_rate_alone(name, mixup):
    rng = np.random.default_rng(0)
    x, exposure = rng.uniform(-1, 1, (2000, 1)), 10.0 ** rng.uniform(-2, 1, 2000)
    y = rng.poisson(3 * exposure)
    settings = {"hidden_layer_sizes": (), "max_epochs": 30, "validation_fraction": 0.0, "random_state": 0}
    model = DensityRegressor(name, mixup, **settings, preset="plain").fit(x, y, exposure=exposure)
    np.testing.assert_allclose(model.predict([[-0.8], [0.0], [0.8]]), 3, rtol=0.12)


@pytest.mark.parametrize("unit", [1e-6, 1e9])
def test_the_unit_of_exposure_does_not_matter(tmp_path, unit):
    x, y, exposure = insurance(300)
    one = DensityRegressor("poisson", **FAST, preset="plain").fit(x, y, exposure=exposure)
    other = DensityRegressor("poisson", **FAST, preset="plain").fit(x, y, exposure=unit * exposure)
    np.testing.assert_allclose(other.predict(x) * unit, one.predict(x), rtol=1e-5)
    np.testing.assert_allclose(other.predict(x, unit * exposure), one.predict(x, exposure), rtol=1e-5)
    other.save(tmp_path / "model")
    np.testing.assert_array_equal(probmix.load(tmp_path / "model").predict(x), other.predict(x))


def test_rows_of_weight_two_and_the_order_of_rows_with_exposures():
    x, y, exposure = insurance(120)
    x = x.round()  # rows that differ in their exposure alone
    weight = np.random.default_rng(1).integers(0, 3, 120)
    weighted = DensityRegressor("poisson", **FAST, preset="plain").fit(x, y, sample_weight=weight, exposure=exposure)
    order = np.random.default_rng(2).permutation(np.repeat(np.arange(120), weight))
    repeated = DensityRegressor("poisson", **FAST, preset="plain").fit(x[order], y[order], exposure=exposure[order])
    np.testing.assert_array_equal(weighted.predict(x), repeated.predict(x))


def test_held_out_rows_have_exposures_of_their_own():
    x, y, exposure = insurance(200)
    model = DensityRegressor("poisson", **FAST, preset="plain")
    model.fit(x[:150], y[:150], X_val=x[150:], y_val=y[150:], exposure=exposure[:150], exposure_val=exposure[150:])
    other = DensityRegressor("poisson", **FAST, preset="plain")
    other.fit(x[:150], y[:150], X_val=x[150:], y_val=y[150:], exposure=exposure[:150], exposure_val=np.ones(50))
    assert not np.array_equal(model.validation_curve_, other.validation_curve_)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"exposure": 0.5},
            "`exposure` must be a vector of one value for each of the 40 rows; got one number. If all rows have it, "
            "pass np.full(40, 0.5).",
        ),
        ({"exposure": [1.0, 0.0]}, "`exposure` must be a vector of one value for each of the 40 rows; got shape (2,)"),
        ({"exposure": np.r_[np.ones(39), 0.0]}, "`exposure` must be positive and finite; got 0 at row 39"),
        ({"exposure": np.r_[np.nan, np.ones(39)]}, "`exposure` must be positive and finite; got nan at row 0"),
        ({"exposure_val": np.ones(3)}, "`exposure_val` belongs to `X_val` and `y_val`"),
        (
            {"exposure": np.ones(40), "X_val": np.ones((3, 1)), "y_val": np.ones(3)},
            "`exposure` and `exposure_val`: pass both or none with `X_val`",
        ),
    ],
)
def test_errors_of_exposures(arguments, message):
    x, y, _ = insurance(40)
    model = DensityRegressor("poisson", **FAST, preset="plain")
    with pytest.raises(ValueError, match="exposure") as error:
        model.fit(x, y, **arguments)
    assert str(error.value).startswith(message)
    assert not hasattr(model, "network_")
    with pytest.raises(ValueError, match="an exposure belongs to counts"):
        DensityRegressor("gaussian", **FAST, preset="plain").fit(x, y, exposure=np.ones(40))
    with pytest.raises(ValueError, match="one value for each of the 40 rows; got shape"):
        model.fit(x, y).predict(x, exposure=[1.0])
    with pytest.raises(ValueError, match="`exposure` must hold a positive finite number"):
        mixup_loss(NaturalHead("poisson", 1), "poisson", torch.ones(3, 1), torch.ones(3), exposure=torch.zeros(3))


def test_exposures_are_routed_through_pipelines():
    x, y, exposure = insurance(200)
    with sklearn.config_context(enable_metadata_routing=True):
        model = (
            DensityRegressor("poisson", **FAST, preset="plain")
            .set_fit_request(exposure=True)
            .set_predict_request(exposure=True)
        )
        model.set_score_request(exposure=True)
        pipeline = make_pipeline(StandardScaler(), model).fit(x, y, exposure=exposure)
        with_exposure = pipeline.predict(x, exposure=exposure)
        np.testing.assert_allclose(with_exposure, exposure * pipeline.predict(x), rtol=1e-6)
        assert pipeline.score(x, y, exposure=exposure) == pytest.approx(
            pipeline[-1].score(pipeline[0].transform(x), y, exposure=exposure)
        )


def test_exposures_are_routed_to_scorers():
    x, y, exposure = insurance(200)
    with sklearn.config_context(enable_metadata_routing=True):
        model = (
            DensityRegressor("poisson", **FAST, preset="plain")
            .set_fit_request(exposure=True)
            .set_score_request(exposure=True)
        )
        for scorer in (neg_nll_scorer, neg_crps_scorer):
            with pytest.raises(sklearn.exceptions.UnsetMetadataPassedError, match="exposure"):
                cross_validate(model, x, y, scoring=scorer, params={"exposure": exposure}, cv=2)
        asked = neg_nll_scorer.set_score_request(exposure=True)
        found = cross_validate(model, x, y, scoring=asked, params={"exposure": exposure}, cv=2)["test_score"]
        plain = cross_validate(model, x, y, params={"exposure": exposure}, cv=2)["test_score"]
        np.testing.assert_allclose(found, plain, rtol=1e-6)
        search = GridSearchCV(model, {"max_epochs": [2]}, scoring=asked, cv=2).fit(x, y, exposure=exposure)
        assert search.best_score_ < 0
        steps = make_pipeline(StandardScaler(), model).fit(x, y, exposure=exposure)
        assert asked(steps, x, y, exposure=exposure) == pytest.approx(
            steps[-1].score(steps[0].transform(x), y, exposure=exposure), rel=1e-6
        )
    with pytest.raises(TypeError, match="neg_nll_scorer takes the metadata sample_weight, exposure; got weight"):
        neg_nll_scorer.set_score_request(weight=True)


def test_a_run_with_other_exposures_is_another_run(tmp_path):
    x, y, exposure = insurance(100)
    path = tmp_path / "run"
    from probmix.training import checkpoint

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "_SECONDS_BETWEEN", 0.0)
        patch.setattr(checkpoint.Checkpoint, "remove", lambda self: None)
        DensityRegressor("poisson", checkpoint=path, **FAST, preset="plain").fit(x, y, exposure=exposure)
        with pytest.raises(ValueError, match="belongs to other data or settings"):
            DensityRegressor("poisson", checkpoint=path, **FAST, preset="plain").fit(
                x, y, exposure=exposure[::-1].copy()
            )


def test_the_start_is_the_rate_of_all_rows_together():
    x, y, exposure = insurance(500)
    model = DensityRegressor("poisson", learning_rate=1e-12, max_epochs=1, random_state=0, preset="plain")
    model.fit(x, y, exposure=exposure)
    assert model.predict(x).mean() == pytest.approx(y.sum() / exposure.sum(), rel=0.1)
    assert model.predict(x).mean() > 1.5 * y.mean()
    assert make_data("poisson").members(torch.arange(MEMBERS)).rows.log_exposure is None
    assert Poisson().expose(torch.zeros(1, 1), torch.ones(1)).item() == 1.0
