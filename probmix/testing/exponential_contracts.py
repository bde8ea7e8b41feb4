"""Contracts of exponential families, beside those of every family."""

from collections.abc import Callable

import torch

from ..families import ExponentialFamily
from ..pooling import log_linear_pool
from .cases import EXACT, INTEGRAL, LINK, ZERO, Case, close, grid, log_prob, require


def _exponential(case: Case) -> ExponentialFamily:
    assert isinstance(case.family, ExponentialFamily)  # these contracts are for no others
    return case.family


def _check_natural_params(case: Case) -> None:
    family, eta = _exponential(case), case.eta
    again = family.natural_params(family.distribution(eta))
    # parameters that are not identified, such as a common shift of logits, move eta . T(y) by the same for all y
    change = ((again - eta) * family.sufficient_statistics(case.y)).sum(-1)
    close("(natural_params(distribution(eta)) - eta) . T(y), less its mean,", change - change.mean(0), ZERO, EXACT)


def _check_form(case: Case) -> None:
    family, eta, y = _exponential(case), case.eta, case.y
    form = (eta * family.sufficient_statistics(y)).sum(-1) - family.log_normalizer(eta) + family.log_base_measure(y)
    close("`log_prob`, against eta . T(y) - A(eta) + log h(y),", log_prob(family, eta, y), form, EXACT)


def _check_moments(case: Case) -> None:
    family, eta = _exponential(case), case.eta.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(family.log_normalizer(eta).sum(), eta)
    close("`mean_params`, against grad A,", family.mean_params(case.eta), gradient, EXACT)
    if family.event_dim:
        return  # an integral over vectors
    y, log_step = grid(family, case.eta)
    mass = (log_prob(family, case.eta, y) + log_step).exp()
    # far out the statistics may overflow where the mass has long vanished
    statistics = torch.where((mass > 0).unsqueeze(-1), family.sufficient_statistics(y), ZERO)
    expectation = (mass.unsqueeze(-1) * statistics).sum(0)
    close("`mean_params`, against E[T(y)],", family.mean_params(case.eta), expectation, INTEGRAL)


def _check_pooling(case: Case) -> None:
    for count in range(2, 6):
        eta, weights = case.points(count)
        pooled = log_linear_pool(eta, weights)
        if case.family.event_dim:
            single = torch.stack([log_prob(case.family, eta[:, k], case.y) for k in range(count)], -1)
            product = (weights * single).sum(-1)
            beyond = log_prob(case.family, pooled, case.y) - product
            close(f"the logarithm of the pool of {count} points over that of the product,", beyond, beyond[0], LINK)
            continue
        y, log_step = grid(case.family, pooled)
        singles = torch.stack([log_prob(case.family, eta[:, k], y) for k in range(count)], -1)
        product = ((weights * singles).sum(-1) + log_step).softmax(0)
        mass = (log_prob(case.family, pooled, y) + log_step).exp()
        peak = product.amax(0)
        close(f"the pool of {count} points, relative to its peak,", mass / peak, product / peak, INTEGRAL)


def _check_residual(case: Case) -> None:
    family, eta, y = _exponential(case), case.eta.clone().requires_grad_(), case.y[:3].transpose(0, 1)
    (gradient,) = torch.autograd.grad(log_prob(family, eta.unsqueeze(1), y)[:, 0].sum(), eta)
    close("`residual`, against the gradient of `log_prob`,", family.residual(case.eta, y[:, 0]), gradient, LINK)
    _, weights = case.points(3)
    single = -log_prob(family, eta.unsqueeze(1), y)
    (want,) = torch.autograd.grad((weights * single).sum(), eta)
    loss = family.expected_nll(eta, family.pool_labels(*case.groups(y, weights), pool="linear"))
    (gradient,) = torch.autograd.grad(loss.sum(), eta)
    close("the gradient of `expected_nll` of a linear pool", gradient, want, LINK)


def _check_calibrated_label(case: Case) -> None:
    family, (points, weights) = _exponential(case), case.points(3)
    y, of_labels = case.groups(case.y[:3].transpose(0, 1), weights)
    eta = log_linear_pool(points, weights).requires_grad_()
    points.requires_grad_()
    loss = family.expected_nll(eta, family.calibrated_label(y, of_labels, eta, eta_points=points)).sum()
    gradient, leak = torch.autograd.grad(loss, (eta, points), allow_unused=True)
    residual = family.transported_residuals(y, points.detach(), eta.detach())
    close("the gradient of the calibrated loss", gradient, -(weights.unsqueeze(-1) * residual).sum(-2), EXACT)
    require(leak is None or not bool(leak.any()), "a gradient flows through the calibrated label into `eta_points`")


def _check_residuals(case: Case) -> None:
    family, fused, point = _exponential(case), case.eta, case.points(1)[0]
    if not family.event_dim:
        y, log_step = grid(family, point[:, 0])
        mass = (log_prob(family, point[:, 0], y) + log_step).exp().unsqueeze(-1)
        residual = family.transported_residuals(y.T, point.expand(-1, len(y), -1), fused).transpose(0, 1)
        mean = torch.where(mass > 0, mass * residual, ZERO).sum(0)
        size = torch.where(mass > 0, mass * residual.abs(), ZERO).sum(0).clamp(min=1)
        close("the mean of `transported_residuals` at the truth, relative to their size,", mean / size, ZERO, INTEGRAL)
    y = case.y.transpose(0, 1)
    points, _ = case.groups(y, fused[:, :1])
    own = family.transported_residuals(points, fused.unsqueeze(1).expand(-1, len(case.y), -1), fused)
    want = family.sufficient_statistics(y) - family.mean_params(fused).unsqueeze(1)
    close("`transported_residuals` of a point that is the fused one", own, want, LINK)


EXPONENTIAL_CONTRACTS: dict[str, Callable[[Case], None]] = {
    "round trips": _check_natural_params,
    "log_prob": _check_form,
    "moments": _check_moments,
    "log-linear pooling": _check_pooling,
    "residual": _check_residual,
    "calibrated label": _check_calibrated_label,
    "transported_residuals": _check_residuals,
}
