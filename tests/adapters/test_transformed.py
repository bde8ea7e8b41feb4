"""Distributions of transformed targets: against the log-normal, SciPy, quadrature, and in scores and calibration."""

import re

import numpy as np
import pytest
import scipy.stats as st
import torch
from scipy.integrate import quad
from sklearn.compose import TransformedTargetRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import BayesianRidge, LinearRegression
from sklearn.model_selection import cross_val_score
from sklearn.preprocessing import (
    MinMaxScaler,
    PowerTransformer,
    QuantileTransformer,
    StandardScaler,
)
from transformed_cases import LOC, LOG, NORMAL, SCALE, close, functions

from probmix import ConformalRegressor, DensityRegressor, RecalibratedRegressor, linear_pool
from probmix.adapters import adapt
from probmix.adapters._transforms import transformed
from probmix.distributions import (
    Gamma,
    LogNormal,
    Poisson,
    Transformed,
)
from probmix.scores import (
    coverage,
    crps,
    evaluate,
    neg_crps_scorer,
    neg_nll_scorer,
    nll,
    pit,
)

LEVELS = torch.tensor([1e-12, 0.01, 0.5, 0.9, 1 - 1e-9]).double().reshape(-1, 1)


# -- the log of a Normal is the log-normal -----------------------------------------------------------------------------


@pytest.mark.parametrize("func", [np.log, lambda y: np.log(y)], ids=["known", "unknown"])
def test_of_a_logarithm_it_is_the_log_normal(func):
    ours, theirs = transformed(NORMAL, functions(func, np.exp)), LogNormal(LOC, SCALE)
    y = theirs.icdf(LEVELS)
    rtol = 1e-12 if func is np.log else 1e-8
    close(ours.log_prob(y), theirs.log_prob(y), rtol, rtol)
    close(ours.cdf(y), theirs.cdf(y), 1e-10)
    close(ours.icdf(LEVELS), y, 1e-10)
    close(ours.mean, theirs.mean, 1e-10)
    close(ours.variance, theirs.variance, 1e-8)
    for q in (0.1, 0.5, 0.99):
        target = theirs.icdf(torch.tensor(q).double())
        close(crps(ours, target), crps(theirs, target), 1e-8)
        close(nll(ours, target), nll(theirs, target), 1e-8, 1e-8)
        close(coverage(ours, target, 0.5), coverage(theirs, target, 0.5))
        close(pit(ours, target), pit(theirs, target))
    below = torch.tensor([-1.0, 0.0, -5.0, 0.0]).double()
    assert ours.log_prob(below).isneginf().all()
    assert (ours.cdf(below) == 0).all()
    close(crps(ours, below), crps(theirs, below), 1e-8)


def test_float32_goes_through_float64():
    single = Transformed(torch.distributions.Normal(LOC.float(), SCALE.float()), LOG)
    theirs = LogNormal(LOC.float().double(), SCALE.float().double())
    y = theirs.icdf(torch.tensor(0.3).double())
    for ours, expected in (
        (nll(single, y), nll(theirs, y)),
        (crps(single, y), crps(theirs, y)),
        (single.mean, theirs.mean),
    ):
        assert ours.dtype == torch.float32
        close(ours.double(), expected, 1e-6, 1e-6)


def test_mixtures_are_transformed_component_by_component():
    def pooled(kind):
        return linear_pool(kind(torch.stack([LOC, LOC + 1], -1), torch.stack([SCALE, 0.5 * SCALE], -1)))

    ours, theirs = Transformed(pooled(torch.distributions.Normal), LOG), pooled(LogNormal)
    y = theirs.icdf(torch.tensor([0.01, 0.5, 0.99]).double().reshape(-1, 1))
    close(ours.log_prob(y), theirs.log_prob(y), 1e-9, 1e-9)
    close(ours.cdf(y), theirs.cdf(y), 1e-9)
    close(ours.icdf(torch.tensor([0.01, 0.5, 0.99]).double().reshape(-1, 1)), y, 1e-8)
    close(ours.mean, theirs.mean)
    close(ours.variance, theirs.variance, 1e-7)
    close(crps(ours, y[1]), crps(theirs, y[1]), 1e-7)


def test_draws_and_batches():
    ours = Transformed(NORMAL, LOG)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        draws = ours.sample((4000,))
    assert draws.shape == (4000, 4)
    for row in range(4):
        assert st.kstest(draws[:, row].numpy(), st.lognorm(SCALE[row], scale=LOC[row].exp()).cdf).pvalue > 1e-3
    wide = ours.expand((3, 4))
    y = ours.icdf(torch.full((4,), 0.3).double())
    close(wide.log_prob(y), ours.log_prob(y).expand(3, 4))
    close(wide.mean, ours.mean.expand(3, 4))
    assert repr(ours) == "Transformed(Normal(loc: torch.Size([4]), scale: torch.Size([4])) by log)"
    loc = LOC.clone().requires_grad_()
    Transformed(torch.distributions.Normal(loc, SCALE), LOG).log_prob(y).sum().backward()
    close(loc.grad, ((y.log() - LOC) / SCALE.square()).detach())


# -- other transforms --------------------------------------------------------------------------------------------------

TARGETS = np.random.default_rng(0).gamma(3.0, 2.0, (500, 1))
CENTRE, WIDTH = torch.tensor([-0.5, 0.0, 0.8]).double(), torch.tensor([0.2, 0.4, 0.3]).double()
TRANSFORMERS = {
    "identity": functions(None, None),
    "affine": StandardScaler().fit(TARGETS),
    "min-max": MinMaxScaler((-2, 2)).fit(TARGETS),
    "log1p": functions(np.log1p, np.expm1),
    "log10": functions(np.log10, lambda z: 10.0**z),
    "log2": functions(np.log2, np.exp2),
    "arcsinh": functions(np.arcsinh, np.sinh),
    "cube root": functions(np.cbrt, lambda z: z**3),
    "falling": functions(lambda y: -np.log(y), lambda z: np.exp(-z)),
    "Yeo-Johnson": PowerTransformer().fit(TARGETS),
    "Box-Cox": PowerTransformer("box-cox").fit(TARGETS),
    "plain power": PowerTransformer(standardize=False).fit(TARGETS / 10 + 1),
    "quantiles": QuantileTransformer(n_quantiles=100, output_distribution="normal").fit(TARGETS),
}


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_parts_agree_with_each_other(name):
    centre = {"cube root": CENTRE + 3, "plain power": 0.1 * CENTRE + 0.2}.get(name, CENTRE)
    width = 0.02 * WIDTH if name == "plain power" else WIDTH
    ours = transformed(torch.distributions.Normal(centre, width), TRANSFORMERS[name])
    levels = torch.tensor([0.001, 0.2, 0.5, 0.9, 0.999]).double().reshape(-1, 1)
    y = ours.icdf(levels)
    assert (y.diff(dim=0) > 0).all()
    close(ours.cdf(y), levels.expand(5, 3), 1e-9)
    if name == "quantiles":
        return
    # the density is the derivative of the cdf, and so integrates to one
    edges = ours.icdf(torch.special.ndtr(torch.linspace(-6, 6, 49).double()).reshape(-1, 1))
    nodes, rule = (torch.from_numpy(t) for t in np.polynomial.legendre.leggauss(12))
    width = edges.diff(dim=0)
    y = edges[:-1] + width * (0.5 * (1 + nodes)).reshape(-1, 1, 1)
    panels = 0.5 * width * torch.tensordot(rule, ours.log_prob(y).exp(), 1)
    close(panels, ours.cdf(edges).diff(dim=0), 1e-6, 1e-9)
    moment = (0.5 * width * torch.tensordot(rule, y * ours.log_prob(y).exp(), 1)).sum(0)
    close(ours.mean, moment, 1e-6, 1e-6)


@pytest.mark.parametrize("name", ["Yeo-Johnson", "Box-Cox", "affine", "quantiles"])
def test_quantiles_are_those_of_the_transformer(name):
    base = torch.distributions.Normal(CENTRE, WIDTH)
    quantile = base.icdf(torch.tensor(0.8).double()).numpy().reshape(-1, 1)
    ours = transformed(base, TRANSFORMERS[name]).icdf(torch.tensor(0.8).double())
    np.testing.assert_allclose(ours.numpy(), TRANSFORMERS[name].inverse_transform(quantile)[:, 0], rtol=1e-9)


def test_densities_by_the_formula_of_box_and_cox():
    power = TRANSFORMERS["Box-Cox"].lambdas_[0]
    scaler = TRANSFORMERS["Box-Cox"]._scaler
    ours = transformed(torch.distributions.Normal(CENTRE, WIDTH), TRANSFORMERS["Box-Cox"])
    y = torch.tensor([2.0, 5.0, 9.0]).double()
    z = TRANSFORMERS["Box-Cox"].transform(y.numpy().reshape(-1, 1))[:, 0]
    expected = st.norm(CENTRE, WIDTH).logpdf(z) + (power - 1) * np.log(y.numpy()) - np.log(scaler.scale_[0])
    np.testing.assert_allclose(ours.log_prob(y).numpy(), expected, rtol=1e-9)


def test_a_square_root_cuts_what_is_below_zero():
    far, near = (
        torch.distributions.Normal(torch.tensor([8.0]), 1.0),
        torch.distributions.Normal(torch.tensor([1.0]), 1.0),
    )
    root = functions(np.sqrt, np.square)
    y = torch.tensor([70.0]).double()
    theirs = st.norm(8, 1).logpdf(np.sqrt(70)) - np.log(2 * np.sqrt(70))
    assert transformed(far, root).log_prob(y).item() == pytest.approx(theirs, rel=1e-6)
    message = (
        "15.9% of the mass that is predicted at row 0 lies where the inverse of sqrt is not defined. It is cut off, "
        "and the rest scaled up. Take a family that stays inside, or another transform."
    )
    with pytest.warns(UserWarning, match=f"^{re.escape(message)}$"):
        cut = transformed(torch.distributions.Normal(torch.tensor([1.0]).double(), 1.0), root)
    truncated = st.truncnorm(-1, np.inf, 1, 1)
    values = torch.tensor([[0.01], [1.0], [6.0]]).double()
    roots = values.flatten().sqrt().numpy()
    np.testing.assert_allclose(cut.cdf(values).flatten(), truncated.cdf(roots), rtol=1e-9)
    np.testing.assert_allclose(cut.icdf(torch.tensor([0.3], dtype=torch.float64)), truncated.ppf(0.3) ** 2, rtol=1e-9)
    np.testing.assert_allclose(cut.mean, truncated.expect(np.square), rtol=1e-8)
    expected = truncated.logpdf(roots) - np.log(2 * roots)
    np.testing.assert_allclose(cut.log_prob(values).flatten(), expected, rtol=1e-9)
    with pytest.warns(UserWarning, match="15.9%"):
        transformed(near, functions(lambda y: np.sqrt(y), np.square))
    # a family that stays inside
    gamma = transformed(Gamma(torch.tensor([3.0]).double(), torch.tensor([1.0]).double()), root)
    np.testing.assert_allclose(gamma.mean, 12.0, rtol=1e-8)


def test_moments_that_do_not_exist_are_infinite():
    heavy = Transformed(torch.distributions.StudentT(torch.tensor([3.0]).double()), LOG)
    assert heavy.mean.isposinf().all()
    assert heavy.variance.isposinf().all()
    # Yeo and Johnson's with a negative power has a pole, of an order above one here, and a mean nowhere
    skewed = PowerTransformer().fit(np.exp(3 * np.random.default_rng(0).normal(size=(200, 1))))
    assert -1 < skewed.lambdas_[0] < 0
    power = transformed(torch.distributions.Normal(torch.tensor([0.0]).double(), 0.1), skewed)
    assert power.mean.isposinf().all()
    assert heavy.icdf(torch.tensor([0.5]).double()).item() == pytest.approx(1.0)


# -- what is no distribution -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("transformer", "message"),
    [
        (functions(np.sin, np.arcsin), None),
        (functions(np.abs, lambda z: z), None),
        (
            functions(np.log, np.expm1),
            "log and its inverse must undo each other where the model predicts; they do so nowhere",
        ),
        (functions(lambda y: y**2, lambda z: z**3), "must undo each other|must be strictly monotone"),
        (
            functions(np.reciprocal, np.reciprocal),
            "reciprocal must be strictly monotone and its inverse undo it; between",
        ),
        (
            QuantileTransformer(n_quantiles=50, output_distribution="normal").fit(np.round(TARGETS)),
            "must be strictly monotone and its inverse undo it; between .* as where targets are tied",
        ),
    ],
    ids=["sine", "absolute", "no inverse", "mismatch", "pole", "ties"],
)
def test_transforms_that_are_not_monotone(transformer, message):
    wide = torch.distributions.Normal(torch.tensor([0.0, 0.2]).double(), 1.0)
    if message is None:
        with pytest.warns(UserWarning, match=r"lies where the inverse of (sin|absolute) is not defined"):
            transformed(wide, transformer)
    else:
        with pytest.raises(ValueError, match=message):
            transformed(wide, transformer)


def test_what_cannot_be_transformed():
    with pytest.raises(ValueError, match=r"^`base` must be continuous: whole numbers are not transformed\."):
        Transformed(Poisson(torch.ones(2)), LOG)
    several = torch.distributions.Independent(torch.distributions.Normal(torch.zeros(3, 2), 1.0), 1)
    with pytest.raises(
        ValueError, match=r"^a transform of several targets gives no distribution here; got event shape \(2,\)"
    ):
        transformed(several, functions(np.log, np.exp))
    with pytest.raises(ValueError, match=r"^`base` must be of one number per row; got event shape \(2,\)\."):
        Transformed(several, LOG)


# -- models ------------------------------------------------------------------------------------------------------------

RNG = np.random.default_rng(1)
X = RNG.uniform(-1, 1, (200, 2))
Y = np.exp(X[:, 0] + 0.3 * RNG.normal(size=200))
SETTINGS = {"hidden_layer_sizes": (4,), "max_epochs": 5, "random_state": 0, "device": "cpu"}


@pytest.fixture(scope="module")
def logged():
    model = TransformedTargetRegressor(
        DensityRegressor(mixup="erm", **SETTINGS, preset="plain"), func=np.log, inverse_func=np.exp
    )
    return model.fit(X, Y)


def test_a_regressor_of_transformed_targets_has_a_density(logged):
    inner = logged.regressor_.predict_dist(X)
    theirs = LogNormal(inner.loc, inner.scale)
    adapted = adapt(logged)
    np.testing.assert_allclose(adapted.predict(X), theirs.mean, rtol=1e-9)
    np.testing.assert_allclose(adapted.predict_quantile(X, 0.5), logged.predict(X), rtol=1e-9)
    assert adapted.predict_interval(X).shape == (200, 2)
    target = torch.tensor(Y)
    assert neg_nll_scorer(logged, X, Y) == pytest.approx(-nll(theirs, target).mean().item(), rel=1e-9)
    assert adapted.score(X, Y) == pytest.approx(neg_nll_scorer(logged, X, Y))
    assert neg_crps_scorer(logged, X, Y) == pytest.approx(-crps(theirs, target).mean().item(), rel=1e-8)
    table = evaluate({"logged": logged, "ours": theirs}, X, Y)
    for score in ("nll", "crps", "coverage90"):
        assert table.loc[(score, "logged"), "mean"] == pytest.approx(table.loc[(score, "ours"), "mean"], rel=1e-8)
    assert np.isfinite(cross_val_score(logged, X, Y, scoring=neg_nll_scorer, cv=2)).all()


def test_transformed_regressors_are_recalibrated(logged):
    for model in (logged, FrozenEstimator(logged)):
        recalibrated = RecalibratedRegressor(model, cv=2, random_state=0).fit(X, Y)
        assert np.isfinite(recalibrated.score(X, Y))
        low, high = ConformalRegressor(model, random_state=0).fit(X, Y).predict_interval(X, 0.8).T
        assert ((low <= Y) & (high >= Y)).mean() > 0.7
        assert (low >= 0).all()


def test_other_transformers_in_a_regressor():
    ridge = TransformedTargetRegressor(BayesianRidge(), transformer=PowerTransformer("box-cox")).fit(X, Y)
    low, high = adapt(ridge).predict_interval(X, 0.9).T
    assert 0.8 < ((low <= Y) & (high >= Y)).mean() < 1
    points = TransformedTargetRegressor(LinearRegression(), func=np.log, inverse_func=np.exp).fit(X, Y)
    with pytest.raises(
        TypeError, match=r"^the estimator must predict distributions by a method `predict_dist`; got Tr"
    ):
        adapt(points)
    table = evaluate({"points": points, "ridge": ridge}, X, Y, scores=["mae", "nll"])
    assert np.isnan(table.loc[("nll", "points"), "mean"])
    assert table.loc["mae", "mean"].notna().all()


def test_scores_are_finite_where_the_inverse_has_a_pole():
    # Yeo and Johnson's with a negative power, whose inverse ends at -1 / power; mirrored it has a power above 2
    y_train = np.exp(0.5 * st.norm.ppf((np.arange(200) + 0.5) / 200)).reshape(-1, 1)
    power, mirrored = PowerTransformer().fit(y_train), PowerTransformer().fit(-y_train)
    assert -1 < power.lambdas_[0] < -0.6
    loc, scale = torch.tensor([0.0, 1.2, 2.0]).double(), torch.tensor([0.3, 0.4, 0.5]).double()
    made = transformed(torch.distributions.Normal(loc, scale), power)
    pole = made.transform.z_range[1]
    assert (made.mean == np.inf).all()
    y = made.icdf(torch.tensor([0.4, 0.5, 0.95]).double())
    scores = crps(made, y)
    order, unit = -1 / power.lambdas_[0], -power.lambdas_[0] * power._scaler.scale_[0]
    for row, place in enumerate(made.transform.forward(y.numpy())):
        z = st.norm(loc[row].item(), scale[row].item())

        # y + 1 = (unit * e^-u)^-order, all but 1e-11 of it above 0, with u = -log(pole - z)
        def integrand(u, z=z, place=place):
            here = pole - np.exp(-u)
            share = z.cdf(here) if here < place else z.sf(here) - z.sf(pole)
            return (share / z.cdf(pole)) ** 2 * order * np.exp(order * (u - np.log(unit)))

        start, middle = (-np.log(pole - at) for at in (z.mean() - 7 * z.std(), place))
        parts = [quad(integrand, start, middle), quad(integrand, middle, middle + 3), quad(integrand, middle + 3, 25)]
        assert scores[row].item() == pytest.approx(sum(part[0] for part in parts), rel=1e-6)
    other = transformed(torch.distributions.Normal(-loc, scale), mirrored)
    close(crps(other, -y), scores, rtol=1e-4)
    # with the rest cut off the quantiles are finite and the scores undo them
    score = torch.tensor([-8.0, -1.0, 3.0, 7.0]).double().reshape(-1, 1)
    close(made.normal_score(made.from_normal_score(score)), score.expand(4, 3), rtol=1e-5)
