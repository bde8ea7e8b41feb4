"""Approximate mixup against brute force: Jacobian and Hessian matrices, all partners, all weights."""

from itertools import product

import numpy as np
import pytest
import torch
from torch.autograd.functional import hessian, jacobian

from probmix import families
from probmix.families import ExponentialFamily
from probmix.heads import natural_params_from
from probmix.mixup.quadratic import Centring, curvature, directional, quadratic_losses
from probmix.pairs import mix_rows

N, FEATURES = 5, 3
EXPONENTIAL = [
    families.get(name, **{"categorical": {"num_classes": 3}, "multivariate-gaussian": {"num_targets": 2}}.get(name, {}))
    for name in families.names()
]
EXPONENTIAL = [family for family in EXPONENTIAL if isinstance(family, ExponentialFamily)]
over_families = pytest.mark.parametrize("family", EXPONENTIAL, ids=lambda family: family.name)


def network(family, scale=1.0, dtype=torch.float64, bounds=None):
    torch.manual_seed(3)
    link = _Link(family, scale, bounds)
    return torch.nn.Sequential(
        torch.nn.Linear(FEATURES, 6), torch.nn.Tanh(), torch.nn.Linear(6, family.num_raw), link
    ).to(dtype)


class _Link(torch.nn.Module):
    def __init__(self, family, scale, bounds):
        super().__init__()
        self.family, self.scale, self.bounds = family, scale, bounds

    def forward(self, raw):
        return natural_params_from(self.scale * raw, self.family, None, self.bounds)


def rows(family, dtype=torch.float64, n=N):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, FEATURES, generator=generator, dtype=dtype)
    shape = (n, family.num_targets) if family.event_dim else (n,)
    y = torch.randn(shape, generator=generator, dtype=dtype)
    if family.name in ("poisson", "fixed-negative-binomial"):
        y = (3 * y.abs()).round()
    elif family.name == "categorical":
        y = torch.arange(n) % 3.0
    elif family.name == "bernoulli":
        y = (y > 0).to(dtype)
    elif family.name == "beta":
        y = y.sigmoid()
    elif family.name not in ("gaussian", "multivariate-gaussian"):
        y = y.exp()
    if family.name.startswith("zero-adjusted"):
        y[::2] = 0.0
    return x, y.to(dtype)


def uniform_law():
    """Largest weights uniform on [1/2, 1], as nodes of quadrature and their shares, and their mean and moments."""
    nodes, shares = np.polynomial.legendre.leggauss(4)
    theta = torch.from_numpy(0.75 + 0.25 * nodes)
    return torch.stack([theta, 1 - theta], -1), torch.from_numpy(shares / 2)


def two_point_law_of_three():
    weights = torch.tensor([[0.8, 0.15, 0.05], [0.4, 0.35, 0.25]], dtype=torch.float64)
    return weights, torch.tensor([0.3, 0.7], dtype=torch.float64)


LAWS = {"two rows": uniform_law(), "three rows": two_point_law_of_three()}


def over_all_draws(family, module, x, y, law, pool="linear", averages=True, exposure=None, row_weight=None):
    """Mean over all partners and weights, (N,), of the loss of each row."""
    weights, shares = law
    n, order = len(x), weights.shape[-1]
    theta_bar = float((shares * weights[:, 0]).sum())
    centring = Centring(theta_bar, row_weight, averages)
    inputs = (x,) if exposure is None else (x, exposure)
    total = torch.zeros(n, dtype=torch.float64)
    for one, share in zip(weights, shares, strict=True):
        for shifts in product(range(n), repeat=order - 1):
            targets = torch.stack([y.roll(-shift, 0) for shift in (0, *shifts)], -1)
            own = one.expand(n, order)
            label = family.pool_labels(targets, own.unsqueeze(-2) if y.ndim == 2 else own, 0.0, pool)
            loss = quadratic_losses(module, family, inputs, y, label, shifts, own, centring)
            chance = 1 / n ** (order - 1)
            if row_weight is not None:
                chance = torch.stack([row_weight.roll(-shift) for shift in shifts]).prod(0) / row_weight.sum() ** (
                    order - 1
                )
            total = total + share * chance * loss
    return total


def closed_form(family, module, x, y, law):
    """Reference, section 2: base, curvature and covariance of labels and inputs, from whole matrices."""
    weights, shares = law
    theta_bar = (shares * weights[:, 0]).sum()
    variance = (shares * (weights[:, 0] - theta_bar) ** 2).sum()
    others = (shares * weights[:, 1:].square().sum(-1)).sum()
    statistics = family.sufficient_statistics(y)
    x_mean, t_mean = x.mean(0), statistics.mean(0)
    dx, dt = x - x_mean, statistics - t_mean
    point, label = x_mean + theta_bar * dx, t_mean + theta_bar * dt
    eta = module(point)
    slopes = torch.stack([jacobian(module, one) for one in point])
    fisher = torch.stack([hessian(lambda one: family.log_normalizer(one), one) for one in eta.detach()])
    cov_xx = variance * dx[:, :, None] * dx[:, None] + others * (dx.mT @ dx / len(x))
    cov_tx = variance * dt[:, :, None] * dx[:, None] + others * (dt.mT @ dx / len(x))
    base_measure = family.log_base_measure(y)
    base = family.log_normalizer(eta) - (label * eta).sum(-1)
    base = base - base_measure.mean() - theta_bar * (base_measure - base_measure.mean())
    curved = 0.5 * torch.einsum("nab,nka,nkl,nlb->n", cov_xx, slopes, fisher, slopes)
    return base + curved - torch.einsum("nka,nka->n", cov_tx, slopes)


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
@over_families
def test_the_mean_over_all_draws_is_the_expansion_without_second_derivatives(family, law):
    x, y = rows(family)
    module = network(family)
    with torch.no_grad():
        found = over_all_draws(family, module, x, y, law)
    torch.testing.assert_close(found, closed_form(family, module, x, y, law).detach(), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("pool", ["average", "log-linear"])
@over_families
def test_labels_that_are_pooled_in_another_way_have_their_own_mean(family, pool):
    x, y = rows(family)
    module, (weights, shares) = network(family), uniform_law()
    theta_bar = float((shares * weights[:, 0]).sum())
    with torch.no_grad():
        found = over_all_draws(family, module, x, y, (weights, shares), pool, averages=False)
        # the label is linear in the loss: to second order in the inputs alone, of each draw
        expected = torch.zeros(N, dtype=torch.float64)
        centring = Centring(theta_bar)
        point = centring.moved(x, 0)
        for one, share in zip(weights, shares, strict=True):
            for shift in range(N):
                own = one.expand(N, 2)
                targets = torch.stack([y, y.roll(-shift, 0)], -1)
                label = family.pool_labels(targets, own.unsqueeze(-2) if y.ndim == 2 else own, 0.0, pool)
                u, v = directional(module, (point,), (mix_rows(x, shift, own) - point,))
                statistics = family.label_statistics(label)
                loss = family.expected_nll(u, label) + 0.5 * curvature(family, u, v) - (statistics * v).sum(-1)
                expected += share / N * loss
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_of_classes_it_is_the_form_of_the_reference():
    family = families.get("categorical", num_classes=3)
    x, y = rows(family)
    module, weights = network(family), torch.tensor([0.7, 0.3], dtype=torch.float64).expand(N, 2)
    label = family.pool_labels(torch.stack([y, y.roll(-2)], -1), weights, 0.0, "linear")
    found = quadratic_losses(module, family, (x,), y, label, 2, weights, Centring(0.75))
    one_hot = torch.nn.functional.one_hot(y.long(), 3).double()
    centred, labels = x - x.mean(0), one_hot - one_hot.mean(0)
    delta = (0.7 - 0.75) * centred + 0.3 * centred.roll(-2, 0)
    noise = (0.7 - 0.75) * labels + 0.3 * labels.roll(-2, 0)
    point = x.mean(0) + 0.75 * centred
    u = module(point)
    v = torch.einsum("nka,na->nk", torch.stack([jacobian(module, one) for one in point]), delta)
    s = u.softmax(-1)
    cross_entropy = -((one_hot.mean(0) + 0.75 * labels) * u.log_softmax(-1)).sum(-1)
    curved = (s * v**2).sum(-1) - (s * v).sum(-1) ** 2
    torch.testing.assert_close(found, cross_entropy + 0.5 * curved - (noise * v).sum(-1), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("pool", ["linear", "average"])
def test_of_a_linear_function_and_squared_errors_it_is_the_mixup_risk_itself(pool):
    family, precision = families.get("gaussian"), 1.7
    x, y = rows(family)
    slope = torch.tensor([0.3, -1.2, 0.5], dtype=torch.float64)

    def module(x):
        mean = x @ slope + 0.4
        return torch.stack([precision * mean, torch.full_like(mean, -0.5 * precision)], -1)

    weights, shares = uniform_law()
    exact = torch.tensor(0.0, dtype=torch.float64)
    for one, share in zip(weights, shares, strict=True):
        for shift in range(N):
            own = one.expand(N, 2)
            label = family.pool_labels(torch.stack([y, y.roll(-shift)], -1), own, 0.0, pool)
            exact += share / N * family.expected_nll(module(mix_rows(x, shift, own)), label).mean()
    found = over_all_draws(family, module, x, y, (weights, shares), pool, averages=pool == "linear").mean()
    torch.testing.assert_close(found, exact, rtol=1e-12, atol=1e-12)


def test_a_row_of_weight_two_counts_like_the_row_twice():
    family = families.get("gamma")
    x, y = rows(family)
    module, weight = network(family), torch.tensor([1.0, 2.0, 1.0, 1.0, 1.0], dtype=torch.float64)
    twice = torch.tensor([0, 1, 1, 2, 3, 4])
    with torch.no_grad():
        single = over_all_draws(family, module, x, y, uniform_law(), row_weight=weight)
        double = over_all_draws(family, module, x[twice], y[twice], uniform_law())
    torch.testing.assert_close(single[twice], double, rtol=1e-10, atol=1e-10)


def test_exposures_are_mixed_like_the_rows():
    family = families.get("poisson")
    x, y = rows(family)
    exposure = torch.tensor([0.5, 1.0, 2.0, 4.0, 1.5], dtype=torch.float64)
    module = network(family)

    def joint(both):
        return family.expose(module(both[..., :-1]), both[..., -1].log())

    def exposed(x, exposure):
        return family.expose(module(x), exposure.log())

    with torch.no_grad():
        found = over_all_draws(family, exposed, x, y, uniform_law(), exposure=exposure)
    expected = closed_form(family, joint, torch.cat([x, exposure.unsqueeze(-1)], -1), y, uniform_law())
    torch.testing.assert_close(found, expected.detach(), rtol=1e-9, atol=1e-9)


@over_families
def test_gradients_are_those_of_finite_differences(family):
    x, y = rows(family)
    module, weights = network(family), torch.tensor([0.7, 0.3], dtype=torch.float64).expand(N, 2)
    pooled = weights.unsqueeze(-2) if y.ndim == 2 else weights
    label = family.pool_labels(torch.stack([y, y.roll(-2, 0)], -1), pooled, 0.0, "linear")

    def loss():
        return quadratic_losses(module, family, (x,), y, label, 2, weights, Centring(0.75)).mean()

    loss().backward()
    generator = torch.Generator().manual_seed(1)
    for parameter in module.parameters():
        step = 1e-5 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            parameter += step
            above = loss()
            parameter -= 2 * step
            below = loss()
            parameter += step
        expected = (parameter.grad * step).sum()
        torch.testing.assert_close(0.5 * (above - below), expected, rtol=1e-5, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("scale", "bounded"), [(1e-3, False), (1.0, False), (30.0, False), (1e4, True)])
@over_families
def test_losses_and_gradients_stay_finite_and_the_curvature_is_not_negative(family, scale, bounded, dtype):
    x, y = rows(family, dtype)
    x[0] *= 1e3
    bounds = family.raw_bounds(y) if bounded else None
    module, weights = network(family, scale, dtype, bounds), torch.tensor([0.95, 0.05], dtype=dtype).expand(N, 2)
    pooled = weights.unsqueeze(-2) if y.ndim == 2 else weights
    label = family.pool_labels(torch.stack([y, y.roll(-1, 0)], -1), pooled, 0.0, "linear")
    loss = quadratic_losses(module, family, (x,), y, label, 1, weights, Centring(0.75))
    assert loss.dtype == dtype
    loss.mean().backward()
    assert loss.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in module.parameters())
    u, v = directional(module, (x,), (x.roll(1, 0) - x,))
    curved = curvature(family, u.double(), v.double())
    assert (curved >= -1e-6 * curved.abs().max()).all()


def test_single_precision_agrees_with_double():
    for family in EXPONENTIAL:
        losses = []
        for dtype in (torch.float32, torch.float64):
            x, y = (one.to(dtype) for one in rows(family, torch.float32))
            module, weights = network(family, 1.0, dtype), torch.tensor([0.8, 0.2], dtype=dtype).expand(N, 2)
            pooled = weights.unsqueeze(-2) if y.ndim == 2 else weights
            label = family.pool_labels(torch.stack([y, y.roll(-1, 0)], -1), pooled, 0.0, "linear")
            losses.append(quadratic_losses(module, family, (x,), y, label, 1, weights, Centring(0.75)).double())
        torch.testing.assert_close(losses[0], losses[1], rtol=2e-4, atol=2e-4)


def test_a_layer_that_torch_cannot_differentiate_twice_is_an_error_that_says_so():
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(context, x):
            return x.clone()

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(context, gradient):
            return gradient

    with pytest.raises(NotImplementedError, match="torch can differentiate one of its operations only once"):
        directional(Once.apply, (torch.ones(2),), (torch.ones(2),))


@pytest.mark.parametrize("trained", [True, False])
def test_a_function_that_ignores_its_input_does_not_change_along_it(trained):
    bias = torch.ones(3, requires_grad=trained)
    value, change = directional(lambda x: 1 * bias, (torch.zeros(3),), (torch.ones(3),))
    assert (value == 1).all()
    assert (change == 0).all()


def test_without_gradients_the_losses_have_no_graph():
    with torch.no_grad():
        value, change = directional(lambda x: x**2, (torch.tensor([3.0]),), (torch.tensor([0.5]),))
    assert not value.requires_grad
    assert not change.requires_grad
    assert (value.item(), change.item()) == (9.0, 3.0)


def test_inputs_may_have_gradients_of_their_own():
    x = torch.tensor([3.0], requires_grad=True)
    _, change = directional(lambda x: x**3, (2 * x,), (torch.tensor([0.5]),))
    change.backward()
    torch.testing.assert_close(x.grad, torch.tensor([0.5 * 3 * 4 * 2 * 3.0]))
