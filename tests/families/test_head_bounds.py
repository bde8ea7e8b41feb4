"""What a head may say of a row, however far out it is: bounds from the training targets, smooth and idle inside."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch.autograd import forward_ad
from torch.func import jacfwd, jacrev

from probmix import DensityRegressor, families
from probmix.families.bounds import rounding
from probmix.families.links import soft_bound
from probmix.training import loop

N = 60
rng = np.random.default_rng(0)
POSITIVE = np.exp(0.4 * rng.normal(size=N))
COUNTS = rng.poisson(3.0, N).astype(float)
TARGETS = {
    "gaussian": rng.normal(size=N),
    "student-t": rng.normal(size=N),
    "lognormal": POSITIVE,
    "gamma": POSITIVE,
    "exponential": POSITIVE,
    "inverse-gaussian": POSITIVE,
    "zero-adjusted-gamma": POSITIVE * (COUNTS > 1),
    "zero-adjusted-lognormal": POSITIVE * (COUNTS > 1),
    "tweedie": POSITIVE * (COUNTS > 1),
    "poisson": COUNTS,
    "fixed-negative-binomial": COUNTS,
    "negative-binomial": COUNTS,
    "zero-inflated-poisson": COUNTS,
    "hurdle-negative-binomial": COUNTS,
    "beta": 1 / (1 + POSITIVE),
}


# log y from -6 to 6 or so, and most of them near the upper end: the density of all of them is no log-normal
WIDE = np.exp(np.concatenate([np.linspace(-6, 6, N // 2), np.linspace(5, 6, N // 2)]))
MIXTURES = {"lognormal-mixture": WIDE, "zero-adjusted-lognormal-mixture": WIDE * (COUNTS > 1)}


def bounds_of(name, y, **options):
    """The family, and the bounds of its head in training units."""
    family, y = families.get(name, **options), torch.from_numpy(y)
    scaler = family.scaler(y)
    return family, scaler, *family.raw_bounds(scaler.transform(y))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_bound_is_the_identity_inside_smooth_and_ends_half_a_unit_outside(dtype):
    low, high = torch.tensor(-1.0, dtype=dtype), torch.tensor(2.0, dtype=dtype)
    inside = torch.linspace(-1, 2, 1001, dtype=dtype)
    assert torch.equal(soft_bound(inside, low, high), inside)
    ends = soft_bound(torch.tensor([-3e38, -1e10, 1e10, 3e38], dtype=dtype), low, high)
    torch.testing.assert_close(ends, torch.tensor([-1.5, -1.5, 2.5, 2.5], dtype=dtype))
    free = torch.tensor([-3e38, 0.3, 3e38], dtype=dtype)
    infinite = torch.tensor(torch.inf, dtype=dtype)
    assert torch.equal(soft_bound(free, -infinite, infinite), free)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated:DeprecationWarning")
def test_the_bound_has_continuous_derivatives():
    raw = torch.tensor([2.0 - 1e-9, 2.0 + 1e-9, 2.3, -1.0 + 1e-9, -1.0 - 1e-9, 1e30], dtype=torch.float64)
    raw.requires_grad_()
    low, high = torch.tensor(-1.0).double(), torch.tensor(2.0).double()
    (slope,) = torch.autograd.grad(soft_bound(raw, low, high).sum(), raw)
    torch.testing.assert_close(slope[[0, 1, 3, 4]], torch.ones(4).double(), rtol=1e-6, atol=0)
    assert slope[2].item() == pytest.approx((1 + 0.6**2) ** -1.5)
    assert bool(slope.isfinite().all())
    inside = torch.linspace(-2, 3, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: soft_bound(x, low, high), inside)
    assert torch.autograd.gradgradcheck(lambda x: soft_bound(x, low, high), inside)
    each = torch.func.vmap(torch.func.grad(lambda x: soft_bound(x, low, high)))(inside.detach())
    (slope,) = torch.autograd.grad(soft_bound(inside, low, high).sum(), inside)
    assert torch.equal(each, slope)
    with forward_ad.dual_level():
        ahead = soft_bound(forward_ad.make_dual(inside.detach(), torch.ones_like(inside)), low, high)
        torch.testing.assert_close(forward_ad.unpack_dual(ahead).tangent, slope, rtol=1e-14, atol=0)


TWICE = list(itertools.product((jacfwd, jacrev), repeat=2))


def derivative(function, order):
    for take in reversed(order):
        function = take(function)
    return function


@pytest.mark.parametrize(
    "order", [*TWICE, (jacfwd, jacfwd, jacrev)], ids=lambda order: " of ".join(each.__name__ for each in order)
)
def test_derivatives_of_the_bound_in_every_order(order):
    low, high = torch.tensor(-1.0).double(), torch.tensor(2.0).double()
    raw = torch.tensor([-1.7, 0.3, 2.6], dtype=torch.float64)
    found = derivative(lambda x: (x * soft_bound(x, low, high)).sum(), order)(raw)

    def by_hand(x):
        t = 2 * (x - x.clamp(low, high))
        return (x * (x.clamp(low, high) + 0.5 * t / (1 + t.square()).sqrt())).sum()

    torch.testing.assert_close(found, derivative(by_hand, (jacrev,) * len(order))(raw))


@pytest.mark.parametrize("name", TARGETS)
def test_extreme_outputs_stay_in_proportion_to_the_targets(name):
    """No mean above ten times the largest target, nor, of positive ones, far below the smallest."""
    y = TARGETS[name]
    family, scaler, low, high = bounds_of(name, y)
    signs = torch.cartesian_prod(*[torch.tensor([-1e30, 1e30], dtype=torch.float64)] * family.num_raw)
    eta = family.constrain(soft_bound(signs.view(-1, family.num_raw), low, high))
    mean = family.distribution(family.rescale(eta, scaler)).mean
    assert bool(mean.isfinite().all())
    assert mean.max() <= 10 * y.max()
    if name in ("gaussian", "student-t"):
        assert mean.min() >= y.min() - np.ptp(y)
    elif name in ("gamma", "exponential", "inverse-gaussian", "poisson", "fixed-negative-binomial", "beta"):
        assert mean.min() >= min(y[y > 0].min(), 1e-3) / 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", MIXTURES)
def test_no_log_normal_component_is_too_wide_for_a_mean_and_a_variance(name, dtype):
    """Each by itself would be: the widest of the highest median has a mean above e^20 times the largest target."""
    y = MIXTURES[name]
    family, scaler, low, high = bounds_of(name, y)
    assert high[0, -1].item() > 4
    raw = torch.from_numpy(np.random.default_rng(0).normal(size=(4000, family.num_raw))).to(dtype)
    raw = torch.cat([3 * raw, 1e3 * raw, 1e30 * raw])
    low, high = low.to(dtype), high.to(dtype)
    raw = family.narrowed(soft_bound(raw, low, high), high)
    predicted = family.distribution(family.rescale(family.constrain(raw), scaler))
    assert bool(predicted.variance.isfinite().all())
    # it ends at e times the largest target, and four times where the median does so too
    assert (predicted.variance + predicted.mean.square()).sqrt().max().item() < 4 * y.max()


def test_a_component_is_narrowed_where_its_root_mean_square_says_so():
    family, _, _, high = bounds_of("lognormal", WIDE)
    top = math.log(WIDE.max()) - np.log(WIDE).mean() + 1
    median, raw_sd = torch.meshgrid(
        torch.linspace(-8, top, 60).double(), torch.linspace(-4, 6, 80).double(), indexing="ij"
    )
    raw = torch.stack([median, raw_sd], -1)
    before = family.distribution(family.constrain(raw))
    after = family.distribution(family.constrain(family.as_component(raw, high)))
    torch.testing.assert_close(after.loc, before.loc)
    assert bool((after.scale <= before.scale + 1e-12).all())
    room = torch.nn.functional.softplus(top - before.loc, beta=2.0)
    assert bool((after.scale.square() < room).all())
    # it begins half a unit of the output below its end
    inside = before.scale + 0.7 < room.sqrt()
    torch.testing.assert_close(after.scale[inside], before.scale[inside])
    assert 0.3 < inside.double().mean().item() < 0.7
    free = torch.full_like(high, torch.inf)
    assert torch.equal(family.as_component(raw, free), raw)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated:DeprecationWarning")
@pytest.mark.parametrize("name", MIXTURES)
def test_narrowing_has_its_derivatives(name):
    family, _, low, high = bounds_of(name, MIXTURES[name])
    raw = torch.from_numpy(np.random.default_rng(0).normal(size=(6, family.num_raw))).mul(3).requires_grad_()
    assert not torch.allclose(family.narrowed(raw, high), raw)
    assert torch.autograd.gradcheck(lambda x: family.narrowed(x, high), raw)
    assert torch.autograd.gradgradcheck(lambda x: family.narrowed(x, high), raw)
    (slope,) = torch.autograd.grad(family.narrowed(raw, high).sum(), raw)
    each = torch.func.vmap(torch.func.grad(lambda x: family.narrowed(x, high[0]).sum()))(raw.detach())
    torch.testing.assert_close(each, slope)
    jacobian = torch.func.jacrev(lambda x: family.narrowed(x, high[0]))(raw.detach()[0])
    with forward_ad.dual_level():
        ahead = family.narrowed(forward_ad.make_dual(raw.detach(), torch.ones_like(raw)), high)
        torch.testing.assert_close(forward_ad.unpack_dual(ahead).tangent[0], jacobian.sum(-1))
    squares = [
        derivative(lambda x: family.narrowed(x, high[0]).square().sum(), order)(raw.detach()[0]) for order in TWICE
    ]
    for other in squares[:3]:
        torch.testing.assert_close(other, squares[3])
    far = (1e30 * raw.detach()).float().requires_grad_()
    low, high = low.float(), high.float()
    (slope,) = torch.autograd.grad(family.narrowed(soft_bound(far, low, high), high).sum(), far)
    assert bool(slope.isfinite().all())


@pytest.mark.parametrize("name", MIXTURES)
def test_the_start_of_heavy_tails_is_what_a_head_can_say(name):
    """With deviations of log y of 6 the highest part of the targets alone has a longer tail than components have."""
    y = np.exp(6 * np.random.default_rng(0).normal(size=N)) * (MIXTURES[name] > 0)
    family, scaler, low, high = bounds_of(name, y)
    scaled = scaler.transform(torch.from_numpy(y))
    marginal = family.marginal_params(scaled)
    predicted = family.distribution(family.rescale(marginal, scaler))
    assert (predicted.variance + predicted.mean.square()).sqrt().item() < 4 * y.max()
    # all but: what fades out does so once more
    start = family.constrain(family.narrowed(soft_bound(family.unconstrain(marginal), low, high), high))
    nll = [-family._log_prob(eta.expand(N, -1), scaled).mean().item() for eta in (start, marginal)]
    assert nll[0] == pytest.approx(nll[1], abs=0.03)
    # one component is the base family, as wide as the targets say
    one = families.get(name, n_components=1)
    torch.testing.assert_close(
        one.split(one.marginal_params(scaled))[1].squeeze(-2), family.base.marginal_params(scaled)
    )


def test_single_densities_and_other_families_are_not_narrowed():
    """The targets have a say in how wide a density by itself is, and may show that it is wider."""
    for name, y in TARGETS.items():
        family, _, low, high = bounds_of(name, y)
        assert family.narrowed(low, high) is low
        if "lognormal" not in name:
            assert family.as_component(low, high) is low


@pytest.mark.parametrize("name", TARGETS)
def test_what_the_targets_say_themselves_is_inside(name):
    y = TARGETS[name]
    family, scaler, low, high = bounds_of(name, y)
    raw = family.unconstrain(family.marginal_params(scaler.transform(torch.from_numpy(y))))
    assert torch.equal(soft_bound(raw, low, high), raw)


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("spread", [1e-9, 8.0, 40.0])
def test_bounds_of_extreme_targets_are_numbers(name, spread):
    y = {"beta": 1 / (1 + np.exp(np.linspace(-15, 15, N)))}.get(name, np.exp(spread * np.linspace(-1, 1, N)))
    if families.get(name).is_discrete:
        y = np.floor(y.clip(max=1e12))
    family, _, low, high = bounds_of(name, y)
    assert not bool((low.isnan() | high.isnan()).any())
    assert bool((low < high).all())
    assert bool(family.constrain(soft_bound(torch.zeros(1, family.num_raw).double(), low, high)).isfinite().all())


@pytest.mark.parametrize("name", TARGETS)
def test_bounds_follow_members_and_weights(name):
    """Rows of two members side by side; a row of weight two is the row twice."""
    family = families.get(name)
    y = torch.from_numpy(np.stack([TARGETS[name], TARGETS[name][::-1]]))
    y[1, :10] = y[1, 10]
    weights = torch.ones(2, N).double()
    weights[:, 20] = 2.0
    both = family.raw_bounds(y, weights, 1)
    for m in range(2):
        alone = family.raw_bounds(torch.cat([y[m], y[m, 20:21]]))
        for end, expected in zip(both, alone, strict=True):
            assert end.shape == (2, 1, family.num_raw)
            torch.testing.assert_close(end[m], expected)


def test_the_bounds_of_several_targets_are_those_of_each():
    y = torch.from_numpy(np.stack([TARGETS["gaussian"], 2 * TARGETS["gaussian"] + 1], 1))
    single = families.get("gaussian").raw_bounds(y)
    joint = families.get("multivariate-gaussian", num_targets=2).raw_bounds(y)
    for one, other in zip(single, joint, strict=True):
        torch.testing.assert_close(other[0, :4], one[0].T.flatten())
        assert bool(other[0, 4:].isinf().all())


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        ([3.0, 1.0, 2.0, 5.0, 1.0], 1.0),
        ([0.25, 0.5, 1.75, 1.75], 0.25),
        ([10.0, 20.0, 40.0], 10.0),
        ([0.0, 1.0, 1.0], None),  # two values only
        ([1.0, 1.0, 1.0], None),
        ([1.0], None),
        ([0.0, 1.0, 2.5, 2.7], None),  # gaps 1, 1.5, 0.2 are no multiples
        ([0.1, 0.30000001, 0.8], None),
    ],
)
def test_the_step_of_a_lattice(y, expected):
    for unit in (1.0, 1e-9, 123.456):
        found = rounding(torch.tensor(y, dtype=torch.float64) * unit + 7 * unit, 0).item()
        assert found == pytest.approx(0 if expected is None else expected * unit / math.sqrt(12), rel=1e-6)


def test_real_numbers_are_on_no_lattice():
    assert rounding(torch.from_numpy(np.random.default_rng(0).normal(size=500)), 0).item() == 0


@pytest.mark.parametrize("name", ["gaussian", "lognormal", "gamma"])
def test_no_scale_is_below_the_rounding_error(name):
    y = np.random.default_rng(0).integers(5, 9, 300).astype(float)
    family, scaler, low, high = bounds_of(name, y)
    raw = torch.full((1, 2), -1e30, dtype=torch.float64)
    raw[:, 0] = high[:, 0]
    predicted = family.distribution(family.rescale(family.constrain(soft_bound(raw, low, high)), scaler))
    least = 1 / math.sqrt(12)
    assert least <= predicted.stddev.item() * {"gaussian": 1.0}.get(name, 8 / predicted.mean.item()) * 1.01
    assert predicted.stddev.item() < 4 * least


def test_a_fit_whose_rows_lie_within_is_the_fit_without_bounds(monkeypatch):
    X = rng.normal(size=(80, 2))
    y = X[:, 0] + 0.3 * rng.normal(size=80)
    monkeypatch.setattr(loop, "raise_floors_", lambda *_: None)
    bounded = DensityRegressor(max_epochs=10, random_state=0, preset="plain").fit(X, y)
    monkeypatch.setattr(families.Gaussian, "raw_bounds", families.Family.raw_bounds)
    free = DensityRegressor(max_epochs=10, random_state=0, preset="plain").fit(X, y)
    assert bool(bounded.network_.raw_low.isfinite().all())
    assert bool(free.network_.raw_low.isinf().all())
    np.testing.assert_array_equal(bounded.predict(X), free.predict(X))


@pytest.mark.parametrize("mixup", ["erm", "m-probmix"])
@pytest.mark.parametrize("own", [False, True])
def test_heads_of_fitted_networks_are_bounded(mixup, own):
    """Whatever the last layer says: for members, draws of an embedding, and own networks."""
    network = (lambda shape: torch.nn.Linear(*shape, 4)) if own else None
    X, y = rng.normal(size=(60, 2)), POSITIVE
    model = DensityRegressor(
        "lognormal", mixup=mixup, network=network, n_members=2, max_epochs=2, random_state=0, preset="plain"
    )
    model.fit(X, y)
    last = model.network_.state["head/linear/weight"] if own else model.network_.trunk.output.weight
    last.data *= 1e9
    mean = model.predict_dist(X).mean.numpy()
    assert np.isfinite(mean).all()
    assert mean.max() < 10 * y.max()


def test_constant_targets_are_predicted_in_their_own_unit():
    X = rng.normal(size=(80, 2))
    for value in (1e-6, -1e-6, 1e9):
        predicted = (
            DensityRegressor(mixup="erm", max_epochs=20, random_state=0, preset="plain")
            .fit(X, np.full(80, value))
            .predict_dist(X)
        )
        np.testing.assert_allclose(predicted.mean, value, rtol=0.1)
        assert predicted.stddev.max() < 0.1 * abs(value)


@pytest.mark.parametrize("own", [False, True])
def test_components_of_fitted_networks_are_narrowed(own):
    """Whatever the last layer says, of members and own networks, with several targets too."""
    network = (lambda shape: torch.nn.Linear(*shape, 30)) if own else None
    X, y = rng.normal(size=(N, 2)), np.stack([WIDE, 1e6 * WIDE[::-1]], 1)
    model = DensityRegressor(
        "lognormal-mixture", network=network, n_members=2, max_epochs=2, random_state=0, preset="plain"
    )
    model.fit(X, y)
    last = model.network_.state["head/linear/weight"] if own else model.network_.trunk.output.weight
    last.data *= 1e9
    predicted = model.predict_dist(X)
    assert bool(((predicted.variance + predicted.mean.square()).sqrt().amax(0) < 4 * torch.tensor(y.max(0))).all())
