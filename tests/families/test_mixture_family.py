"""Mixtures of the densities of a family: contracts, the pool in closed form, and fits."""

import math
import re

import numpy as np
import pytest
import torch
from scipy import stats

from probmix import DensityRegressor, families, linear_pool, load
from probmix.distributions import cdf, icdf
from probmix.distributions.nesting import flattened
from probmix.families import (
    Beta,
    Categorical,
    Exponential,
    Gamma,
    Gaussian,
    InverseGaussian,
    LogNormal,
    Mixture,
    MultivariateGaussian,
    NegativeBinomial,
    Poisson,
    StudentT,
    ZeroAdjusted,
    ZeroInflated,
)
from probmix.families.links import soft_bound
from probmix.mixup import BetaWeights, Mixup, mixup_loss
from probmix.scores import crps
from probmix.testing import check_family

EXPONENTIAL = [Gaussian(), Poisson(), Gamma(), LogNormal(), Beta(), Exponential(), InverseGaussian()]
OTHERS = [NegativeBinomial(), StudentT(), ZeroInflated()]


def params(family, *shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return family.constrain(torch.randn(*shape, family.num_raw, generator=generator, dtype=torch.float64)).to(dtype)


@pytest.mark.parametrize("n_components", [1, 3, 8])
@pytest.mark.parametrize("base", [Gaussian(), Poisson(), Gamma(), LogNormal(), Beta()], ids=lambda base: base.name)
def test_contracts(base, n_components):
    check_family(Mixture(base, n_components))


@pytest.mark.parametrize(
    "base", [Exponential(), InverseGaussian(), *OTHERS, ZeroAdjusted()], ids=lambda base: base.name
)
def test_contracts_of_other_bases(base):
    check_family(Mixture(base, 2))


@pytest.mark.parametrize("base", [*EXPONENTIAL, *OTHERS, ZeroAdjusted()], ids=lambda base: base.name)
def test_one_component_is_the_base(base):
    mixture, eta = Mixture(base, 1), params(base, 40)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        y = base.distribution(eta).sample().double()
    own = torch.cat([torch.zeros_like(eta[:, :1]), eta], -1)
    assert torch.allclose(mixture.log_prob(own, y), base.log_prob(eta, y), rtol=1e-12, atol=1e-12)
    label = y.unsqueeze(-1) * torch.ones(3, dtype=torch.float64)
    weights = torch.full_like(label, 1 / 3)
    for pool in ("linear", "average", "log-linear"):
        if pool != "linear" and isinstance(base, ZeroAdjusted):
            continue
        found, want = (one.expected_nll(at, one.pool_labels(label, weights, pool=pool)) for one, at in
                       ((mixture, own), (base, eta)))  # fmt: skip
        assert torch.allclose(found, want, rtol=1e-11, atol=1e-11)
    scaler = base.scaler(y)
    rescaled = mixture.rescale(own, scaler)
    assert torch.allclose(rescaled[:, 1:], base.rescale(eta, scaler), rtol=1e-12)


SPACES = {
    "gaussian": torch.linspace(-40, 40, 200_001).double(),
    "gamma": torch.linspace(-200, 6, 400_001).double().exp(),
    "lognormal": torch.linspace(-12, 12, 200_001).double().exp(),
    "beta": torch.linspace(-35, 35, 200_001).double().sigmoid(),
    "poisson": torch.arange(300.0),
}


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("base", EXPONENTIAL[:5], ids=lambda base: base.name)
def test_the_pool_is_the_marginal_of_the_product_of_powers_of_joint_densities(base, count):
    family = Mixture(base, 3)
    eta = params(family, count, seed=count)
    weights = torch.linspace(1, 2, count, dtype=torch.float64)
    weights = weights / weights.sum()
    y = SPACES[base.name].double()
    log_weights, components = family.split(eta)
    joint = log_weights.unsqueeze(-1) + base._log_prob(components.unsqueeze(-2), y)
    product = (weights.view(-1, 1, 1) * joint).sum(0).exp()
    # the trapezoidal rule on the real line
    step, place = torch.ones_like(y), y
    if base.name in ("gamma", "lognormal"):
        step, place = y, y.log()
    elif base.name == "beta":
        step, place = y * (1 - y), y.logit()
    total = product.sum() if base.is_discrete else torch.trapezoid(product * step, place).sum()
    found = family.log_prob(family.pool_params(eta, weights), y).exp()
    assert torch.allclose(found, product.sum(0) / total, rtol=1e-6, atol=1e-7)


def test_equal_weights_and_scales_pool_to_the_mean_of_the_means():
    family = Mixture(Gaussian(), 2)
    normal = torch.distributions.Normal(torch.tensor([[0.0, 4.0], [2.0, 10.0]]).double(), torch.tensor(0.5).double())
    own = Gaussian().natural_params(normal)
    eta = torch.cat([torch.full((2, 2), math.log(0.5), dtype=torch.float64), own.flatten(1)], -1)
    pooled = family.distribution(family.pool_params(eta))
    assert torch.allclose(pooled.component_distribution.mean, torch.tensor([1.0, 7.0], dtype=torch.float64))
    # the second component disagrees more about y, and counts less: by exp(-d^2 / 8 s^2) of each
    ratio = pooled.mixture_distribution.probs[1] / pooled.mixture_distribution.probs[0]
    assert ratio.item() == pytest.approx(math.exp((2**2 - 6**2) / (8 * 0.25)), rel=1e-12)


def test_a_pool_far_from_zero_is_exact():
    """In the user's units c_k would be a difference of numbers of 1e18, of which no digit is left."""
    family = Mixture(Gaussian(), 3)
    eta = params(family, 4)
    shift = families.TargetScaler(torch.tensor(-1.6e9).double(), torch.tensor(0.5).double())
    there = family.rescale(family.pool_params(eta), shift)
    pooled = family.pool_params(family.rescale(eta, shift))
    assert torch.allclose(family.split(pooled)[0], family.split(there)[0], atol=1e-5)


def test_gradients_of_the_pool():
    family = Mixture(Gamma(), 2)
    eta = params(family, 3, 2).requires_grad_()
    weights = torch.tensor([0.3, 0.7], dtype=torch.float64).expand(3, -1)
    assert torch.autograd.gradcheck(lambda eta: family.pool_params(eta, weights), eta)
    y = torch.tensor([0.3, 1.0, 4.0], dtype=torch.float64)

    def loss(eta, weights=weights):
        return family.log_prob(family.pool_params(eta, weights), y)

    assert torch.autograd.gradcheck(loss, eta)
    # as learning the weights of a mixup asks
    assert torch.autograd.gradgradcheck(loss, eta)
    assert torch.autograd.gradcheck(loss, (eta, weights.clone().requires_grad_()))


def test_gradients_of_each_draw():
    family = Mixture(Gaussian(), 2)
    eta, y = params(family, 6), torch.linspace(-1, 1, 6, dtype=torch.float64)
    found = torch.func.vmap(torch.func.grad(lambda eta, y: family.log_prob(eta, y)))(eta, y)
    (want,) = torch.autograd.grad(
        family.joint_log_prob(own := eta.clone().requires_grad_(), y).logsumexp(-1).sum(), own
    )
    assert torch.allclose(found, want, rtol=1e-12)


def test_log_density_is_scipys():
    family = Mixture(Gaussian(), 3)
    eta = params(family, 1)
    mixture, y = family.distribution(eta[0]), np.linspace(-5, 5, 50)
    want = sum(
        w * stats.norm.pdf(y, m, s)
        for w, m, s in zip(
            mixture.mixture_distribution.probs.tolist(),
            mixture.component_distribution.mean.tolist(),
            mixture.component_distribution.stddev.tolist(),
            strict=True,
        )
    )
    assert np.allclose(family.log_prob(eta.expand(50, -1), torch.from_numpy(y)).exp(), want, rtol=1e-12)


def test_no_component_dies():
    raw = torch.full((1, Mixture().num_raw), -50.0)
    raw[:, 0] = 50.0
    family = Mixture()
    assert family.split(family.constrain(raw))[0].exp().min().item() == pytest.approx(0.001 / 5, rel=1e-5)
    assert family.pools_log_linearly
    assert not Mixture(StudentT()).pools_log_linearly


def test_a_component_on_a_lattice_is_no_spike():
    y = torch.arange(40.0).double() / 10
    family = Mixture(Gaussian(), 2)
    low, high = family.raw_bounds(y)
    assert torch.isinf(low[0, :2]).all()
    assert torch.isinf(high[0, :2]).all()
    raw = soft_bound(torch.full_like(low[0], -1e3), low[0], high[0])
    sd = family.distribution(family.constrain(raw)).component_distribution.stddev
    least = 0.1 / math.sqrt(12)
    assert bool(((sd >= least) & (sd < 1.03 * least)).all())


def test_the_start_is_spread_over_the_targets():
    y = torch.from_numpy(np.random.default_rng(0).normal(10, 2, 5000))
    family = Mixture(Gaussian(), 5)
    start = family.distribution(family.marginal_params(y).squeeze(0))
    means = start.component_distribution.mean
    assert bool((means.diff() > 0.5).all())
    assert start.mean.item() == pytest.approx(y.mean().item(), abs=1e-6)
    assert start.log_prob(y).mean().item() == pytest.approx(stats.norm(10, 2).logpdf(y.numpy()).mean(), abs=0.02)
    twice = family.marginal_params(torch.cat([y, y[:7]]))
    weighted = family.marginal_params(y, 1 + (torch.arange(len(y)) < 7).double())
    assert torch.allclose(twice, weighted, atol=1e-10)


def test_names():
    assert families.get("normal-mixture", n_components=3) == Mixture(Gaussian(), 3)
    assert families.get("Negative_Binomial-Mixture") == Mixture(NegativeBinomial())
    assert families.get("t-mixture", n_components=2) == Mixture(StudentT(), 2)
    assert families.get("zip-mixture").base == ZeroInflated()
    assert families.canonical_name("lognormal mixture") == "lognormal-mixture"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Mixture("gaussian"), "`base` must be a family, such as Gaussian(); got 'gaussian'"),
        (lambda: Mixture(Categorical(3)), "`base` must be a family whose mixtures are no densities of its own"),
        (lambda: Mixture(Mixture()), "`base` must be a family whose mixtures are no densities of its own"),
        (lambda: ZeroInflated(Mixture(Poisson())), "`base` must be a family of one component"),
        (lambda: Mixture(n_components=0), "`n_components` must be a positive integer; got 0"),
        (lambda: Mixture(n_components=2.0), "`n_components` must be a positive integer; got 2.0"),
        (lambda: families.get("gausian-mixture"), "unknown family 'gausian-mixture'"),
    ],
)
def test_errors(make, message):
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        make()


def two_humps(n=300):
    rng = np.random.default_rng(0)
    X = np.linspace(-1, 1, n)[:, None]
    return X, np.where(rng.random(n) < 0.5, -1, 1) * (1 + X[:, 0]) + 0.1 * rng.normal(size=n)


MIXUPS = {
    "erm": "erm",
    "linear": Mixup(at="output", weights=BetaWeights(0.2), label_pool="linear", clean=0.5),
    "average": Mixup(at="output", label_pool="average", clean=0.5),
    "m-probmix": "m-probmix",
}


@pytest.mark.parametrize("mixup", MIXUPS.values(), ids=MIXUPS)
def test_two_humps_are_learned(mixup):
    X, y = two_humps()
    settings = {"max_epochs": 60, "n_members": 3, "random_state": 0, "n_draws": 4}
    one, two = (
        DensityRegressor(f, mixup, **settings, preset="plain").fit(X, y) for f in ("gaussian", Mixture(Gaussian(), 4))
    )
    assert two.score(X, y) > one.score(X, y) + 0.3
    dist = two.predict_dist(X[:5])
    draws = 4 if mixup == "m-probmix" else 1
    assert dist.mixture_distribution.probs.shape == (5, 12 * draws)
    assert bool(crps(dist, y[:5]).isfinite().all())


def test_pooled_log_linearly_and_saved(tmp_path):
    X, y = two_humps(120)
    model = DensityRegressor(
        "gaussian-mixture", n_members=3, pool="log-linear", max_epochs=3, random_state=0, preset="plain"
    ).fit(X, y)
    assert model.predict_dist(X).mixture_distribution.probs.shape == (120, 5)
    assert model.predict_natural_params(X).shape == (120, 15)
    model.save(tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors")
    assert loaded.family_ == Mixture(Gaussian(), 5)
    assert np.array_equal(loaded.log_prob(X, y), model.log_prob(X, y))


def test_counts_with_exposure():
    rng = np.random.default_rng(0)
    X, exposure = rng.normal(size=(200, 2)), rng.uniform(0.5, 2, 200)
    y = rng.poisson(exposure * np.exp(X[:, 0] + rng.choice([-1, 1], 200)))
    model = DensityRegressor("poisson-mixture", max_epochs=20, random_state=0, preset="plain").fit(
        X, y, exposure=exposure
    )
    twice = model.predict_dist(X, exposure=2 * exposure).mean
    assert torch.allclose(twice, 2 * model.predict_dist(X, exposure=exposure).mean, rtol=1e-10)


def test_several_targets_have_marginals_of_their_own():
    X, y = two_humps(100)
    Y = np.stack([y, -2 * y], 1)
    model = DensityRegressor("gaussian-mixture", n_members=2, max_epochs=3, random_state=0, preset="plain").fit(X, Y)
    dist = model.predict_dist(X[:4])
    eta = model.predict_natural_params(X[:4])
    targets = torch.from_numpy(Y[:4])
    want = torch.stack([model.family_.distribution(eta[m]).cdf(targets) for m in range(2)]).mean(0)
    assert torch.allclose(cdf(dist, targets), want, atol=1e-12)
    assert torch.allclose(
        cdf(dist, icdf(dist, torch.full((4, 2), 0.3, dtype=torch.float64))), torch.tensor(0.3).double()
    )
    of_targets = [linear_pool(model.family_.distribution(eta[:, :, d].movedim(0, 1))) for d in range(2)]
    want = sum(crps(one, Y[:4, d]) for d, one in enumerate(of_targets)) / 2
    assert np.allclose(crps(dist, Y[:4]), want, rtol=1e-9)
    assert np.isfinite(model.score(X, Y))


def test_mixtures_of_mixtures_are_flat():
    family = Mixture(Gamma(), 3)
    eta = params(family, 5, 2)
    weights = torch.tensor([0.25, 0.75], dtype=torch.float64)
    pooled = linear_pool(family.distribution(eta), weights)
    assert pooled.mixture_distribution.probs.shape == (5, 6)
    y = torch.tensor([0.1, 0.5, 1.0, 2.0, 9.0], dtype=torch.float64)
    want = (weights * family.log_prob(eta, y.unsqueeze(-1)).exp()).sum(-1).log()
    assert torch.allclose(pooled.log_prob(y), want, rtol=1e-12)
    assert flattened(pooled) is pooled


def test_vectors():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(80, 2)), rng.normal(size=(80, 2))
    model = DensityRegressor(Mixture(MultivariateGaussian(), 2), max_epochs=3, random_state=0, preset="plain").fit(X, y)
    assert model.family_.base == MultivariateGaussian(2)
    assert model.predict_dist(X).event_shape == (2,)
    assert model.predict(X).shape == (80, 2)


@pytest.mark.parametrize("pool", ["linear", "average", "log-linear"])
def test_in_a_loop_of_ones_own(pool):
    network = torch.nn.Linear(2, Mixture(Gaussian(), 2).num_raw)
    family = Mixture(Gaussian(), 2)
    x, y = torch.randn(16, 2, generator=torch.Generator().manual_seed(0)), torch.linspace(-1, 1, 16)
    mixup = Mixup(at="output", label_pool=pool, clean=0.25)
    loss = mixup_loss(lambda x: family.constrain(network(x)), family, x, y, mixup)
    loss.backward()
    assert bool(network.weight.grad.isfinite().all())


def test_labels_that_have_no_meaning_are_refused():
    X, y = two_humps(40)
    with pytest.raises(ValueError, match="'gaussian-mixture' is no exponential family and has neither calibrated"):
        DensityRegressor("gaussian-mixture", Mixup(at="output", label_pool="calibrated"), preset="plain").fit(X, y)
    with pytest.raises(ValueError, match="no exponential family"):
        DensityRegressor("gaussian-mixture", Mixup(at="output", label_spread=0.1), preset="plain").fit(X, y)
    with pytest.raises(ValueError, match=r"`pool` is 'log-linear', but the family 't-mixture|student-t-mixture"):
        DensityRegressor("t-mixture", pool="log-linear", preset="plain").fit(X, y)
