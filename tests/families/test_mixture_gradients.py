"""The loss and the pool of mixtures: values and gradients against autograd of the formulas as they are written."""

import math

import pytest
import torch

from probmix.families import Gamma, Gaussian, LogNormal, Mixture, MultivariateGaussian, Poisson
from probmix.families.label import Label
from probmix.mixup import BetaWeights, Mixup, mixup_loss

BASES = [Gaussian(), Gamma(), LogNormal(), Poisson(), MultivariateGaussian(2)]


def params(family, *shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return family.constrain(torch.randn(*shape, family.num_raw, generator=generator, dtype=torch.float64)).to(dtype)


def targets(family, *shape, seed=1):
    y = torch.randn(*shape, *[2] * family.event_dim, generator=torch.Generator().manual_seed(seed)).double()
    return y.exp().ceil() if family.base.name == "poisson" else y.exp()


def written_out(family, eta, y):
    """Log-densities one component at a time, with the log-normaliser of the base: (*B, R), (*B,) -> (*B,)."""
    base, (log_weights, of_components) = family.base, family.split(eta.double())
    each = [
        (of_one * base.sufficient_statistics(y)).sum(-1) - base.log_normalizer(of_one) + base.log_base_measure(y)
        for of_one in of_components.unbind(-2)
    ]
    return (log_weights + torch.stack(each, -1)).logsumexp(-1) - log_weights.logsumexp(-1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("base", BASES, ids=lambda base: base.name)
def test_the_loss_of_labels_of_one_and_of_several_points(base, dtype):
    family = Mixture(base, 3)
    eta, y = params(family, 2, 7, dtype=dtype).requires_grad_(), targets(family, 2, 7, 4)
    shares = torch.rand(2, 7, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    first = y.select(2, 0)
    of_points = -(shares * written_out(family, eta.unsqueeze(-2), y)).sum(-1)
    for label, want in ((Label(first), -written_out(family, eta, first)), (Label(y, weights=shares), of_points)):
        found = family.expected_nll(eta, label)
        assert found.dtype == dtype
        assert torch.allclose(found.double(), want, rtol=1e-9 if dtype == torch.float64 else 1e-5)
        gradients = [torch.autograd.grad(loss.sum(), eta)[0] for loss in (found, want)]
        assert torch.allclose(*gradients, rtol=1e-8 if dtype == torch.float64 else 1e-4, atol=1e-6)


def test_parameters_and_labels_that_are_broadcast():
    family, wide = Mixture(Gaussian(), 3), (2, 4, 5)
    shares = torch.rand(4, 5, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    y = targets(family, 4, 5, 3)
    for shape in ((), (5,), (4, 1), (4, 5), (2, 4, 5), (2, 1, 5), (2, 1, 1)):
        eta = params(family, *shape).requires_grad_()
        each = eta.expand(*wide, -1)
        for label, of_all in (
            (Label(y, weights=shares), Label(y.expand(*wide, 3), weights=shares.expand(*wide, 3))),
            (Label(y, weights=shares[0, 0]), Label(y.expand(*wide, 3), weights=shares[0, 0].expand(*wide, 3))),
            (Label(y[..., 0]), Label(y[..., 0].expand(wide))),
        ):
            found, want = family.expected_nll(eta, label), family.expected_nll(each, of_all)
            assert torch.allclose(found.expand(wide), want, rtol=1e-12)
            times = want.numel() / found.numel()
            gradients = [torch.autograd.grad(one.sum(), eta)[0] for one in (times * found, want)]
            assert torch.allclose(*gradients, rtol=1e-9)


@pytest.mark.parametrize("base", [Gaussian(), Gamma()], ids=lambda base: base.name)
def test_derivatives_of_the_loss_and_of_the_pool(base):
    family = Mixture(base, 2)
    eta, y = params(family, 3).requires_grad_(), targets(family, 3, 2)
    label = Label(y, weights=torch.tensor([0.3, 0.7], dtype=torch.float64).expand(3, 2))
    weights = torch.tensor([0.2, 0.8], dtype=torch.float64)
    group = params(family, 3, 2, seed=3).requires_grad_()
    for function, given in (
        (lambda eta: family.expected_nll(eta, label), eta),
        (lambda group: family.expected_nll(family.pool_params(group, weights.expand(3, 2)), label), group),
    ):
        assert torch.autograd.gradcheck(function, given)
        assert torch.autograd.gradgradcheck(function, given)
    # members under torch.func
    found = torch.func.vmap(torch.func.grad(lambda eta, y: family.expected_nll(eta, Label(y))))(eta, y.select(1, 0))
    (want,) = torch.autograd.grad(family.expected_nll(eta, Label(y.select(1, 0))).sum(), eta)
    assert torch.allclose(found, want, rtol=1e-12)


@pytest.mark.parametrize("base", [Gaussian(), Gamma(), Poisson()], ids=lambda base: base.name)
def test_the_gradient_of_the_pool_is_that_of_its_formula(base):
    family, weights = Mixture(base, 3), torch.tensor([0.1, 0.3, 0.6], dtype=torch.float64)
    eta = params(family, 5, 3).requires_grad_()
    log_weights, of_components = family.split(eta)
    pooled = (weights.view(3, 1, 1) * of_components).sum(-3)
    joint = (weights.view(3, 1) * (log_weights - base.log_normalizer(of_components))).sum(-2)
    joint = joint + base.log_normalizer(pooled)
    want = torch.cat([joint - joint.logsumexp(-1, keepdim=True), pooled.flatten(-2)], -1)
    found = family.pool_params(eta, weights.expand(5, 3))
    assert torch.allclose(found, want, rtol=1e-9)
    # weights of all, and a group of all, are broadcast
    assert torch.allclose(family.pool_params(eta, weights), found, rtol=1e-12)
    of_first = family.pool_params(eta[0], weights.expand(5, 3))
    assert torch.allclose(of_first, found[:1].expand(5, -1), rtol=1e-12)
    direction = torch.randn(want.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    gradients = [torch.autograd.grad((direction * one).sum(), eta)[0] for one in (found, want)]
    assert torch.allclose(*gradients, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_targets_far_from_all_components_and_weights_near_zero(dtype):
    family = Mixture(Gaussian(), 2)
    log_weights = torch.tensor([-700.0, 0.0])
    normal = torch.distributions.Normal(torch.tensor([0.0, 3.0]), torch.tensor([1e-3, 2.0]))
    eta = torch.cat([log_weights, Gaussian().natural_params(normal).flatten()]).to(dtype).requires_grad_()
    y = torch.tensor([-1e6, 0.0, 1e8], dtype=torch.float64)
    loss = family.expected_nll(eta.expand(3, -1), Label(y))
    # the narrow one has no say
    want = 0.5 * ((y - 3) / 2).square() + math.log(2) + 0.5 * math.log(2 * math.pi)
    assert torch.allclose(loss.double(), want, rtol=1e-6)
    (gradient,) = torch.autograd.grad(loss.sum(), eta)
    assert gradient.isfinite().all()
    assert gradient[2:4].double().abs().max() < 1e-200
    # beyond what squares can hold it is infinite, and no number that is none
    assert family.expected_nll(eta, Label(torch.tensor(1e200, dtype=torch.float64))) == math.inf


def test_what_pairs_predict_is_pooled_once(monkeypatch):
    calls, pool = [], Mixture.pool_params

    def counted(self, eta, weights=None):
        calls.append(eta.shape)
        return pool(self, eta, weights)

    monkeypatch.setattr(Mixture, "pool_params", counted)
    family = Mixture(Gaussian(), 2)
    x, y = torch.randn(8, family.num_params), torch.randn(8)
    mixup = Mixup(at="output", weights=BetaWeights(0.2), label_pool="linear", clean=0.5)
    mixup_loss(family.constrain, family, x, y, mixup)
    assert len(calls) == 1


def test_a_label_with_a_gradient_passes_it_on():
    family = Mixture(Gaussian(), 2)
    eta = params(family, 4)
    y = targets(family, 4, 2).requires_grad_()
    weights = torch.full((4, 2), 0.5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda y, weights: family.expected_nll(eta, Label(y, weights=weights)), (y, weights)
    )
