"""Positive targets with exact zeros: the distribution, its pools and scores, and what looks at them."""

import itertools
import math

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from scipy import integrate, stats

import probmix
from probmix import DensityRegressor, families, linear_pool, log_linear_pool
from probmix.calibration import ConformalRegressor, Recalibrated, RecalibratedRegressor, fit_pit_map
from probmix.distributions import (
    Gamma,
    Independent,
    LogNormal,
    Mixture,
    ZeroAdjusted,
    cdf,
    cdf_below,
    has_atoms,
    icdf,
    is_discrete,
)
from probmix.distributions.normal_scores import from_normal_score, normal_score
from probmix.distributions.point_masses import mass_at
from probmix.plots import FusionDisplay
from probmix.scores import (
    coverage,
    coverage_curve,
    crps,
    crps_with_bound,
    evaluate,
    nll,
    pit,
    threshold_weighted_crps,
)
from probmix.testing import check_family

NAMES = ["zero-adjusted-gamma", "zero-adjusted-lognormal"]
over_names = pytest.mark.parametrize("name", NAMES)
FAST = {"hidden_layer_sizes": (8,), "max_epochs": 4, "random_state": 0}
Y = (0.0, 1e-6, 0.3, 1.0, 7.0)


def wide(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64).squeeze()


# a probability of zero, a distribution here and in SciPy
GAMMA = (0.3, Gamma(wide(0.7), wide(0.5)), stats.gamma(0.7, scale=2.0))
LOGNORMAL = (0.9, LogNormal(wide(0.5), wide(1.2)), stats.lognorm(1.2, scale=math.exp(0.5)))
over_cases = pytest.mark.parametrize(("share", "base", "frozen"), [GAMMA, LOGNORMAL], ids=["gamma", "lognormal"])


def zero_mass(distribution: torch.distributions.Distribution) -> torch.Tensor:
    return mass_at(distribution, wide(0.0))


def adjusted(share: float, base: torch.distributions.Distribution) -> ZeroAdjusted:
    return ZeroAdjusted(base, gate_logits=wide(share).logit())


def three(rows: int = 1) -> ZeroAdjusted:
    """Components that differ in everything, (rows, 3)."""
    base = Gamma(wide(0.5, 3.0, 40.0), wide(1.0, 1.0, 4.0))
    return ZeroAdjusted(base, gate_logits=wide(0.1, 0.5, 0.95).logit()).expand((rows, 3))


WEIGHTS = (0.2, 0.5, 0.3)


# -- one distribution --------------------------------------------------------------------------------------------------


@over_cases
def test_against_scipy(share, base, frozen):
    distribution, y = adjusted(share, base), np.array(Y)
    below = np.where(y < 0, 0, share + (1 - share) * frozen.cdf(y))
    np.testing.assert_allclose(distribution.cdf(wide(*Y)), below, rtol=1e-12)
    assert distribution.cdf(wide(-1e-300)) == 0
    log_prob = np.append(math.log(share), math.log(1 - share) + frozen.logpdf(y[1:]))
    np.testing.assert_allclose(distribution.log_prob(wide(*Y)), log_prob, rtol=1e-12)
    np.testing.assert_allclose(nll(distribution.expand((5,)), wide(*Y)), -log_prob, rtol=1e-12)
    assert nll(distribution.expand((1,)), wide(-1.0).reshape(1)) == math.inf
    levels = np.array([1e-9, 0.1, share - 1e-9, share + 1e-6, 0.95, 1 - 1e-9])
    quantile = distribution.icdf(wide(*levels))
    assert quantile[:2].tolist() == [0, 0] or share < 0.1
    want = np.where(levels <= share, 0, frozen.ppf((levels - share) / (1 - share)))
    np.testing.assert_allclose(quantile, want, rtol=1e-6)
    assert distribution.icdf(wide(0.0, 1.0)).tolist() == [0, math.inf]
    assert bool(distribution.icdf(wide(-0.1, 1.1)).isnan().all())
    mean, second = (1 - share) * frozen.mean(), (1 - share) * (frozen.var() + frozen.mean() ** 2)
    assert distribution.mean.item() == pytest.approx(mean)
    assert distribution.variance.item() == pytest.approx(second - mean**2)


@over_cases
def test_what_is_known_of_the_zero(share, base, frozen):
    distribution = adjusted(share, base)
    assert zero_mass(distribution).item() == pytest.approx(share)
    assert has_atoms(distribution)
    assert not is_discrete(distribution)
    np.testing.assert_allclose(cdf_below(distribution, wide(0.0, 1.0)), [0, distribution.cdf(wide(1.0))], atol=1e-16)
    assert not has_atoms(base)
    assert not has_atoms(linear_pool(base.expand((3,))))
    assert cdf_below(Gamma(wide(1.0), wide(1.0)), wide(2.0)) == Gamma(wide(1.0), wide(1.0)).cdf(wide(2.0))
    assert cdf_below(probmix.distributions.Poisson(wide(1.0)), wide(1.0)).item() == pytest.approx(math.exp(-1))


@over_cases
def test_draws_follow_it_and_positive_ones_never_underflow(share, base, frozen):
    distribution = adjusted(share, base).expand((3,))
    assert isinstance(distribution, ZeroAdjusted)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        draws = distribution.sample((5000,))
        small = Gamma(torch.tensor(1e-3), torch.tensor(1.0))
        tiny = ZeroAdjusted(small, gate_logits=torch.tensor(-20.0)).sample((999,))
    assert draws.shape == (5000, 3)
    assert (draws == 0).double().mean().item() == pytest.approx(share, abs=0.012)
    assert stats.kstest(draws[draws > 0].numpy(), frozen.cdf).pvalue > 0.01
    assert bool((tiny > 0).all())


@over_cases
@pytest.mark.parametrize("y", [0.0, 0.4, 30.0, -2.0])
def test_crps_against_quadrature(share, base, frozen, y):
    distribution = adjusted(share, base).expand((1,))

    def square(x):
        return (share + (1 - share) * frozen.cdf(x) - (x >= y)) ** 2

    inside = max(y, 0.0)
    want = max(-y, 0.0) + sum(
        integrate.quad(square, low, high, epsabs=1e-13)[0]
        for low, high in ((0, inside / 9), (inside / 9, inside), (inside, inside + 9), (inside + 9, math.inf))
    )
    value, bound = crps_with_bound(distribution, wide(y).reshape(1))
    assert value.item() == pytest.approx(want, rel=1e-7)
    assert 0 < bound.item() < 1e-9 * value.item()
    parts = [(-math.inf, 0.2), (0.2, 5.0), (5.0, math.inf)]
    windows = sum(threshold_weighted_crps(distribution, wide(y).reshape(1), *ends) for ends in parts)
    torch.testing.assert_close(windows, value, rtol=1e-9, atol=1e-12)


def _column(base, column):
    """The base of one column, for each of two components."""
    return type(base)(*(getattr(base, name)[column].expand(2) for name in base.arg_constraints))


@pytest.mark.parametrize("base", [LogNormal(wide(0.3, -1.0), wide(0.5, 1.2)), Gamma(wide(2.0, 0.7), wide(1.0, 3.0))])
@pytest.mark.parametrize("y", [0.0, 0.4, 30.0])
def test_crps_of_a_mixture_against_quadrature(base, y):
    shares, weights = wide(0.2, 0.6), wide(0.3, 0.7)
    components = ZeroAdjusted(base, gate_logits=shares.logit())
    mixture = Mixture(dist.Categorical(weights), components)

    def square(x):
        above = (weights * (shares + (1 - shares) * base.cdf(wide(x, x)))).sum().item()
        return (above - (x >= y)) ** 2

    want = sum(
        integrate.quad(square, low, high, epsabs=1e-12, limit=200)[0]
        for low, high in ((0, y / 9), (y / 9, y), (y, y + 9), (y + 9, math.inf))
    )
    value, bound = crps_with_bound(mixture, wide(y))
    assert value.item() == pytest.approx(want, rel=1e-6)
    assert crps(mixture, wide(y)).item() == pytest.approx(want, rel=1e-6)
    assert 0 < bound.item() < 1e-8 * value.item()
    # of two targets each coordinate has weights of its own
    pair = ZeroAdjusted(base.expand((2, 2)), gate_logits=shares.logit().expand(2, 2))
    both = Mixture(dist.Categorical(weights), Independent(pair, 1))
    of_columns = [
        Mixture(
            dist.Categorical(weights), ZeroAdjusted(_column(base, column), gate_logits=shares[column].logit().expand(2))
        )
        for column in range(2)
    ]
    # several targets have the mean of their scores
    want = sum(crps(one, wide(y)).item() for one in of_columns) / 2
    assert crps(both, wide(y, y)).item() == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("base", ["gamma", "lognormal", "gamma-mixture", "lognormal-mixture"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_crps_has_gradients_at_zero_and_above(base, dtype):
    family = families.get(f"zero-adjusted-{base}")
    draw = torch.Generator().manual_seed(0)
    raw = torch.randn(4, family.num_raw, generator=draw, dtype=dtype).requires_grad_()
    y = torch.tensor([0.0, 1e-6, 1.0, 40.0], dtype=dtype)
    (gradient,) = torch.autograd.grad(crps(family.distribution(family.constrain(raw)), y).sum(), raw)
    assert bool(gradient.isfinite().all())
    assert bool((gradient != 0).any(-1).all())


def test_a_fit_by_the_crps_of_targets_with_zeros():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 2))
    y = np.where(rng.random(100) < 0.3, 0.0, np.exp(X[:, 0] + 0.3 * rng.normal(size=100)))
    model = DensityRegressor(
        "zero-adjusted-lognormal-mixture", loss="crps", n_members=2, max_epochs=3, random_state=0
    ).fit(X, y)
    assert np.isfinite(model.validation_curve_).all()


def test_derivatives():
    gate, y = wide(-1.0, 0.5, 3.0, 1.0).requires_grad_(), wide(0.0, 0.2, 4.0, 1.0)
    a, b = wide(0.7, 3.0, 9.0, 1.0).requires_grad_(), wide(1.0, 2.0, 3.0, 1.0).requires_grad_()
    q = wide(0.1, 0.8, 0.99, 0.5).requires_grad_()

    def make(gate, a, b):
        return ZeroAdjusted(Gamma(a, b), gate_logits=gate)

    for score in (nll, crps):
        assert torch.autograd.gradcheck(lambda *p, f=score: f(make(*p), y), (gate, a, b))
    assert torch.autograd.gradcheck(lambda g, a, b, q: make(g, a, b).icdf(q), (gate, a, b, q))
    assert torch.autograd.gradcheck(lambda g, a, b: make(g, a, b).cdf(y), (gate, a, b))


# -- mixtures ----------------------------------------------------------------------------------------------------------


def parts(y: np.ndarray) -> np.ndarray:
    shares, shapes, rates = (0.1, 0.5, 0.95), (0.5, 3.0, 40.0), (1.0, 1.0, 4.0)
    cdfs = [p + (1 - p) * stats.gamma.cdf(y, a, scale=1 / b) for p, a, b in zip(shares, shapes, rates, strict=True)]
    return np.tensordot(np.array(WEIGHTS), np.stack(cdfs), 1)


def made(kind: str) -> torch.distributions.Distribution:
    """The same mixture in three forms."""
    if kind == "pool":
        return linear_pool(three(), wide(*WEIGHTS))
    if kind == "mixture":
        return Mixture(dist.Categorical(wide(*WEIGHTS)), three().expand((1, 3)), validate_args=False)
    components = three(2).expand((2, 3)).expand((2, 3))
    columns = ZeroAdjusted(
        Gamma(components.base_dist.concentration.unsqueeze(-1), components.base_dist.rate.unsqueeze(-1)),
        components.gate_logits.unsqueeze(-1),
    )
    return linear_pool(Independent(columns.expand((2, 3, 2)), 1), wide(*WEIGHTS))


@pytest.mark.parametrize("kind", ["pool", "mixture", "several targets"])
def test_mixtures(kind):
    mixture = made(kind)
    assert isinstance(mixture, ZeroAdjusted) == (kind == "pool")
    shape = mixture.batch_shape + mixture.event_shape
    zero = 0.2 * 0.1 + 0.5 * 0.5 + 0.3 * 0.95
    np.testing.assert_allclose(zero_mass(mixture).expand(shape), np.full(shape, zero))
    for y in Y:
        np.testing.assert_allclose(cdf(mixture, wide(y).expand(shape)), np.full(shape, parts(np.array(y))), rtol=1e-12)
    for level in (1e-6, 0.3, zero - 1e-9):
        assert bool((icdf(mixture, wide(level).expand(shape)) == 0).all())
    for level in (zero + 1e-3, 0.8, 0.999):
        y = icdf(mixture, wide(level).expand(shape))
        assert bool((y > 0).all())
        np.testing.assert_allclose(parts(y.numpy()), np.full(shape, level), rtol=1e-9)
    for y in (0.0, 2.5):
        edges = sorted({0.0, 0.01, 1.0, y, 5.0, 12.0, 30.0, 100.0})
        square = sum(
            integrate.quad(lambda x, y=y: (parts(np.array(x)) - (x >= y)) ** 2, *ends, epsabs=1e-12)[0]
            for ends in itertools.pairwise(edges)
        )
        np.testing.assert_allclose(crps(mixture, wide(y).expand(shape)), np.full(shape[:1], square), rtol=1e-7)
    density = 0.2 * 0.9 * stats.gamma.pdf(2.0, 0.5) + 0.5 * 0.5 * stats.gamma.pdf(2.0, 3.0)
    density += 0.3 * 0.05 * stats.gamma.pdf(2.0, 40.0, scale=0.25)
    if kind != "several targets":
        np.testing.assert_allclose(nll(mixture, wide(2.0).expand(shape)), [-math.log(density)])
        np.testing.assert_allclose(nll(mixture, wide(0.0).expand(shape)), [-math.log(zero)])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        many = mixture.expand((4000, *mixture.batch_shape))
        u = pit(many, many.sample())
    assert stats.kstest(u.reshape(4000, -1)[:, 0].numpy(), "uniform").pvalue > 0.01


# -- the family --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", [*NAMES, "zero-adjusted-inverse-gaussian"])
def test_contracts(name, seed):
    check_family(families.get(name), seed)


@over_names
def test_zeros_are_what_two_densities_have_in_common(name):
    family = families.get(name)
    raw = torch.zeros(2, family.num_raw, dtype=torch.float64)
    raw[:, 1] = torch.tensor([-2.0, 2.0])
    pooled = family.distribution(log_linear_pool(family.constrain(raw)))
    assert zero_mass(pooled).item() > 0.6
    # by hand: the integral of the root of both densities is what is left above zero
    u = torch.linspace(-60, 60, 100_001, dtype=torch.float64).exp()
    one, two = (family.distribution(family.constrain(raw[k])).base_dist.log_prob(u) for k in range(2))
    common = torch.trapezoid((0.5 * (one + two)).exp(), u)
    assert zero_mass(pooled).item() == pytest.approx(1 / (1 + common.item()), rel=1e-6)


@over_names
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_gate_keeps_its_digits_in_natural_parameters(name, dtype):
    family = families.get(name)
    gates = torch.tensor([-15.0, -3.0, 0.0, 8.0])
    raw = torch.cartesian_prod(gates, torch.linspace(-3, 3, 5), torch.linspace(-4, 2, 5))
    gate = family.distribution(family.constrain(raw.to(dtype))).gate_logits.double()
    want = 20 * torch.tanh(raw[:, 0].double() / 20)
    assert (gate - want).abs().max() < (1e-2 if dtype == torch.float32 else 1e-8)


@over_names
def test_labels_are_zero_or_the_pool_of_the_positive_ones(name):
    family = families.get(name)
    eta = family.constrain(torch.tensor([[0.3, 0.2, -0.5]], dtype=torch.float64)).expand(4, -1)
    y = torch.tensor([[2.0, 8.0], [0.0, 3.0], [0.0, 0.0], [5.0, 0.0]], dtype=torch.float64)
    weights = torch.tensor([0.25, 0.75], dtype=torch.float64).expand(4, 2)
    zero, centre = family.log_prob(eta[0], wide(0.0)), 2**0.25 * 8**0.75
    above = family.log_prob(eta[:3], wide(centre, 3.0, 5.0))
    want = -torch.stack([above[0], 0.25 * zero + 0.75 * above[1], zero, 0.25 * above[2] + 0.75 * zero])
    torch.testing.assert_close(family.expected_nll(eta, family.pool_labels(y, weights)), want)
    linear = (weights * -family.log_prob(eta.unsqueeze(1).expand(4, 2, -1), y)).sum(-1)
    torch.testing.assert_close(family.expected_nll(eta, family.pool_labels(y, weights, pool="linear")), linear)
    # a label kernel belongs to positive targets alone, and leaves their mean logarithm
    spread = family.expected_nll(eta, family.pool_labels(y, weights, spread=0.1)) - want
    assert spread[2] == 0
    assert bool((spread[[0, 1, 3]] > 0).all())


@pytest.mark.parametrize(("call", "message"), [
    (lambda: families.ZeroAdjusted(families.Gaussian()),
     "`base` must be an exponential family of positive targets, such as Gamma(); got Gaussian()."),
    (lambda: families.ZeroAdjusted(families.Poisson()),
     "`base` must be an exponential family of positive targets, such as Gamma(); got Poisson()."),
    (lambda: families.get("zaga").check_targets(torch.tensor([0.0, 1.0, -1.0])),
     "zero-adjusted-gamma targets must be zero or positive; got -1 at row 2. "
     "Use a family for real targets such as 'gaussian' or 'student-t'."),
    (lambda: families.get("ziln").expose(torch.zeros(1, 3), torch.zeros(1)),
     "the family 'zero-adjusted-lognormal' has no exposure: it does not say how the probability of a zero depends on "
     "it. Use 'tweedie'."),
    (lambda: families.canonical_name("hurdle"),
     "the family name 'hurdle' may mean 'hurdle-poisson', 'hurdle-negative-binomial', 'zero-adjusted-gamma' or "
     "'zero-adjusted-lognormal'. Pass one of these."),
    (lambda: FusionDisplay.from_predictions(
        families.get("zaga").distribution(families.get("zaga").constrain(torch.zeros(2, 3)))),
     "the family 'zero-adjusted-gamma' has a probability at zero beside its density, which have no axis in common. "
     "Draw the positive part, `base_dist` of the predicted distributions."),
])  # fmt: skip
def test_errors(call, message):
    with pytest.raises(ValueError, match=r"family|must be") as error:
        call()
    assert str(error.value) == message


def test_names():
    gamma, lognormal = families.ZeroAdjusted(), families.ZeroAdjusted(families.LogNormal())
    for name in ("zaga", "gamma-hurdle", "hurdle_gamma", "zero-inflated-gamma", "Zero Adjusted Gamma"):
        assert families.get(name) == gamma
    for name in ("ziln", "hurdle-lognormal", "delta_lognormal", "zero-inflated-log-normal", "zero-adjusted-log-normal"):
        assert families.get(name) == lognormal
    assert families.get("zero-adjusted-wald").name == "zero-adjusted-inverse-gaussian"


@over_names
def test_all_zero_or_all_positive(name):
    family = families.get(name)
    for y in (torch.zeros(5), torch.tensor([1.0, 2.0, 3.0])):
        scaler = family.scaler(y)
        eta = family.rescale(family.marginal_params(scaler.transform(y)), scaler)
        assert family.log_prob(eta, y.double()).isfinite().all()
        assert family.unconstrain(family.marginal_params(scaler.transform(y))).isfinite().all()


# -- in use ------------------------------------------------------------------------------------------------------------


def payments(n: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, (n, 2))
    y = np.where(rng.random(n) < 1 / (1 + np.exp(-2 * X[:, 0])), 0.0, 1000 * rng.gamma(4, np.exp(X[:, 1]) / 4))
    return X, y


@over_names
def test_a_fit_finds_both_parts_and_its_calibration_is_right(name):
    X, y = payments(3000)
    settings = {"hidden_layer_sizes": (16,), "max_epochs": 30, "batch_size": 128, "random_state": 0}
    model = DensityRegressor(name, "erm", **settings, preset="plain").fit(X[:1500], y[:1500])
    predicted, targets = model.predict_dist(X[1500:]), torch.from_numpy(y[1500:])
    assert predicted.log_prob(targets).mean().item() == pytest.approx(model.score(X[1500:], y[1500:]))
    share = zero_mass(predicted).numpy()
    assert np.abs(share - 1 / (1 + np.exp(-2 * X[1500:, 0]))).mean() < 0.06
    assert stats.kstest(pit(predicted, targets).numpy(), "uniform").pvalue > 1e-3
    curve = coverage_curve(predicted, targets)
    assert (curve.coverage - curve.levels).abs().max() < 0.05
    # intervals that end in zero hold the zeros, so that they cover at least what they say
    assert coverage(predicted, targets, 0.8).mean().item() > 0.78
    interval = model.predict_interval(X[1500:], 0.8)
    assert np.mean(interval[:, 0] == 0) > 0.5
    assert np.isfinite(evaluate({"model": predicted}, None, y[1500:])["mean"]).all()


@over_names
def test_the_validation_curve_is_in_the_units_of_the_user(name):
    X, y = payments(200)
    model = DensityRegressor(name, "erm", **FAST, n_members=2, preset="plain").fit(
        X[:150], y[:150], X_val=X[150:], y_val=y[150:]
    )
    best = model.validation_curve_.min(0)
    for member in range(2):
        eta = model.predict_natural_params(X[150:])[member]
        got = -model.family_.log_prob(eta, torch.from_numpy(y[150:])).mean().item()
        assert best[member] == pytest.approx(got, rel=1e-5)


@over_names
@pytest.mark.parametrize("mixup", ["mixup", "probmix", "m-probmix", "local-probmix"])
@pytest.mark.parametrize("loss", ["nll", "crps"])
def test_every_kind_of_mixup(name, mixup, loss, tmp_path):
    X, y = payments(80)
    model = DensityRegressor(name, mixup, loss=loss, n_draws=4, **FAST, preset="plain").fit(
        X, np.column_stack([y, y[::-1]])
    )
    assert np.isfinite(model.validation_curve_).all()
    assert model.predict_interval(X[:3]).shape == (3, 2, 2)
    assert crps(model.predict_dist(X), torch.from_numpy(np.column_stack([y, y[::-1]]))).isfinite().all()
    model.save(tmp_path / "model")
    loaded = probmix.load(tmp_path / "model")
    assert loaded.family_ == model.family_
    np.testing.assert_array_equal(loaded.predict(X[:5]), model.predict(X[:5]))


def test_calibrated_labels_and_pools_of_members():
    X, y = payments(80)
    mixup = probmix.mixup.preset("probmix", label_pool="calibrated")
    model = DensityRegressor("zaga", mixup, n_members=2, pool="log-linear", **FAST, preset="plain").fit(X, y)
    assert isinstance(model.predict_dist(X), ZeroAdjusted)
    assert np.isfinite(model.score(X, y))


def test_recalibrated_distributions_have_a_total_mass_of_one():
    u = np.random.default_rng(0).beta(2, 3, 500)
    map_ = fit_pit_map(u)
    for share, base, _ in (GAMMA, LOGNORMAL):
        wrapped = Recalibrated(adjusted(share, base).expand((1,)), map_)
        x = torch.linspace(-90, 60, 400_001, dtype=torch.float64).exp()
        above = torch.trapezoid(wrapped.log_prob(x.unsqueeze(-1)).exp().squeeze(-1) * x, x.log())
        zero = wrapped.log_prob(wide(0.0).reshape(1)).exp()
        assert zero.item() == pytest.approx(wrapped.cdf(wide(0.0).reshape(1)).item())
        assert zero_mass(wrapped).item() == pytest.approx(zero.item())
        assert (zero + above).item() == pytest.approx(1, abs=1e-5)
        q = wide(0.5 * zero.item(), 0.9 * zero.item() + 0.1, 0.1 * zero.item() + 0.9)
        y = wrapped.icdf(q.unsqueeze(-1)).squeeze(-1)
        assert y[0] == 0
        np.testing.assert_allclose(wrapped.cdf(y[1:].unsqueeze(-1)).squeeze(-1), q[1:], rtol=1e-9)
        mean = torch.trapezoid(wrapped.log_prob(x.unsqueeze(-1)).exp().squeeze(-1) * x * x, x.log())
        assert wrapped.mean.item() == pytest.approx(mean.item(), rel=1e-3)


def test_recalibration_and_conformal_intervals_see_the_zeros():
    X, y = payments(2000)
    base = DensityRegressor(
        "zaga", "erm", hidden_layer_sizes=(8,), max_epochs=8, batch_size=128, random_state=0, preset="plain"
    )
    recalibrated = RecalibratedRegressor(base, cv=0.3, random_state=0).fit(X[:1000], y[:1000])
    u = pit(recalibrated.predict_dist(X[1000:]), torch.from_numpy(y[1000:]))
    assert stats.kstest(u.numpy(), "uniform").pvalue > 1e-3
    conformal = ConformalRegressor(base, cv=0.3, random_state=0).fit(X[:1000], y[:1000])
    interval = conformal.predict_interval(X[1000:], 0.8)
    assert np.mean((interval[:, 0] <= y[1000:]) & (y[1000:] <= interval[:, 1])) > 0.77
    assert (interval[:, 0] >= 0).all()


def test_normal_scores_far_out_keep_the_tail_of_the_base():
    zeros = ZeroAdjusted(LogNormal(wide(0.5).reshape(1), wide(1.5)), gate_logits=torch.logit(wide(0.3)))
    z = np.array([-3.0, -0.4, 0.0, 2.0, 8.5, 20.0, 35.0])
    y = torch.from_numpy(np.exp(0.5 + 1.5 * z)).reshape(-1, 1)
    lower, upper = 0.3 + 0.7 * stats.norm.cdf(z), 0.7 * stats.norm.sf(z)
    score = np.where(lower < 0.5, stats.norm.ppf(lower), stats.norm.isf(upper))
    np.testing.assert_allclose(normal_score(zeros, y).squeeze(-1), score, rtol=1e-12)
    np.testing.assert_allclose(from_normal_score(zeros, normal_score(zeros, y)), y, rtol=1e-10)
    ends = from_normal_score(zeros, wide(-np.inf, -8.0, stats.norm.ppf(0.3) - 1e-9, np.inf).reshape(-1, 1))
    assert ends.squeeze(-1).tolist() == [0.0, 0.0, 0.0, np.inf]
    assert normal_score(zeros, wide(-1.0).reshape(1)).item() == -np.inf


@over_names
def test_recalibrated_moments_are_finite(name):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2))
    y = np.array([rng.gamma(2, 1, k).sum() for k in rng.poisson(np.exp(0.5 * X[:, 0]))])
    base = DensityRegressor(name, "erm", max_epochs=3, hidden_layer_sizes=(8,), random_state=0, preset="plain")
    model = RecalibratedRegressor(base, cv=0.3, random_state=0).fit(X, y)
    distribution = model.predict_dist(X)
    assert distribution.mean.isfinite().all()
    assert distribution.variance.isfinite().all()
    assert crps(distribution, torch.from_numpy(y)).isfinite().all()
    # the mean of the quantiles at evenly spaced levels
    levels = ((torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000).reshape(-1, 1)
    row = model.predict_dist(X[:5]).icdf(levels)
    np.testing.assert_allclose(distribution.mean[:5], row.mean(0), rtol=5e-3)
