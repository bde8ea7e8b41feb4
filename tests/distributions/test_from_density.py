"""Distributions that bring a density only have a cdf, quantiles and all scores; what has not even that says so."""

from typing import ClassVar

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from scipy import stats
from score_oracles import DTYPES
from third_party import Gumbel, GumbelDistribution
from torch.distributions import constraints

from probmix import DensityRegressor
from probmix.distributions import (
    Beta,
    Exponential,
    Gamma,
    InverseGaussian,
    LogNormal,
    NegativeBinomial,
    Poisson,
    StudentT,
    cdf,
    icdf,
)
from probmix.distributions.from_density import cdf_from_density, icdf_from_cdf, icdf_from_density
from probmix.scores import coverage, crps, crps_with_bound, pit, threshold_weighted_crps

LEVELS = [1e-9, 1e-4, 0.1, 0.3, 0.5, 0.77, 0.9, 0.999, 1 - 1e-9]


def tensor(*values, dtype=torch.float64):
    return torch.tensor(values, dtype=dtype)


class TwoModes(torch.distributions.MixtureSameFamily):
    support = constraints.real


# ours, and SciPy's as the oracle; ordinary and extreme
CONTINUOUS = {
    "normal": (
        dist.Normal(tensor(0.0, 1e6, -3.0, 1e-8, 0.0), tensor(1.0, 1.0, 1e-3, 1e-12, 1e8)),
        stats.norm([0, 1e6, -3, 1e-8, 0], [1, 1, 1e-3, 1e-12, 1e8]),
    ),
    "gamma": (
        Gamma(tensor(0.1, 1.0, 5.0, 1e4, 1e6), tensor(1.0, 1e3, 1.0, 1e-3, 1.0)),
        stats.gamma([0.1, 1, 5, 1e4, 1e6], scale=[1, 1e-3, 1, 1e3, 1]),
    ),
    "exponential": (Exponential(tensor(1e-6, 1.0, 1e6)), stats.expon(scale=[1e6, 1, 1e-6])),
    "beta": (Beta(tensor(2.0, 300.0, 0.1), tensor(5.0, 1e4, 3.0)), stats.beta([2, 300, 0.1], [5, 1e4, 3])),
    "lognormal": (LogNormal(tensor(0.0, 10.0), tensor(0.01, 3.0)), stats.lognorm([0.01, 3], scale=np.exp([0, 10]))),
    "inverse gaussian": (
        InverseGaussian(tensor(1.0, 10.0), tensor(1.0, 0.01)),
        stats.invgauss([1, 1000], scale=[1, 0.01]),
    ),
    "student": (StudentT(tensor(2.5, 30.0, 0.6), tensor(5.0, -1e4, 0.0)), stats.t([2.5, 30, 0.6], [5, -1e4, 0])),
    "laplace": (dist.Laplace(tensor(0.0, 3.0), tensor(1.0, 0.01)), stats.laplace([0, 3], [1, 0.01])),
    "uniform": (dist.Uniform(tensor(0.0, -3.0), tensor(1.0, 1e6)), stats.uniform([0, -3], [1, 1e6 + 3])),
    "pareto": (dist.Pareto(tensor(1.0, 5.0), tensor(3.0, 1.2)), stats.pareto([3, 1.2], scale=[1, 5])),
}
COUNTS = {
    "poisson": (Poisson(tensor(0.01, 3.0, 1e4)), stats.poisson([0.01, 3, 1e4])),
    "negative binomial": (
        NegativeBinomial.from_mean(tensor(0.1, 5.0, 300.0), tensor(1.0, 0.1, 2.0)),
        stats.nbinom([1, 10, 0.5], 1 / (1 + np.array([0.1, 0.5, 600]))),
    ),
    "binomial": (dist.Binomial(tensor(10.0, 20.0), tensor(0.3, 0.5)), stats.binom([10, 20], [0.3, 0.5])),
}


@pytest.mark.parametrize("name", CONTINUOUS)
def test_the_density_gives_cdf_and_quantiles(name):
    distribution, oracle = CONTINUOUS[name]
    q = np.array(LEVELS)[:, None]
    y = torch.from_numpy(oracle.ppf(q))
    np.testing.assert_allclose(cdf_from_density(distribution, y).numpy(), oracle.cdf(y.numpy()), rtol=0, atol=1e-10)
    found = icdf_from_density(distribution, torch.from_numpy(q))
    np.testing.assert_allclose(oracle.cdf(found.numpy()), q + 0 * y.numpy(), rtol=0, atol=1e-10)
    # the ends of the support, and levels that are none
    ends = icdf_from_density(distribution, tensor(0.0, 1.0, -0.1, np.nan).unsqueeze(-1)).numpy()
    np.testing.assert_array_equal(ends[0], np.broadcast_to(oracle.support()[0], y.shape[1:]))
    np.testing.assert_array_equal(ends[1], np.broadcast_to(oracle.support()[1], y.shape[1:]))
    assert np.isnan(ends[2:]).all()


@pytest.mark.parametrize("name", COUNTS)
def test_probabilities_give_cdf_and_quantiles(name):
    distribution, oracle = COUNTS[name]
    q = np.array(LEVELS)[:, None]
    y = oracle.ppf(q)
    for k in (y, y - 1, y + 0.5, np.full_like(y, -1.0), np.full_like(y, 1e9)):
        found = cdf_from_density(distribution, torch.from_numpy(k)).numpy()
        np.testing.assert_allclose(found, oracle.cdf(k), rtol=0, atol=1e-11)
    np.testing.assert_array_equal(icdf_from_density(distribution, torch.from_numpy(q)).numpy(), y)
    by_cdf = icdf_from_cdf(distribution, lambda k: torch.from_numpy(oracle.cdf(k.numpy())), torch.from_numpy(q))
    np.testing.assert_array_equal(by_cdf.numpy(), y)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_cdf_of_torch_is_zero_below_the_support_and_one_above(dtype):
    one, two = torch.ones(3, dtype=dtype), torch.full((3,), 2.0, dtype=dtype)
    y = torch.tensor([-1.0, 0.5, 3.0], dtype=dtype)
    open_ended = {"validate_args": False}
    for distribution, oracle in (
        (dist.Weibull(one, two, **open_ended), stats.weibull_min(2)),
        (dist.Pareto(one, two, **open_ended), stats.pareto(2)),
        (dist.HalfNormal(one, **open_ended), stats.halfnorm()),
        (torch.distributions.Kumaraswamy(two, one, **open_ended), stats.beta(2, 1)),
    ):
        assert cdf(distribution, y).dtype == dtype
        np.testing.assert_allclose(cdf(distribution, y), oracle.cdf(y.numpy()), rtol=1e-6, atol=0)


def test_two_modes_apart_are_both_found():
    normals = dist.Normal(tensor([0.0, 5.0], [0.0, -8.0]), tensor([1.0, 0.1], [0.1, 2.0]))
    mixture = TwoModes(dist.Categorical(tensor([0.5, 0.5], [0.2, 0.8])), normals)
    y = torch.linspace(-20, 8, 41, dtype=torch.float64).unsqueeze(-1)
    torch.testing.assert_close(cdf_from_density(mixture, y), cdf(mixture, y), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_density_alone_serves_every_score(dtype):
    loc, scale = torch.tensor([0.0, 3.0, -50.0], dtype=dtype), torch.tensor([1.0, 0.2, 30.0], dtype=dtype)
    distribution, y = GumbelDistribution(loc, scale), torch.tensor([0.5, 3.5, 20.0], dtype=dtype)
    oracle = stats.gumbel_r(loc.double().numpy(), scale.double().numpy())
    tolerance = {"rtol": 1e-6 if dtype == torch.float32 else 1e-9, "atol": 0}
    wide = y.double().numpy()
    np.testing.assert_allclose(pit(distribution, y), oracle.cdf(wide), **tolerance)
    quantiles = icdf(distribution, torch.tensor([[0.05], [0.95]], dtype=dtype))
    assert quantiles.dtype == dtype
    np.testing.assert_allclose(quantiles, oracle.ppf([[0.05], [0.95]]), **(tolerance | {"rtol": 2e-6}))
    assert coverage(distribution, y, 0.9).tolist() == [1.0, 1.0, 1.0]
    score = crps(distribution, y)
    for row in range(3):
        cut = np.linspace(*oracle.ppf([[1e-13], [1 - 1e-13]])[:, row], 400_001)
        below = stats.gumbel_r(loc[row].item(), scale[row].item()).cdf(cut)
        want = np.trapezoid(np.square(below - (cut >= wide[row])), cut)
        assert score[row].item() == pytest.approx(want, rel=1e-4)
    value, bound = crps_with_bound(distribution, y)
    torch.testing.assert_close(value, score)
    assert (bound < 1e-6 * value).all()
    halves = [threshold_weighted_crps(distribution, y, *ends) for ends in ((-np.inf, 1.0), (1.0, np.inf))]
    torch.testing.assert_close(sum(halves), value, rtol=1e-6, atol=0)


def test_gradients_flow_through_the_integral():
    loc, scale, y = (tensor(value).requires_grad_() for value in (3.0, 0.2, 3.1))

    def below(loc, scale, y):
        return cdf(GumbelDistribution(loc, scale), y)

    def score(loc, scale):
        return crps(GumbelDistribution(loc, scale), y.detach())

    assert torch.autograd.gradcheck(below, (loc, scale, y), atol=1e-6)
    assert torch.autograd.gradcheck(score, (loc, scale), atol=1e-6)


# -- a family whose distribution has no cdf ----------------------------------------------------------------------------


def test_a_family_without_cdf_predicts_quantiles_and_is_scored():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (60, 1))
    y = X[:, 0] + rng.gumbel(size=60)
    model = DensityRegressor(family=Gumbel(), mixup="erm", max_epochs=5, random_state=0, preset="plain").fit(X, y)
    predicted = model.predict_dist(X)
    oracle = stats.gumbel_r(predicted.loc.numpy(), predicted.scale.numpy())
    np.testing.assert_allclose(model.predict_quantile(X, 0.9), oracle.ppf(0.9), rtol=1e-9)
    np.testing.assert_allclose(pit(predicted, torch.from_numpy(y)), oracle.cdf(y), rtol=0, atol=1e-9)
    ensemble = DensityRegressor(
        family=Gumbel(), mixup="erm", max_epochs=5, n_members=2, random_state=0, preset="plain"
    ).fit(X, y)
    mixture, interval = ensemble.predict_dist(X[:5]), ensemble.predict_interval(X[:5], 0.9)
    members = mixture.component_distribution
    frozen = stats.gumbel_r(members.loc.numpy(), members.scale.numpy())
    weights = mixture.mixture_distribution.probs.numpy()
    for column, level in enumerate((0.05, 0.95)):
        below = (weights * frozen.cdf(interval[:, column, None])).sum(-1)
        np.testing.assert_allclose(below, level, rtol=0, atol=1e-9)


# -- what cannot be helped ---------------------------------------------------------------------------------------------


class NoSupport(dist.TorchDistribution):
    arg_constraints: ClassVar[dict] = {}

    def __init__(self):
        super().__init__(torch.Size([2]), validate_args=False)

    def log_prob(self, value):
        return -0.5 * value.square()


class NoDensity(NoSupport):
    support = constraints.real

    def log_prob(self, value):
        raise NotImplementedError


class NoMass(NoSupport):
    support = constraints.real


class NoCounts(NoSupport):
    support = constraints.nonnegative_integer

    def log_prob(self, value):
        return value * np.log(0.5)


class Vectors(NoSupport):
    support = constraints.real_vector

    def __init__(self):
        dist.TorchDistribution.__init__(self, torch.Size([2]), torch.Size([3]), validate_args=False)


MEND = (
    "Give the class methods `cdf` and `icdf`, or register them with `probmix.distributions.cdf.register({0})` and "
    "`icdf.register({0})`."
)


@pytest.mark.parametrize(("kind", "why"), [
    (NoSupport, "that needs its `support` as well"),
    (NoDensity, "it has none either"),
    (NoMass, "the integral of the density is 2.50663 and not 1, as far as found"),
    (NoCounts, "the sum of the probabilities is 2 and not 1, as far as found"),
    (Vectors, "it is one of vectors, of event shape (3,)"),
])  # fmt: skip
def test_without_a_density_the_error_says_what_to_implement(kind, why):
    name = kind.__name__
    want = f"{name} has no cdf, and none can be made from its `log_prob`: {why}. {MEND.format(name)}"
    for ask in (cdf, icdf):
        with pytest.raises(NotImplementedError) as error:
            ask(kind(), torch.full((2,), 0.5, dtype=torch.float64))
        assert str(error.value) == want
