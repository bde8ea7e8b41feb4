"""What mixtures of an exponential family need, with gradients by theory: half of the operations of autograd's."""

from typing import Any

import torch
from torch import Tensor

from .expected import signed
from .exponential_family import ExponentialFamily


def mixture_log_prob(base: ExponentialFamily, log_weights: Tensor, params: Tensor, y: Tensor) -> Tensor:
    """Log-density of mixtures, float64: (*B, K), (*B, K, P), (*B, 1) -> (*B,); weights may have any sum."""
    log_prob: Tensor = _LogProb.apply(base, log_weights, params, y)[0]
    return log_prob


def convexity_gap(base: ExponentialFamily, params: Tensor, pooled: Tensor, weights: Tensor) -> Tensor:
    r"""By how much the log-normaliser at the pool of M densities is below the mean of theirs, negative.

    .. math:: A(\tilde\eta) - \sum_m \lambda_m A(\eta_m) =
        \sum_m \lambda_m \log p(y; \eta_m) - \log p(y; \tilde\eta),\qquad \tilde\eta = \sum_m \lambda_m \eta_m

    for any y: at the centre of the pool the densities do not cancel, as values of A do.

    Parameters
    ----------
    base : ExponentialFamily
    params : Tensor, (*B, M, K, P), float64
    pooled : Tensor, (*B, K, P), float64
    weights : Tensor, (*B, M, 1), float64

    Returns
    -------
    Tensor, (*B, K)
    """
    y = base.centre(pooled.detach())
    if weights.requires_grad:
        single = base._log_prob(params, y.unsqueeze(-2 - base.event_dim))
        return (weights * single).sum(-2) - base._log_prob(pooled, y)
    gap: Tensor = _Gap.apply(base, params, pooled, weights, y)
    return gap


class _LogProb(torch.autograd.Function):
    """Its gradient is the responsibilities times those of the components; differentiable itself."""

    generate_vmap_rule = True

    @staticmethod
    @signed
    def forward(base: ExponentialFamily, log_weights: Tensor, params: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        joint = log_weights + base._log_prob(params, y)
        return joint.logsumexp(-1) - log_weights.logsumexp(-1), joint

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        base, log_weights, params, y = inputs
        ctx.base = base
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(log_weights, params, y, output[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, Tensor, None]:
        log_weights, params, y, joint = ctx.saved_tensors
        if torch.is_grad_enabled():
            # it is to be differentiated further, for which what was found then is a constant
            joint = log_weights + ctx.base._log_prob(params, y)
        gradient = gradients[0].unsqueeze(-1)
        shares = gradient * _exp_normalised(joint)
        of_params = shares.unsqueeze(-1) * ctx.base.residual(params, y)
        of_weights = shares - gradient * _exp_normalised(log_weights)
        # both may have been broadcast against y
        return None, of_weights.sum_to_size(log_weights.shape), of_params.sum_to_size(params.shape), None


def _exp_normalised(values: Tensor) -> Tensor:
    """The softmax along the last axis, which torch's own is slow at where it is short."""
    return (values - values.logsumexp(-1, keepdim=True)).exp()


class _Gap(torch.autograd.Function):
    """Its gradient in the parameters of a density is the residual at y."""

    generate_vmap_rule = True

    @staticmethod
    @signed
    def forward(base: ExponentialFamily, params: Tensor, pooled: Tensor, weights: Tensor, y: Tensor) -> Tensor:
        single = base._log_prob(params, y.unsqueeze(-2 - base.event_dim))
        return (weights * single).sum(-2) - base._log_prob(pooled, y)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        base, params, pooled, weights, y = inputs
        ctx.base = base
        ctx.save_for_backward(params, pooled, weights, y)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, Tensor, None, None]:
        params, pooled, weights, y = ctx.saved_tensors
        base, gradient = ctx.base, gradients[0]
        share = (weights * gradient.unsqueeze(-2)).unsqueeze(-1)
        of_params = share * base.residual(params, y.unsqueeze(-2 - base.event_dim))
        return None, of_params, -gradient.unsqueeze(-1) * base.residual(pooled, y), None, None


__all__ = ["convexity_gap", "mixture_log_prob"]
