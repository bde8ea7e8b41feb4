"""Tweedie variables: the series and the contour integral in fifty digits, the family, exposures, and what uses them."""

import itertools
import math

import mpmath
import numpy as np
import pytest
import torch
from scipy import integrate, special, stats

import probmix
from probmix import DensityRegressor, families, linear_pool
from probmix._tweedie import tweedie_cdf, tweedie_log_prob
from probmix.distributions import Tweedie, cdf, cdf_below, has_atoms, icdf
from probmix.distributions.point_masses import mass_at
from probmix.scores import coverage_curve, crps, crps_with_bound, nll, pit, threshold_weighted_crps
from probmix.testing import check_family

POWERS = (1.01, 1.2, 1.5, 1.8, 1.99)
FAST = {"hidden_layer_sizes": (8,), "max_epochs": 4, "random_state": 0}


def wide(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64).squeeze()


def compound(power: float, dispersion: float) -> tuple[mpmath.mpf, mpmath.mpf, mpmath.mpf]:
    """Rate, shape and scale at mean one."""
    p, phi = mpmath.mpf(power), mpmath.mpf(dispersion)
    return 1 / (phi * (2 - p)), (2 - p) / (p - 1), phi * (p - 1)


def jumps(rate: mpmath.mpf, ratio: float, power: float, low: bool) -> range:
    """All numbers of jumps that count for y = `ratio`; for the distribution function those up to the mean as well."""
    likely = rate * mpmath.mpf(ratio) ** (2 - mpmath.mpf(power))
    first, last = (min(likely, rate) if low else likely), (max(likely, rate) if low else likely)
    margin = 30 * mpmath.sqrt(last + 1) + 50
    return range(max(1, int(first - margin)), int(last + margin))


def exact_log_prob(power: float, dispersion: float, ratio: float) -> float:
    rate, shape, scale = compound(power, dispersion)
    y = mpmath.mpf(ratio)
    constant = mpmath.log(rate) + shape * mpmath.log(y / scale)
    terms = [
        mpmath.exp(n * constant - rate - mpmath.loggamma(n + 1) - mpmath.loggamma(n * shape))
        for n in jumps(rate, ratio, power, low=False)
    ]
    return float(mpmath.log(sum(terms)) - y / scale - mpmath.log(y))


def exact_cdf(power: float, dispersion: float, ratio: float) -> float:
    rate, shape, scale = compound(power, dispersion)
    x = mpmath.mpf(ratio) / scale
    below = mpmath.exp(-rate)
    for n in jumps(rate, ratio, power, low=True):
        probability = mpmath.exp(n * mpmath.log(rate) - rate - mpmath.loggamma(n + 1))
        below += probability * mpmath.gammainc(n * shape, 0, x, regularized=True)
    return float(below)


# -- the functions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("power", POWERS)
def test_the_series_in_fifty_digits(power):
    # from one jump in a thousand years to a thousand at once
    for dispersion, ratios in (
        (1e-2, (0.2, 0.9, 1.0, 3.0)),
        (1.0, (1e-10, 1e-3, 0.3, 1.0, 20.0)),
        (1e3, (1e-10, 1e-3, 1.0, 1e4)),
    ):
        with mpmath.workdps(50):
            exact = [exact_log_prob(power, dispersion, ratio) for ratio in ratios]
        value = tweedie_log_prob(wide(*ratios), wide(0.0), wide(math.log(dispersion)), power)
        np.testing.assert_allclose(value, exact, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("power", POWERS)
def test_the_distribution_function_in_fifty_digits(power):
    for dispersion, ratios in ((0.2, (0.3, 1.3)), (1.0, (1e-6, 0.4, 1.0001, 4.0)), (1e3, (1e-10, 1.0, 300.0))):
        with mpmath.workdps(50):
            exact = [exact_cdf(power, dispersion, ratio) for ratio in ratios]
        value = tweedie_cdf(wide(*ratios), wide(0.0), wide(math.log(dispersion)), power)
        np.testing.assert_allclose(value, exact, rtol=2e-12)


@pytest.mark.parametrize("power", [1.2, 1.5, 1.8])
@pytest.mark.parametrize("dispersion", [1e-3, 1e-6, 1e-12])
def test_many_jumps_are_an_integral(power, dispersion):
    """A hundred thousand jumps and more: total mass, mean, variance, and the distribution function by quadrature."""
    sd = math.sqrt(dispersion)
    u = torch.linspace(-12, 12, 1201, dtype=torch.float64) * sd
    density = tweedie_log_prob(u.exp(), wide(0.0), wide(math.log(dispersion)), power).exp() * u.exp()
    # relative to one, the argument itself is known to the digits of its exponential
    digits = max(1e-12, 2e-16 / sd)
    for moment, exact in ((0, 1.0), (1, 0.0), (2, 1.0)):
        total = torch.trapezoid(density * (u.expm1() / sd) ** moment, u)
        assert total.item() == pytest.approx(exact, abs=2 * digits)
    for place in (300, 600, 660):
        below = torch.trapezoid(density[: place + 1], u[: place + 1]) - 0.0
        step = (density[1:] - density[:-1])[[0, place - 1]]
        # the trapezoidal rule up to the middle of a density is corrected by its slope there
        below = below - (u[1] - u[0]) * (step[1] - step[0]) / 12
        value = tweedie_cdf(u[place].exp(), wide(0.0), wide(math.log(dispersion)), power)
        assert value.item() == pytest.approx(below.item(), rel=2e-5 if place == 300 else 2e-6)


def test_the_tail_of_the_distribution_function_against_gammas():
    """With one jump at most it is a Gamma distribution with a zero."""
    rate, power = 1e-9, 1.4
    shape = (2 - power) / (power - 1)
    log_dispersion = -math.log(rate * (2 - power))
    scale = (power - 1) / (rate * (2 - power))
    y = np.array([1e-30, 1e-3, 0.5, 1.0, 3.0, 20.0]) * scale
    value = tweedie_cdf(wide(*y), wide(0.0), wide(log_dispersion), power)
    np.testing.assert_allclose(1 - value, rate * special.gammaincc(shape, y / scale), atol=3e-14)
    log_prob = tweedie_log_prob(wide(*y), wide(0.0), wide(log_dispersion), power)
    np.testing.assert_allclose(log_prob, math.log(rate) + stats.gamma.logpdf(y, shape, scale=scale), rtol=1e-8)


@pytest.mark.parametrize("power", [1.1, 1.5, 1.8])
def test_derivatives(power):
    y = wide(1e-3, 0.02, 0.5, 2.0, 30.0).requires_grad_()
    log_mean, log_dispersion = (
        wide(0.1, -0.3, 0.5, 2.0, 1.0).requires_grad_(),
        wide(0.2, 1.0, -1.0, 0.5, -2.0).requires_grad_(),
    )
    zeros = torch.zeros(5, dtype=torch.float64)
    for function in (tweedie_log_prob, tweedie_cdf):
        for value in (y, zeros):
            assert torch.autograd.gradcheck(lambda *p, f=function: f(*p, power), (value, log_mean, log_dispersion))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_far_out_everything_is_finite_with_finite_gradients(dtype):
    grid = torch.cartesian_prod(
        torch.tensor([-29.0, 0.0, 29.0]), torch.tensor([-13.0, 0.0, 13.0]), torch.tensor([0.0, 1e-10, 1.0, 1e10])
    ).to(dtype)  # fmt: skip
    mean, dispersion = grid[:, 0].exp().requires_grad_(), grid[:, 1].exp().requires_grad_()
    y = (grid[:, 2] * mean).detach()
    for power in (1.05, 1.5, 1.95):
        distribution = Tweedie(mean, dispersion, power)
        # at 1e10 times the mean and a dispersion of 1e-6 the logarithm is of the order of -1e15
        for value in (nll(distribution, y), distribution.cdf(y)):
            assert value.dtype == dtype
            assert value.isfinite().all()
            for gradient in torch.autograd.grad(value.sum(), (mean, dispersion)):
                assert gradient.isfinite().all()


# -- the distribution --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("power", [1.2, 1.5, 1.8])
def test_quantiles_undo_the_cdf(power):
    distribution = Tweedie(wide(2.0), wide(3.0), power)
    zero = distribution.cdf(wide(0.0)).item()
    assert mass_at(distribution, wide(0.0)).item() == pytest.approx(zero)
    assert has_atoms(distribution)
    assert cdf_below(distribution, wide(0.0)) == 0
    q = wide(0.3 * zero, zero - 1e-9, zero + 1e-6, 0.9 * zero + 0.1, 0.5 * zero + 0.5, 0.999999)
    y = distribution.icdf(q)
    assert (y[:2] == 0).all()
    assert (y[2:] > 0).all()
    np.testing.assert_allclose(distribution.cdf(y[2:]), q[2:], rtol=1e-11)
    assert distribution.icdf(wide(0.0, 1.0)).tolist() == [0, math.inf]
    assert bool(distribution.icdf(wide(-0.1, 1.1)).isnan().all())
    loc, dispersion, level = (
        wide(2.0, 1.0).requires_grad_(),
        wide(3.0, 0.1).requires_grad_(),
        wide(0.9, 0.5).requires_grad_(),
    )
    assert torch.autograd.gradcheck(lambda a, b, q: Tweedie(a, b, power).icdf(q), (loc, dispersion, level))


@pytest.mark.parametrize("power", [1.2, 1.5, 1.8])
def test_moments_and_draws(power):
    distribution = Tweedie(wide(2.0), wide(1.5), power).expand((2,))
    assert isinstance(distribution, Tweedie)
    assert distribution.power == power
    assert distribution.variance.tolist() == pytest.approx([1.5 * 2**power] * 2)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        draws = distribution.sample((20_000,))
    assert draws.mean().item() == pytest.approx(2.0, abs=4 * math.sqrt(1.5 * 2**power / 40_000))
    assert draws.var().item() == pytest.approx(1.5 * 2**power, rel=0.06)
    # the same as a Poisson number of Gamma variables, drawn by NumPy
    rate, shape, scale = (
        2 ** (2 - power) / (1.5 * (2 - power)),
        (2 - power) / (power - 1),
        1.5 * (power - 1) * 2 ** (power - 1),
    )
    rng = np.random.default_rng(0)
    number = rng.poisson(rate, 40_000)
    sums = np.where(number > 0, rng.gamma(np.maximum(number, 1) * shape, scale), 0.0)
    assert stats.ks_2samp(draws.numpy().reshape(-1), sums).pvalue > 0.01
    assert stats.kstest(pit(distribution.expand((20_000, 2)), draws).numpy().reshape(-1), "uniform").pvalue > 0.01


def test_crps_against_quadrature():
    distribution = Tweedie(wide(2.0), wide(3.0), 1.6).expand((1,))

    def square(x, y):
        return (float(distribution.cdf(wide(x))) - (x >= y)) ** 2

    for y in (0.0, 1.3):
        edges = (0.0, 1e-3, 0.3, 1.3, 5.0, 12.0, 40.0, 200.0)
        want = sum(integrate.quad(square, *ends, args=(y,), epsabs=1e-11)[0] for ends in itertools.pairwise(edges))
        value, bound = crps_with_bound(distribution, wide(y).reshape(1))
        assert value.item() == pytest.approx(want, rel=1e-7)
        assert 0 < bound.item() < 1e-7 * value.item()
        windows = (-1.0, 0.5), (0.5, math.inf)
        parts = [threshold_weighted_crps(distribution, wide(y).reshape(1), *ends) for ends in windows]
        torch.testing.assert_close(sum(parts), value, rtol=1e-9, atol=0)
    below, zero = (crps(distribution, wide(y).reshape(1)).item() for y in (-1.5, 0.0))
    assert below == pytest.approx(1.5 + zero)


def test_mixtures_have_exact_zeros():
    components = Tweedie(wide(0.5, 2.0, 9.0), wide(2.0, 1.0, 0.3), 1.5)
    weights = wide(0.2, 0.5, 0.3)
    mixture = linear_pool(components, weights)
    zero = (weights * components.cdf(wide(0.0))).sum().item()
    assert mass_at(mixture, wide(0.0)).item() == pytest.approx(zero)
    assert icdf(mixture, wide(zero - 1e-9)) == 0
    y = icdf(mixture, wide(zero + 0.01, 0.7))
    np.testing.assert_allclose(cdf(mixture, y), [zero + 0.01, 0.7], rtol=1e-9)
    want = -math.log((weights * components.log_prob(wide(3.0)).exp()).sum().item())
    assert nll(mixture, wide(3.0)).item() == pytest.approx(want)

    def square(x):
        return (float(cdf(mixture, wide(x))) - (x >= 3)) ** 2

    edges = (0.0, 1e-2, 0.5, 3.0, 9.0, 30.0, 100.0)
    want = sum(integrate.quad(square, *ends, epsabs=1e-10)[0] for ends in itertools.pairwise(edges))
    assert crps(mixture, wide(3.0)).item() == pytest.approx(want, rel=1e-7)


# -- the family --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("power", [1.5])
def test_contracts(power):
    check_family(families.Tweedie(power))


def test_an_exposure_adds_up_units():
    """The characteristic function of three units is the third power of that of one; so is the probability of a zero."""
    family = families.Tweedie(1.7)
    eta = wide(0.4, -0.3)
    one, three = family.distribution(eta), family.distribution(family.expose(eta, wide(math.log(3.0))))
    assert three.mean.item() == pytest.approx(3 * one.mean.item())
    assert three.variance.item() == pytest.approx(3 * one.variance.item())
    assert three.cdf(wide(0.0)).item() == pytest.approx(one.cdf(wide(0.0)).item() ** 3)
    # the exact convolution: sums on a fine grid, by the fast Fourier transform
    step, places = 2e-3, 2**16
    edges = torch.arange(places + 1, dtype=torch.float64) * step
    mass = one.cdf(edges).diff().numpy()
    mass[0] += one.cdf(wide(0.0)).item()
    total = np.fft.irfft(np.fft.rfft(np.append(mass, np.zeros(2 * places))) ** 3, 3 * places)
    y = np.array([500, 2000, 6000])
    # each of the three sums lies half a step further up on average
    np.testing.assert_allclose(np.cumsum(total)[y], three.cdf(wide(*((y + 2.0) * step))), atol=2e-3)


def test_the_scale_is_part_of_the_family():
    family = families.Tweedie(1.3)
    y = torch.tensor([0.0, 3.0, 40.0, 0.0, 7.0], dtype=torch.float64)
    scaler = family.scaler(y)
    assert scaler.scale.item() == 10
    eta = family.marginal_params(scaler.transform(y))
    user = family.rescale(eta, scaler)
    assert family.distribution(user).mean.item() == pytest.approx(10)
    assert family.distribution(user).variance.item() == pytest.approx(y.var(unbiased=False).item())
    assert family.scaler(torch.zeros(3)).scale == 1
    assert family.marginal_params(torch.zeros(3)).isfinite().all()
    assert family.beyond_bounds(torch.tensor([1e9, 0.0]), torch.tensor([1.0, 1e7])) == [
        "a dispersion, in units of the mean, of 1e+07, above its largest, 1e+06"
    ]


@pytest.mark.parametrize("power", [1.0, 2.0, 2.5, True, "1.5", math.nan])
def test_powers(power):
    message = (
        f"`power` must lie between 1.01 and 1.99; got {power!r}. For 1 use 'poisson', for 2 'gamma', for 3 "
        "'inverse-gaussian'."
    )
    for make in (families.Tweedie, lambda power: Tweedie(wide(1.0), wide(1.0), power)):
        with pytest.raises(ValueError, match="power") as error:
            make(power)
        assert str(error.value) == message


def test_names_and_targets():
    assert families.get("tweedie") == families.get("compound_poisson") == families.Tweedie(1.5)
    assert families.get("tweedie", power=1.7) == families.Tweedie(1.7)
    assert not families.Tweedie().pools_log_linearly
    with pytest.raises(ValueError, match=r"^Tweedie targets must be zero or positive; got -1 at row 1\. Use a "):
        families.Tweedie().check_targets(torch.tensor([0.0, -1.0]))


# -- in use ------------------------------------------------------------------------------------------------------------


def totals(n: int, exposed: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, years, and what was paid in them."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (n, 2))
    years = rng.uniform(0.2, 2.0, n) if exposed else np.ones(n)
    number = rng.poisson(years * np.exp(X[:, 0]))
    return X, years, np.where(number > 0, 500 * rng.gamma(2.0 * np.maximum(number, 1)), 0.0)


def test_a_fit_with_exposures_is_calibrated():
    X, years, y = totals(2400, exposed=True)
    settings = {"hidden_layer_sizes": (16,), "max_epochs": 25, "batch_size": 128, "random_state": 0}
    # two jumps' worth of shape is a power of 4 / 3
    model = DensityRegressor(families.Tweedie(4 / 3), "erm", **settings, preset="plain").fit(
        X[:1200], y[:1200], exposure=years[:1200]
    )
    rate = model.predict(X[1200:]) / 1000
    assert np.abs(rate / np.exp(X[1200:, 0]) - 1).mean() < 0.15
    predicted = model.predict_dist(X[1200:], exposure=years[1200:])
    np.testing.assert_allclose(model.predict(X[1200:], exposure=years[1200:]), 1000 * rate * years[1200:], rtol=1e-6)
    u = pit(predicted, torch.from_numpy(y[1200:]))
    assert stats.kstest(u.numpy(), "uniform").pvalue > 1e-3
    curve = coverage_curve(predicted, torch.from_numpy(y[1200:]))
    assert (curve.coverage - curve.levels).abs().max() < 0.05


@pytest.mark.parametrize(("mixup", "loss"), [
    ("mixup", "nll"), ("probmix", "nll"), ("m-probmix", "nll"), ("probmix", "crps"),
])  # fmt: skip
def test_every_kind_of_mixup(mixup, loss, tmp_path):
    X, _, y = totals(30)
    settings = FAST | {"max_epochs": 1}
    model = DensityRegressor(families.Tweedie(1.6), mixup, loss=loss, n_draws=3, **settings, preset="plain").fit(X, y)
    assert np.isfinite(model.validation_curve_).all()
    assert (model.predict_interval(X[:3], 0.5) >= 0).all()
    model.save(tmp_path / "model")
    loaded = probmix.load(tmp_path / "model")
    assert loaded.family_ == families.Tweedie(1.6)
    np.testing.assert_array_equal(loaded.predict(X[:5]), model.predict(X[:5]))


def test_the_validation_curve_is_in_the_units_of_the_user():
    X, _, y = totals(100)
    model = DensityRegressor("tweedie", "erm", **FAST, preset="plain").fit(X[:70], y[:70], X_val=X[70:], y_val=y[70:])
    assert model.validation_curve_.min() == pytest.approx(-model.score(X[70:], y[70:]), rel=1e-5)
