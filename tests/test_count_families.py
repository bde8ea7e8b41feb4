"""Families of counts in the estimators: negative binomial, zero-inflated, hurdle; linear pools and exposures."""

import math

import numpy as np
import pytest
import sklearn
import torch
from families_table import draws
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from training_cases import MEMBERS, make_data

import probmix
from probmix import DensityRegressor, NaturalHead, families, fit_together, linear_pool
from probmix.families import ExponentialFamily, FixedNegativeBinomial, Hurdle, NegativeBinomial, Poisson, ZeroInflated
from probmix.mixup import Mixup, mixup_loss, preset
from probmix.scores import crps, neg_crps_scorer, neg_nll_scorer, nll
from probmix.testing import check_family

LINEAR = ["negative-binomial", "zero-inflated-poisson", "zero-inflated-negative-binomial", "hurdle-poisson"]
LINEAR += ["hurdle-negative-binomial"]
NAMES = [*LINEAR, "fixed-negative-binomial"]
over_names = pytest.mark.parametrize("name", NAMES)
FAST = {"hidden_layer_sizes": (8,), "max_epochs": 4, "random_state": 0}


def simulate(name: str, n: int = 200, targets: tuple[int, ...] = ()) -> tuple[np.ndarray, np.ndarray]:
    family = families.get(name)
    x = np.random.default_rng(0).uniform(-1, 1, (n, 1))
    raw = torch.zeros(n, *targets, family.num_raw, dtype=torch.float64)
    place = 1 if isinstance(family, ZeroInflated | Hurdle) else 0
    raw[..., place] = 1 + torch.from_numpy(x).reshape(-1, *(1 for _ in targets))
    return x, draws(family, family.constrain(raw)).numpy()


# -- the families themselves -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", [*NAMES, "poisson"])
def test_contracts(name, seed):
    check_family(families.get(name), seed)


@pytest.mark.parametrize("dispersion", [1e-6, 1e-3, 3.0, 20.0])
def test_contracts_of_fixed_dispersions(dispersion):
    check_family(FixedNegativeBinomial(dispersion))


@pytest.mark.parametrize("base", [FixedNegativeBinomial(0.5), NegativeBinomial()])
def test_any_family_of_counts_can_have_zeros_of_its_own(base):
    check_family(ZeroInflated(base))
    check_family(Hurdle(base))


def test_families_made_of_others_are_saved(tmp_path):
    x, y = simulate("negative-binomial")
    for family in (ZeroInflated(FixedNegativeBinomial(0.5)), Hurdle(FixedNegativeBinomial(0.5))):
        model = DensityRegressor(family, **FAST).fit(x, y)
        model.save(tmp_path / family.name)
        loaded = probmix.load(tmp_path / family.name)
        assert loaded.family_ == family
        np.testing.assert_array_equal(loaded.predict(x), model.predict(x))
    assert families.get("hurdle-fixed-negative-binomial") == Hurdle(FixedNegativeBinomial(1.0))


@over_names
def test_only_families_with_natural_parameters_pool_log_linearly(name):
    family = families.get(name)
    assert family.pools_log_linearly is isinstance(family, ExponentialFamily) is (name not in LINEAR)
    assert family.is_discrete
    assert not families.get("gamma").is_discrete


def test_the_pool_of_fixed_dispersions_is_the_product_of_powers():
    family = FixedNegativeBinomial(0.7)
    eta, weights = family.constrain(torch.tensor([[1.0], [3.0]]).double()), torch.tensor([0.3, 0.7]).double()
    k = torch.arange(2000, dtype=torch.float64).unsqueeze(-1)
    product = (weights * family.log_prob(eta.expand(2000, 2, 1), k.expand(2000, 2))).sum(-1).softmax(0)
    pooled = probmix.log_linear_pool(eta, weights)
    torch.testing.assert_close(family.log_prob(pooled.expand(2000, 1), k[:, 0]).exp(), product, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: FixedNegativeBinomial(0.0), "`dispersion` must be positive and finite; got 0.0. For 0 use the family"),
        (
            lambda: families.get("negative-binomial").check_targets(torch.tensor([1.0, -1.0])),
            "negative binomial targets",
        ),
        (lambda: families.get("hurdle-poisson").check_targets(torch.tensor([0.5])), "hurdle-poisson targets must be"),
        (lambda: families.get("hurdle-poisson").expose(torch.zeros(1, 2), torch.zeros(1)), "the family 'hurdle-"),
        (lambda: families.get("gamma").expose(torch.zeros(1, 2), torch.zeros(1)), "an exposure belongs to counts"),
        (
            lambda: families.get("negative-binomial").pool_labels(torch.ones(1, 2), torch.ones(1, 2) / 2, spread=0.1),
            "the family 'negative-binomial' has no label kernel: `label_spread` must be 0, got 0.1",
        ),
    ],
)
def test_errors_of_families(call, message):
    with pytest.raises(ValueError, match=r"must|belongs|exposure") as error:
        call()
    assert str(error.value).startswith(message)


# -- estimators --------------------------------------------------------------------------------------------------------


@over_names
@pytest.mark.parametrize(
    "params",
    [{}, {"mixup": "mixup"}, {"mixup": "m-probmix", "n_draws": 3}, {"mixup": "local-probmix", "n_members": 2}],
    ids=["probmix", "mixup", "m-probmix", "two members"],
)
def test_regressors_fit_predict_and_persist(tmp_path, name, params):
    x, y = simulate(name)
    model = DensityRegressor(name, **FAST, **params).fit(x, y)
    mean, interval = model.predict(x), model.predict_interval(x, 0.9)
    assert np.isfinite(mean).all()
    assert (interval[:, 0] <= interval[:, 1]).all()
    families.get(name).check_targets(torch.from_numpy(model.sample(x, 2, random_state=0)))
    assert math.isfinite(model.score(x, y))
    distribution = model.predict_dist(x)
    assert crps(distribution, torch.from_numpy(y)).isfinite().all()
    np.testing.assert_allclose(-nll(distribution, torch.from_numpy(y)).numpy(), model.log_prob(x, y), rtol=1e-9)
    model.save(tmp_path / "model")
    loaded = probmix.load(tmp_path / "model")
    assert loaded.family_ == model.family_
    np.testing.assert_array_equal(loaded.predict(x), mean)


@over_names
def test_regressors_learn(name):
    family = families.get(name)
    x, y = simulate(name, 600)
    settings = {"hidden_layer_sizes": (), "max_epochs": 25, "learning_rate": 0.02, "random_state": 0}
    model = DensityRegressor(name, "probmix", **settings).fit(x, y)
    marginal = family.distribution(family.marginal_params(torch.from_numpy(y)))
    assert model.score(x, y) > marginal.log_prob(torch.from_numpy(y)).mean().item() + 0.02


def test_several_targets():
    x, y = simulate("negative-binomial", targets=(2,))
    model = DensityRegressor("negative-binomial", **FAST).fit(x, y)
    assert model.predict_interval(x).shape == (200, 2, 2)


def test_a_dispersion_is_found():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (3000, 1))
    mean = np.exp(1 + x[:, 0])
    y = rng.negative_binomial(2.0, 2 / (2 + mean))
    settings = {"hidden_layer_sizes": (), "max_epochs": 20, "learning_rate": 0.02, "random_state": 0}
    model = DensityRegressor("negative-binomial", "erm", **settings).fit(x, y)
    dispersion = model.predict_natural_params([[0.0]])[0, 1].exp().item()
    assert dispersion == pytest.approx(0.5, rel=0.15)
    poisson = DensityRegressor("poisson", "erm", **settings).fit(x, y)
    assert model.score(x, y) > poisson.score(x, y) + 0.2


@pytest.mark.parametrize("name", LINEAR)
def test_densities_without_natural_parameters_meet_as_a_mixture(name):
    """The loss of ProbMix is that of the mixture at either label; with label "average" that of their mean."""
    family, draw = families.get(name), torch.Generator().manual_seed(0)
    x, y = torch.randn(12, 3, generator=draw), torch.randint(0, 5, (12,), generator=draw).float()
    network = NaturalHead(name, 3)
    partners, weights = torch.randperm(12, generator=draw), preset("probmix").weights
    generator = torch.Generator().manual_seed(1)
    loss = mixup_loss(network, name, x, y, "probmix", partners=partners, generator=generator)
    w = weights.sample((12,), lambda shape: torch.rand(shape, generator=torch.Generator().manual_seed(1)))
    eta = network(x)
    mixture = linear_pool(family.distribution(torch.stack([eta, eta[partners]], 1).double()), w.double())
    want = (w * torch.stack([nll(mixture, y), nll(mixture, y[partners])], -1)).sum(-1).mean()
    torch.testing.assert_close(loss.double(), want, rtol=1e-5, atol=0)
    generator = torch.Generator().manual_seed(1)
    averaged = Mixup(at="output", label_pool="average")
    loss = mixup_loss(network, name, x, y, averaged, partners=partners, generator=generator)
    label = (w * torch.stack([y, y[partners]], -1)).sum(-1)
    single = torch.stack([family.log_prob(one.double(), label.double()) for one in (eta, eta[partners])], -1)
    torch.testing.assert_close(loss.double(), -(w.log() + single).logsumexp(-1).mean(), rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"pool": "log-linear"}, "`pool` is 'log-linear', but the family 'negative-binomial' is no exponential family"),
        (
            {"mixup": preset("probmix", label_pool="calibrated")},
            "the family 'negative-binomial' is no exponential family and has neither calibrated labels nor a label",
        ),
        ({"mixup": preset("probmix", label_spread=0.1)}, "the family 'negative-binomial' is no exponential family and"),
    ],
)
def test_what_needs_an_exponential_family(params, message):
    x, y = simulate("negative-binomial")
    with pytest.raises(ValueError, match="exponential family") as error:
        DensityRegressor("negative-binomial", **FAST, **params).fit(x, y)
    assert str(error.value).startswith(message)


# -- exposure ----------------------------------------------------------------------------------------------------------

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
    model = DensityRegressor(name, mixup, n_draws=16, **settings)
    model.fit(x, y, exposure=exposure)
    grid = np.array([[-0.8], [0.0], [0.8]])
    np.testing.assert_allclose(model.predict(grid), np.exp(1 - grid[:, 0]), rtol=0.2)
    doubled = model.predict(grid, exposure=[2.0, 2.0, 2.0])
    np.testing.assert_allclose(doubled, 2 * model.predict(grid), rtol=1e-6)
    assert model.score(x, y, exposure=exposure) > model.score(x, y) + 0.1
    assert model.sample(grid, 2, exposure=[1, 1, 1e3]).mean(0)[2] > 100
    assert model.predict_interval(grid, exposure=[1, 1, 1e3])[2, 1] > 100
    assert math.isfinite(model.log_prob(x[:1], y[:1], exposure[:1]).item())


def test_a_constant_exposure_is_a_change_of_the_rate():
    x, y, _ = insurance(300)
    whole = DensityRegressor("poisson", **FAST).fit(x, y)
    half = DensityRegressor("poisson", **FAST).fit(x, y, exposure=np.full(300, 0.5))
    np.testing.assert_allclose(half.predict(x), 2 * whole.predict(x), rtol=1e-3)
    np.testing.assert_allclose(half.predict(x, exposure=np.full(300, 0.5)), whole.predict(x), rtol=1e-3)


@pytest.mark.parametrize("mixup", ["probmix", "local-probmix", "mixup", "m-probmix"])
def test_members_and_joint_fits_with_exposures(mixup):
    x, y, exposure = insurance(200)
    splits = [np.arange(0, 150), np.arange(50, 200)]
    model = DensityRegressor("poisson", mixup, **FAST)
    together = fit_together(model, x, y, splits, [0, 1], exposure=exposure)
    for fit, rows, seed in zip(together, splits, (0, 1), strict=True):
        alone = sklearn.base.clone(model).set_params(random_state=seed)
        alone.fit(x[rows], y[rows], exposure=exposure[rows])
        np.testing.assert_allclose(fit.predict(x), alone.predict(x), rtol=2e-3)


@pytest.mark.parametrize("method", ["probmix", "mixup"])
def test_pairs_have_the_mean_of_their_exposures(method):
    """Counts add up and so do exposures: rates meet as they do without any, over the mean exposure."""
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(10, 2, generator=draw), torch.randint(0, 5, (10,), generator=draw).float()
    exposure = torch.rand(10, generator=draw) + 0.1
    network, partners = NaturalHead("poisson", 2), torch.randperm(10, generator=draw)
    generator = torch.Generator().manual_seed(1)
    loss = mixup_loss(network, "poisson", x, y, method, partners=partners, exposure=exposure, generator=generator)
    w = preset("probmix").weights.sample((10,), lambda s: torch.rand(s, generator=torch.Generator().manual_seed(1)))
    mean_exposure = (w * torch.stack([exposure, exposure[partners]], -1)).sum(-1)
    met = (w.unsqueeze(-1) * torch.stack([x, x[partners]], 1)).sum(1)
    rate = network(met).squeeze(-1).exp() * mean_exposure
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
    model = DensityRegressor(name, mixup, **settings).fit(x, y, exposure=exposure)
    np.testing.assert_allclose(model.predict([[-0.8], [0.0], [0.8]]), 3, rtol=0.12)


@pytest.mark.parametrize("unit", [1e-6, 1e9])
def test_the_unit_of_exposure_does_not_matter(tmp_path, unit):
    x, y, exposure = insurance(300)
    one = DensityRegressor("poisson", **FAST).fit(x, y, exposure=exposure)
    other = DensityRegressor("poisson", **FAST).fit(x, y, exposure=unit * exposure)
    np.testing.assert_allclose(other.predict(x) * unit, one.predict(x), rtol=1e-5)
    np.testing.assert_allclose(other.predict(x, unit * exposure), one.predict(x, exposure), rtol=1e-5)
    other.save(tmp_path / "model")
    np.testing.assert_array_equal(probmix.load(tmp_path / "model").predict(x), other.predict(x))


def test_rows_of_weight_two_and_the_order_of_rows_with_exposures():
    x, y, exposure = insurance(120)
    x = x.round()  # rows that differ in their exposure alone
    weight = np.random.default_rng(1).integers(0, 3, 120)
    weighted = DensityRegressor("poisson", **FAST).fit(x, y, sample_weight=weight, exposure=exposure)
    order = np.random.default_rng(2).permutation(np.repeat(np.arange(120), weight))
    repeated = DensityRegressor("poisson", **FAST).fit(x[order], y[order], exposure=exposure[order])
    np.testing.assert_array_equal(weighted.predict(x), repeated.predict(x))


def test_held_out_rows_have_exposures_of_their_own():
    x, y, exposure = insurance(200)
    model = DensityRegressor("poisson", **FAST)
    model.fit(x[:150], y[:150], X_val=x[150:], y_val=y[150:], exposure=exposure[:150], exposure_val=exposure[150:])
    other = DensityRegressor("poisson", **FAST)
    other.fit(x[:150], y[:150], X_val=x[150:], y_val=y[150:], exposure=exposure[:150], exposure_val=np.ones(50))
    assert not np.array_equal(model.validation_curve_, other.validation_curve_)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
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
    model = DensityRegressor("poisson", **FAST)
    with pytest.raises(ValueError, match="exposure") as error:
        model.fit(x, y, **arguments)
    assert str(error.value).startswith(message)
    assert not hasattr(model, "network_")
    with pytest.raises(ValueError, match="an exposure belongs to counts"):
        DensityRegressor("gaussian", **FAST).fit(x, y, exposure=np.ones(40))
    with pytest.raises(ValueError, match="one value for each of the 40 rows; got shape"):
        model.fit(x, y).predict(x, exposure=[1.0])
    with pytest.raises(ValueError, match="`exposure` must hold a positive finite number"):
        mixup_loss(NaturalHead("poisson", 1), "poisson", torch.ones(3, 1), torch.ones(3), exposure=torch.zeros(3))


def test_exposures_are_routed_through_pipelines():
    x, y, exposure = insurance(200)
    with sklearn.config_context(enable_metadata_routing=True):
        model = DensityRegressor("poisson", **FAST).set_fit_request(exposure=True).set_predict_request(exposure=True)
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
        model = DensityRegressor("poisson", **FAST).set_fit_request(exposure=True).set_score_request(exposure=True)
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
        DensityRegressor("poisson", checkpoint=path, **FAST).fit(x, y, exposure=exposure)
        with pytest.raises(ValueError, match="belongs to other data or settings"):
            DensityRegressor("poisson", checkpoint=path, **FAST).fit(x, y, exposure=exposure[::-1].copy())


def test_the_start_is_the_rate_of_all_rows_together():
    x, y, exposure = insurance(500)
    model = DensityRegressor("poisson", learning_rate=1e-12, max_epochs=1, random_state=0)
    model.fit(x, y, exposure=exposure)
    assert model.predict(x).mean() == pytest.approx(y.sum() / exposure.sum(), rel=0.1)
    assert model.predict(x).mean() > 1.5 * y.mean()
    assert make_data("poisson").members(torch.arange(MEMBERS)).log_exposure is None
    assert Poisson().expose(torch.zeros(1, 1), torch.ones(1)).item() == 1.0
