"""cdf and icdf of Poisson, Gamma, Categorical, mixtures and Independent against SciPy."""

import math

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from scipy import optimize, stats

from probmix.distributions import Gamma, LogNormal, Mixture, Poisson, cdf, icdf, is_discrete

LEVELS = np.array([1e-6, 0.01, 0.3, 0.5, 0.9, 0.999999])
CLASSES = [0.2, 0.0, 0.5, 0.3]
WEIGHTS = torch.tensor([0.3, 0.7], dtype=torch.float64)


def wide(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64).squeeze()


def poisson_mixture() -> Mixture:
    return Mixture(dist.Categorical(WEIGHTS), Poisson(wide(2.0, 30.0)))


def gaussian_mixture() -> Mixture:
    return Mixture(dist.Categorical(WEIGHTS), dist.Normal(wide(-1.0, 4.0), wide(0.5, 2.0)))


# -- values ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [1e-3, 0.5, 4.0, 50.0, 1e4, 1e6])
def test_poisson_against_scipy(rate: float) -> None:
    y = np.unique(np.maximum(-2, np.round(rate + np.array([-8, -3, -1, 0, 1, 3, 8]) * math.sqrt(rate))) + 0.0)
    y = np.concatenate([y, y + 0.5, [-1.0]])
    np.testing.assert_allclose(Poisson(wide(rate)).cdf(wide(*y)), stats.poisson.cdf(y, rate), atol=1e-11)
    np.testing.assert_array_equal(Poisson(wide(rate)).icdf(wide(*LEVELS)), stats.poisson.ppf(LEVELS, rate))


@pytest.mark.parametrize("shape", [1e-2, 0.3, 1.0, 50.0, 1e4, 1e6])
def test_gamma_against_scipy(shape: float) -> None:
    levels = LEVELS if shape >= 0.3 else LEVELS[2:]  # smaller quantiles underflow
    y = stats.gamma.ppf(levels, shape, scale=0.5)
    gamma = Gamma(wide(shape), wide(2.0))
    np.testing.assert_allclose(gamma.cdf(wide(*y)), levels, atol=1e-11)
    # at a shape of 1e6 SciPy's quantile of level 1e-6 is off by 1.4e-9
    np.testing.assert_allclose(gamma.icdf(wide(*levels)), y, rtol=1e-8)
    assert gamma.cdf(wide(-1.0)) == 0
    assert gamma.icdf(wide(*LEVELS)).isfinite().all()


def test_tails_of_a_tiny_shape_underflow_gracefully() -> None:
    assert 0 <= Gamma(wide(1e-2), wide(2.0)).icdf(wide(1e-6)) < 1e-300


@pytest.mark.parametrize("extreme", [Poisson(torch.tensor(1e6)), Gamma(torch.tensor(1e6), torch.tensor(1.0))], ids=repr)
def test_cdf_is_accurate_in_float32(extreme: Poisson | Gamma) -> None:
    y = torch.tensor([0.995e6, 0.999e6, 1e6, 1.001e6, 1.005e6])
    scipy = stats.poisson(1e6) if isinstance(extreme, Poisson) else stats.gamma(1e6)
    assert extreme.cdf(y).dtype == torch.float32
    np.testing.assert_allclose(extreme.cdf(y), scipy.cdf(y.double()), atol=1e-7)


def test_log_prob_validates_its_argument() -> None:
    for distribution, outside in (
        (Poisson(torch.tensor(1.0)), 0.5),
        (Gamma(torch.tensor(1.0), torch.tensor(1.0)), -1.0),
    ):
        with pytest.raises(ValueError, match="support"):
            distribution.log_prob(torch.tensor(outside))


def test_a_poisson_of_rate_zero_is_always_zero() -> None:
    np.testing.assert_array_equal(Poisson(torch.tensor(0.0)).log_prob(torch.tensor([0.0, 2.0])), [0, -np.inf])


def test_categorical_by_hand() -> None:
    categorical = dist.Categorical(wide(*CLASSES))
    y = wide(-1, 0, 0.5, 1, 2, 3, 7)
    np.testing.assert_allclose(cdf(categorical, y), [0, 0.2, 0.2, 0.2, 0.7, 1, 1], atol=1e-15)
    q = wide(0.1, 0.2, 0.21, 0.69, 0.71, 1.0)
    assert icdf(categorical, q).tolist() == [0, 0, 2, 2, 3, 3]


def test_the_last_class_ends_at_one() -> None:
    categorical = dist.Categorical(torch.randn(50, 1000, generator=torch.Generator().manual_seed(0)).softmax(-1))
    assert bool((cdf(categorical, torch.tensor(999.0)) == 1).all())
    assert bool((icdf(categorical, torch.tensor(1.0)) == 999).all())


def test_mixtures_against_sums_over_their_components() -> None:
    y = np.linspace(-3, 9, 25)
    want = 0.3 * stats.norm.cdf(y, -1, 0.5) + 0.7 * stats.norm.cdf(y, 4, 2)
    np.testing.assert_allclose(gaussian_mixture().cdf(wide(*y)), want, atol=1e-15)
    for q in LEVELS:
        root = optimize.brentq(
            lambda y, q=q: 0.3 * stats.norm.cdf(y, -1, 0.5) + 0.7 * stats.norm.cdf(y, 4, 2) - q, -20, 30, xtol=1e-13
        )
        assert gaussian_mixture().icdf(wide(q)).item() == pytest.approx(root, abs=1e-9)
    counts = np.arange(-1, 80.0)
    want = 0.3 * stats.poisson.cdf(counts, 2) + 0.7 * stats.poisson.cdf(counts, 30)
    np.testing.assert_allclose(poisson_mixture().cdf(wide(*counts)), want, atol=1e-11)


def test_independent_distributions_and_their_mixtures_act_on_each_coordinate() -> None:
    rate = torch.tensor([[1.0, 5.0], [2.0, 9.0]], dtype=torch.float64)
    y = torch.tensor([2.0, 6.0], dtype=torch.float64)
    single = stats.poisson.cdf(y, rate)
    np.testing.assert_allclose(cdf(Poisson(rate).to_event(1), y), single, atol=1e-11)
    mixture = Mixture(dist.Categorical(WEIGHTS), Poisson(rate).to_event(1))
    want = 0.3 * single[0] + 0.7 * single[1]
    np.testing.assert_allclose(mixture.cdf(y), want, atol=1e-11)
    quantile = icdf(mixture, wide(0.5))
    assert quantile.shape == (2,)
    assert bool((cdf(mixture, quantile) >= 0.5).all())
    assert bool((cdf(mixture, quantile - 1) < 0.5).all())
    assert mixture.cdf(wide(3.0)).shape == (2,)  # a scalar is broadcast as well


# -- round trips -------------------------------------------------------------------------------------------------------

CONTINUOUS = [
    Gamma(wide(0.4), wide(3.0)),
    Gamma(wide(400.0), wide(3.0)),
    dist.Normal(wide(1.0), wide(2.0)),
    gaussian_mixture(),
    Mixture(dist.Categorical(WEIGHTS), Gamma(wide(0.5, 20.0), wide(1.0, 2.0))),
]
DISCRETE = [
    Poisson(wide(0.2)),
    Poisson(wide(1e5)),
    dist.Categorical(wide(*CLASSES)),
    poisson_mixture(),
    Mixture(dist.Categorical(WEIGHTS), dist.Categorical(torch.tensor([CLASSES, CLASSES[::-1]], dtype=torch.float64))),
]


@pytest.mark.parametrize("distribution", CONTINUOUS, ids=repr)
def test_cdf_undoes_icdf(distribution: dist.TorchDistribution) -> None:
    q = torch.linspace(0.001, 0.999, 99, dtype=torch.float64)
    np.testing.assert_allclose(cdf(distribution, icdf(distribution, q)), q, atol=1e-10)
    assert not is_discrete(distribution)


@pytest.mark.parametrize("distribution", DISCRETE, ids=repr)
def test_discrete_quantiles_are_the_smallest_that_reach_their_level(distribution: dist.TorchDistribution) -> None:
    q = torch.linspace(0.001, 0.999, 99, dtype=torch.float64)
    y = icdf(distribution, q)
    assert bool((cdf(distribution, y) >= q).all())
    assert bool((cdf(distribution, y - 1) < q).all())
    # an attained level belongs to the point that attains it
    np.testing.assert_array_equal(icdf(distribution, cdf(distribution, y)), y)
    assert is_discrete(distribution)


def test_quantiles_of_a_mixture_are_monotone_in_float32() -> None:
    mixture = Mixture(
        dist.Categorical(torch.tensor([0.5, 0.5])), dist.Normal(torch.tensor([0.0, 1e3]), torch.tensor(1e-2))
    )
    y = mixture.icdf(torch.linspace(0.01, 0.99, 99))
    assert y.dtype == torch.float32
    assert bool((y.diff() >= 0).all())


def test_quantiles_end_where_neighbouring_floats_are_more_than_one_apart() -> None:
    mixture = Mixture(dist.Categorical(torch.tensor([0.3, 0.7])), Poisson(torch.tensor([1e9, 1.1e9])))
    np.testing.assert_allclose(mixture.icdf(torch.tensor([0.1, 0.9])), [1e9, 1.1e9], rtol=1e-4)


def test_shapes_and_batches() -> None:
    rate = torch.tensor([[1.0], [4.0]])
    assert Poisson(rate).cdf(torch.arange(5.0)).shape == (2, 5)
    assert Poisson(rate).icdf(torch.tensor([0.1, 0.5, 0.9])).shape == (2, 3)
    mixture = Mixture(dist.Categorical(torch.ones(4, 3) / 3), Gamma(torch.ones(4, 3), torch.ones(4, 3)))
    assert mixture.cdf(torch.rand(4)).shape == mixture.icdf(torch.rand(5, 4))[0].shape == (4,)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_cdf_of_a_log_normal_variable_has_gradients_at_zero_too(dtype):
    parameters = [torch.tensor([0.3, 0.3], dtype=dtype, requires_grad=True) for _ in range(2)]
    below = LogNormal(*parameters).cdf(torch.tensor([0.0, 1.0], dtype=dtype))
    of_loc, of_scale = torch.autograd.grad(below.sum(), parameters)
    # of z = -loc / scale at one
    density = stats.norm.pdf(-1.0) / 0.3
    np.testing.assert_allclose(of_loc, [0.0, -density], rtol=1e-6)
    np.testing.assert_allclose(of_scale, [0.0, density], rtol=1e-6)
