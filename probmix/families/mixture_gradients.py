"""What mixtures of an exponential family need, with gradients by theory: a fraction of the operations of autograd's.

Parameters are those of `Mixture`, (*B, K (1 + P)). Inside, components and parameters come first, in memory too: torch
is slow along last axes as short as these.
"""

from typing import Any

import torch
from torch import Tensor

from .._shapes import broadcast_shapes
from .expected import positional
from .exponential_family import ExponentialFamily

_FINITE = torch.finfo(torch.float64).max


def mixture_nll(
    base: ExponentialFamily, n_components: int, eta: Tensor, y: Tensor, shares: Tensor | None = None
) -> Tensor:
    """Negative log-density of mixtures, (*B, K (1 + P)), whose weights may have any sum, at targets y: -> (*B,).

    With shares, (L, *B), that of L targets of each, y (L, *B), each of which counts so much.
    """
    nll: Tensor = _ExpectedNLL.apply(base, n_components, eta, y, shares)[0]
    return nll


def mixture_pool(base: ExponentialFamily, n_components: int, eta: Tensor, weights: Tensor) -> Tensor:
    r"""The log-linear pool of M mixtures, component by component: (*B, M, K (1 + P)), (*B, M) -> (*B, K (1 + P)).

    The weights of its components take the log-normaliser at the pool of M densities less the mean of theirs, which is

    .. math:: A(\tilde\eta) - \sum_m \lambda_m A(\eta_m) =
        \sum_m \lambda_m \log p(y; \eta_m) - \log p(y; \tilde\eta),\qquad \tilde\eta = \sum_m \lambda_m \eta_m

    for any y: at the centre of the pool the densities do not cancel, as values of A do.
    """
    if weights.shape != eta.shape[:-1]:
        shape = broadcast_shapes(weights.shape, eta.shape[:-1])
        eta, weights = eta.expand(*shape, -1), weights.expand(shape)
    if weights.requires_grad:
        return _pooled(base, n_components, *_with_mean(eta, weights))[0].to(eta.dtype)
    pooled: Tensor = _Pool.apply(base, n_components, eta, weights)[0]
    return pooled.to(eta.dtype)


def components(values: Tensor, n_components: int) -> tuple[Tensor, Tensor]:
    """Numbers of the weights and of the components: (K (1 + P), *B) -> (K, *B), (K, *B, P)."""
    of_components = values.narrow(0, n_components, values.shape[0] - n_components)
    return values.narrow(0, 0, n_components), of_components.unflatten(0, (n_components, -1)).movedim(1, -1)


class _ExpectedNLL(torch.autograd.Function):
    r"""The loss, and what its gradient needs.

    .. math:: \sum_l s_l \Bigl(\log \sum_k w_k - \log \sum_k w_k\,p(y_l; \eta_k)\Bigr)

    With the responsibilities :math:`r_{lk} = w_k\,p(y_l; \eta_k) / \sum_j w_j\,p(y_l; \eta_j)` the gradient in
    :math:`\log w_k` is :math:`\sum_l s_l (w_k / \sum_j w_j - r_{lk})`, and that in :math:`\eta_k` is
    :math:`-\sum_l s_l r_{lk} (T(y_l) - \nabla A(\eta_k))`. It is differentiable itself.
    """

    generate_vmap_rule = True

    @staticmethod
    @positional
    def forward(
        base: ExponentialFamily, n_components: int, eta: Tensor, y: Tensor, shares: Tensor | None
    ) -> tuple[Tensor, ...]:
        values = _first(_against(eta, y.ndim - base.event_dim))
        nll, *counts = _expected(base, *components(values, n_components), y, shares)
        return nll.to(eta.dtype), values, *counts

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.base, ctx.n_components = inputs[:2]
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs[2:], *output[1:])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        if gradients[0] is None:
            return None, None, None, None, None
        eta, y, shares, values, responsibilities, weights = ctx.saved_tensors
        again = torch.is_grad_enabled()
        if again:
            # it is to be differentiated further, for which what was found then is a constant
            values = _first(_against(eta, y.ndim - ctx.base.event_dim))
        log_weights, params = components(values, ctx.n_components)
        if again:
            _, responsibilities, weights = _expected(ctx.base, log_weights, params, y, shares)
        of_joint = -gradients[0] * responsibilities
        of_params = ctx.base.residual(params, y).movedim(-1, 0) * of_joint
        # they may have been broadcast against y
        of_weights, own, of_params = (
            part.sum_to_size(shape)
            for part, shape in (
                (of_joint, log_weights.shape),
                (gradients[0] * weights, log_weights.shape),
                (of_params, params.movedim(-1, 0).shape),
            )
        )
        of_eta = torch.cat([of_weights + own, of_params.transpose(0, 1).flatten(0, 1)])
        return None, None, of_eta.movedim(0, -1).reshape(eta.shape).to(eta.dtype), None, None


def _against(eta: Tensor, batch_ndim: int) -> Tensor:
    """Parameters with as many axes B as targets have."""
    missing = batch_ndim - (eta.ndim - 1)
    return eta.view((1,) * missing + eta.shape) if missing > 0 else eta


def _first(values: Tensor, axes: int = 1) -> Tensor:
    """The last axes as the first ones, in memory too, in float64: (*B, M, R) to (R, *B, M), or of two to (R, M, *B)."""
    last = tuple(range(-1, -1 - axes, -1))
    moved = values.movedim(last, tuple(range(axes)))
    return moved.to(torch.float64, memory_format=torch.contiguous_format, copy=True)


def _expected(
    base: ExponentialFamily, log_weights: Tensor, params: Tensor, y: Tensor, shares: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The loss, (*B,), and how much components count in it and in the sum of the weights, (K, [L,] *B) both."""
    log_total, weights = _normalised(log_weights)
    log_prob, responsibilities = _normalised(log_weights + base._log_prob(params, y))
    nll = log_total - log_prob
    if shares is None:
        return nll, responsibilities, weights
    return (nll * shares).sum(0), responsibilities * shares, weights * shares.sum(0)


def _normalised(values: Tensor) -> tuple[Tensor, Tensor]:
    """Of the exponentials of numbers, (K, *B), the logarithm of their sum and their shares of it."""
    # no infinity is taken from another
    highest = values.amax(0).clamp(-_FINITE, _FINITE)
    shares = (values - highest).exp()
    total = shares.sum(0)
    return highest + total.log(), shares / total


class _Pool(torch.autograd.Function):
    r"""The pool in float64, and what its gradient needs.

    Its logarithms of weights are :math:`u_k = \sum_m \lambda_m (\log w_{mk} - A(\eta_{mk})) + A(\tilde\eta_k)` less the
    logarithm of the sum of their exponentials. With g the gradient in u, that in :math:`\log w_{mk}` is
    :math:`\lambda_m g_k`, and that in :math:`\eta_{mk}` is :math:`\lambda_m` times the sum of
    :math:`g_k (\nabla A(\tilde\eta_k) - \nabla A(\eta_{mk}))` and the gradient in :math:`\tilde\eta_k`. It is
    differentiable itself.
    """

    generate_vmap_rule = True

    @staticmethod
    @positional
    def forward(base: ExponentialFamily, n_components: int, eta: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
        points, signed = _with_mean(eta, weights)
        return *_pooled(base, n_components, points, signed), points, signed

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.base, ctx.n_components, eta, weights = inputs
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(eta, weights, *output[1:])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[None, None, Tensor | None, None]:
        if gradients[0] is None:
            return None, None, None, None
        eta, weights, shares, y, points, signed = ctx.saved_tensors
        base, n_components = ctx.base, ctx.n_components
        if torch.is_grad_enabled():
            points, signed = _with_mean(eta, weights)
            _, shares, y = _pooled(base, n_components, points, signed)
        of_weights, of_pooled = components(_first(gradients[0]), n_components)
        of_weights = of_weights - shares * of_weights.sum(0)
        residuals = base.residual(components(points, n_components)[1], y.unsqueeze(1)).movedim(-1, 0)
        count = len(signed)
        beyond = residuals.narrow(2, 0, count - 1) - residuals.narrow(2, count - 1, 1)
        of_params = of_weights.unsqueeze(1) * beyond + of_pooled.movedim(-1, 0).unsqueeze(2)
        of_params = of_params.transpose(0, 1).flatten(0, 1)
        of_group = torch.cat([of_weights.unsqueeze(1).expand(-1, *of_params.shape[1:]), of_params])
        of_eta = (of_group * signed.narrow(0, 0, count - 1)).movedim((1, 0), (-2, -1))
        return None, None, of_eta.to(eta.dtype), None


def _with_mean(eta: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The group with its mean behind it, (K (1 + P), M + 1, *B), and the weights with -1, (M + 1, *B)."""
    group, of_group = _first(eta, 2), _first(weights)
    mean = (group * of_group).sum(1, keepdim=True)
    return torch.cat([group, mean], 1), torch.cat([of_group, torch.full_like(of_group.narrow(0, 0, 1), -1)])


def _pooled(
    base: ExponentialFamily, n_components: int, points: Tensor, signed: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The pool, (*B, K (1 + P)), the weights of its components, and their centres, (K, *B)."""
    last = len(signed) - 1
    log_weights, params = components(points, n_components)
    y = base.centre(params.select(1, last).detach())
    log_weights = log_weights.select(1, last) + (base._log_prob(params, y.unsqueeze(1)) * signed).sum(1)
    log_total, shares = _normalised(log_weights)
    pooled = points.select(1, last).narrow(0, n_components, len(points) - n_components)
    return torch.cat([log_weights - log_total, pooled]).movedim(0, -1), shares, y


__all__ = ["components", "mixture_nll", "mixture_pool"]
