"""Draws from mixtures: their law, and how many draws of components they take."""

import math

import numpy as np
import pyro.distributions as dist
import pytest
import torch

from probmix import linear_pool
from probmix.distributions import (
    Bernoulli,
    Beta,
    Empirical,
    Exponential,
    Gamma,
    Hurdle,
    Independent,
    InverseGaussian,
    LogNormal,
    Mixture,
    NegativeBinomial,
    Poisson,
    QuantileFunction,
    StudentT,
    ZeroAdjusted,
    ZeroInflated,
    cdf,
    sampling,
)
from probmix.distributions.selection import select

ROWS, MEMBERS, DRAWS = 3, 4, 8_000


def parameter(low, high, *event, seed=0):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.uniform(low, high, (ROWS, MEMBERS, *event)))


COMPONENTS = {
    "gamma": lambda: Gamma(parameter(0.5, 5), parameter(0.5, 2, seed=1)),
    "beta": lambda: Beta(parameter(0.5, 5), parameter(0.5, 5, seed=1)),
    "normal": lambda: dist.Normal(parameter(-2, 2), parameter(0.1, 1, seed=1)),
    "laplace": lambda: dist.Laplace(parameter(-2, 2), parameter(0.1, 1, seed=1)),
    "student-t": lambda: StudentT(parameter(2, 9), parameter(-2, 2, seed=1), parameter(0.1, 1, seed=2)),
    "lognormal": lambda: LogNormal(parameter(-2, 2), parameter(0.1, 1, seed=1)),
    "exponential": lambda: Exponential(parameter(0.1, 3)),
    "inverse gaussian": lambda: InverseGaussian(parameter(0.5, 2), parameter(0.5, 4, seed=1)),
    "zero-adjusted gamma": lambda: ZeroAdjusted(Gamma(parameter(1, 5), parameter(1, 2, seed=1)), parameter(-1, 1)),
    "poisson": lambda: Poisson(parameter(0.2, 9)),
    "bernoulli": lambda: Bernoulli(logits=parameter(-2, 2)),
    "negative binomial": lambda: NegativeBinomial(parameter(0.5, 5), logits=parameter(-1, 1, seed=1)),
    "negative binomial by probability": lambda: NegativeBinomial(parameter(0.5, 5), probs=parameter(0.2, 0.6, seed=1)),
    "zero-inflated": lambda: ZeroInflated(Poisson(parameter(0.2, 9)), gate_logits=parameter(-1, 1, seed=1)),
    "hurdle": lambda: Hurdle(Poisson(parameter(0.2, 9)), parameter(-1, 1, seed=1)),
    "draws": lambda: Empirical(parameter(-1, 1, 5)),
    "quantiles": lambda: QuantileFunction(parameter(-1, 1, 3).sort(-1).values, [0.2, 0.5, 0.9]),
    "uniform": lambda: dist.Uniform(parameter(-2, -1), parameter(1, 2, seed=1)),
    "mixture": lambda: linear_pool(dist.Normal(parameter(-2, 2, 2), parameter(0.1, 1, 2, seed=1))),
    "several targets": lambda: Independent(Gamma(parameter(0.5, 5, 2), parameter(0.5, 2, 2, seed=1)), 1),
    "multivariate": lambda: dist.MultivariateNormal(
        parameter(-2, 2, 2), torch.tensor([[1.0, 0.5], [0.5, 2.0]]).double()
    ),
    "low rank": lambda: dist.LowRankMultivariateNormal(
        parameter(-2, 2, 2), parameter(0.5, 1, 2, 1), parameter(0.5, 1, 2)
    ),
}
# Of these all components are drawn.
WHOLE = ("uniform", "low rank")


def mixture_of(name):
    weights = parameter(0.05, 1, seed=9)
    return linear_pool(COMPONENTS[name](), weights / weights.sum(-1, keepdim=True))


@pytest.mark.parametrize("name", COMPONENTS)
def test_draws_follow_the_cdf(name):
    mixture = mixture_of(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        draws = mixture.sample((DRAWS,))
    assert draws.shape == (DRAWS, ROWS, *mixture.event_shape)
    assert draws.dtype == torch.float64
    if name in WHOLE:
        torch.testing.assert_close(draws.mean(0), mixture.mean, rtol=0, atol=0.05)
        torch.testing.assert_close(draws.var(0), mixture.variance, rtol=0.05, atol=0)
        return
    # Kolmogorov's distance from below and from above, at the draws themselves; beyond 2.2 / sqrt(n) in 1 of 8,000
    places = draws.sort(0).values
    values, counts = cdf(mixture, places), torch.arange(1, DRAWS + 1).double().reshape(-1, *(1,) * (draws.ndim - 1))
    above = torch.where(places == places.roll(-1, 0), 0.0, counts / DRAWS - values)
    assert above.abs().amax().item() < 2.2 / math.sqrt(DRAWS)


@pytest.mark.parametrize("name", [name for name in COMPONENTS if name not in WHOLE])
def test_single_rows_can_be_taken(name):
    component = COMPONENTS[name]()
    places = torch.tensor([11, 0, 5, 5])
    chosen = select(component, places, 2)
    assert chosen.batch_shape == (4,)
    y = component.sample().reshape(-1, *component.event_shape)[places]
    of_all = cdf(component, y.reshape(4, 1, 1, *component.event_shape)).flatten(1, 2)
    torch.testing.assert_close(cdf(chosen, y), of_all[torch.arange(4), places], rtol=1e-14, atol=0)
    rows = select(component, places[1:2], 1)
    assert rows.batch_shape == (1, MEMBERS)
    torch.testing.assert_close(rows.mean, component.mean[:1], rtol=0, atol=0)


def counted(concentration):
    """A Gamma that lists, in `asked`, how many numbers it is asked for."""
    asked = []

    class Counting(Gamma):
        def sample(self, sample_shape=()):
            draws = super().sample(sample_shape)
            asked.append(draws.numel())
            return draws

    return Counting(concentration, torch.ones_like(concentration)), asked


def test_only_the_component_that_was_drawn_is_drawn_from():
    gamma, asked = counted(torch.rand(400, 64).double() + 1)
    draws = linear_pool(gamma).sample((50,))
    assert sum(asked) == draws.numel() == 50 * 400


def test_draws_come_in_blocks(monkeypatch):
    monkeypatch.setattr(sampling, "_BLOCK", 1000)
    gamma, asked = counted(torch.rand(3000, 2).double() + 1)
    assert linear_pool(gamma).sample((7,)).shape == (7, 3000)
    assert max(asked) <= 1000
    assert sum(asked) == 21_000


class Own(dist.Exponential):
    """Keeps a tensor that no constraint names, so that its rows cannot be taken."""

    def __init__(self, rate):
        super().__init__(rate)
        self.scale = 1 / rate
        self.asked = []

    def sample(self, sample_shape=()):
        draws = self.scale * -torch.rand(torch.Size(sample_shape) + self.batch_shape, dtype=torch.float64).log()
        self.asked.append(draws.numel())
        return draws


def test_components_that_cannot_be_taken_apart_are_all_drawn_in_blocks(monkeypatch):
    monkeypatch.setattr(sampling, "_BLOCK", 1000)
    own = Own(torch.tensor([[0.1, 10.0], [1.0, 100.0]]).double())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        draws = linear_pool(own, torch.tensor([[0.5, 0.5], [0.0, 1.0]]).double()).sample((40_000,))
    assert max(own.asked) <= 1000
    assert select(own, torch.tensor([0]), 2) is None
    torch.testing.assert_close(draws.mean(0), torch.tensor([5.05, 0.01]).double(), rtol=0.03, atol=0)


def test_weights_may_be_shared_by_all_rows():
    weights = torch.tensor([0.0, 1.0]).double()
    component = dist.Normal(torch.tensor([[0.0, 10.0], [0.0, 20.0]]).double(), torch.tensor(1e-3).double())
    draws = Mixture(dist.Categorical(weights), component).sample((5,))
    torch.testing.assert_close(draws, torch.tensor([10.0, 20.0]).double().expand(5, 2), rtol=0, atol=0.1)


@pytest.mark.parametrize("name", ["gamma", "several targets", "low rank"])
def test_empty(name):
    mixture = mixture_of(name)
    assert mixture.sample((0, 2)).shape == (0, 2, *mixture.batch_shape, *mixture.event_shape)
    none = linear_pool(Gamma(torch.ones(0, 3), torch.ones(0, 3)), torch.full((0, 3), 1 / 3))
    assert none.sample((2,)).shape == (2, 0)
    assert none.sample((2,)).dtype == torch.float32


def test_no_batch():
    draws = linear_pool(Gamma(torch.ones(3), torch.ones(3)), torch.full((3,), 1 / 3)).sample()
    assert draws.shape == ()
    assert draws.dtype == torch.float32
