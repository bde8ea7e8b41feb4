r"""Approximate mixup: the risk of rows that are mixed at the input, to second order and without second derivatives.

Let i be the heaviest row of a group, :math:`\theta` its weight, and bars means over the rows of a batch. The mixed row
is :math:`\tilde x_i + \delta` with

.. math:: \tilde x_i = \bar x + \bar\theta (x_i - \bar x),\qquad
    \delta = (\theta - \bar\theta)(x_i - \bar x) + \sum_{k > 1} w_k (x_{j_k} - \bar x),\qquad E\delta = 0,

and its label statistics are :math:`\tilde t_i + \varepsilon` in the same way. To second order in :math:`\delta` the
loss :math:`A(u) - \langle t, u\rangle` of an exponential family at :math:`u = f(\tilde x_i)`, with
:math:`v = J_f(\tilde x_i)\,\delta` from one product with the Jacobian matrix, is

.. math:: A(u) - \langle\tilde t_i, u\rangle + \tfrac12 v^T \nabla^2\!A(u)\,v - \langle\varepsilon, v\rangle

but for terms of mean zero and the one with the second derivatives of f, which approximate mixup leaves out.

References
----------
Carratino, Cissé, Jenatton and Vert (2022), On Mixup Regularization, JMLR 23: theorem 1 and the expansion, for squared
errors and for classes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..families import ExponentialFamily, Label
from ..pairs import Partners, mix_rows

_ONCE = (
    "criterion='quadratic' takes the derivative of the network along a direction, and torch can differentiate one of "
    "its operations only once. Use criterion='expected-log', or a plainer form of the layer: attention inside "
    "torch.nn.attention.sdpa_kernel(SDPBackend.MATH), recurrent layers on a GPU without cuDNN."
)


@dataclass(frozen=True)
class Centring:
    r"""About what, and how far, rows are moved towards each other; L is empty or the member axis.

    Attributes
    ----------
    theta_bar : float, or Tensor, (M,)
        The mean largest weight of a group; 1 of members that do not mix their rows.
    row_weight : Tensor, (*L, N), or None
        Sample weights of the rows of the batch, for its means.
    averages_labels : bool
        Whether label statistics are mixed linearly and with the weights of the rows, so that :math:`\tilde t_i` is
        known; otherwise the loss has the label of each group itself, which costs some noise and no bias.
    """

    theta_bar: float | Tensor
    row_weight: Tensor | None = None
    averages_labels: bool = True

    def mean(self, values: Tensor, row_dim: int) -> Tensor:
        """Over the rows of the batch, (*L, N, *F) -> (*L, 1, *F)."""
        if self.row_weight is None:
            return values.mean(row_dim, keepdim=True)
        weights = _beside(self.row_weight.to(values.dtype), values)
        return (weights * values).sum(row_dim, keepdim=True) / weights.sum(row_dim, keepdim=True)

    def moved(self, values: Tensor, row_dim: int) -> Tensor:
        r"""Values moved towards their mean, :math:`\bar a + \bar\theta (a_i - \bar a)`."""
        mean = self.mean(values, row_dim)
        theta_bar = self.theta_bar
        if isinstance(theta_bar, Tensor):
            theta_bar = _beside(theta_bar.to(values.dtype), values)
        return mean + theta_bar * (values - mean)


def quadratic_losses(
    evaluate: Callable[..., Tensor],
    family: ExponentialFamily,
    inputs: tuple[Tensor, ...],
    y: Tensor,
    label: Label,
    partners: Partners,
    weights: Tensor,
    centring: Centring,
    spread: float = 0.0,
) -> Tensor:
    """Loss of the first row of each group, whose weight is the largest: (*L, B[, d]), differentiable.

    Parameters
    ----------
    evaluate : callable
        Inputs to natural parameters, (*L, B, [d,] K).
    family : ExponentialFamily
    inputs : tuple of Tensor, (*L, B, *F)
        What is mixed: rows as the network sees them, and exposures, where there are any.
    y : Tensor, (*L, B[, d])
        Targets of the rows.
    label : Label
        To which the targets of each group are pooled.
    partners : Partners
    weights : Tensor, (*L, B, K)
    centring : Centring
    spread : float
        Width of the label kernel.
    """
    row_dim = weights.ndim - 2
    points = tuple(centring.moved(one, row_dim) for one in inputs)
    steps = tuple(mix_rows(one, partners, weights) - point for one, point in zip(inputs, points, strict=True))
    eta, change = directional(evaluate, points, steps)
    u, v = eta.double(), change.double()

    y = y.double()
    single = family.pool_labels(y.unsqueeze(-1), torch.ones_like(y).unsqueeze(-1), spread, "linear")
    statistics = family.label_statistics(single)
    gap = centring.moved(statistics, row_dim) - statistics
    if centring.averages_labels:
        base = family.log_base_measure(y)
        loss = family.expected_nll(u, single) - (gap * u).sum(-1) - (centring.moved(base, row_dim) - base)
    else:
        loss = family.expected_nll(u, label)
    noise = family.label_statistics(label) - statistics - gap
    return (loss + 0.5 * curvature(family, u, v) - (noise * v).sum(-1)).to(eta.dtype)


def directional(
    evaluate: Callable[..., Tensor], points: tuple[Tensor, ...], steps: tuple[Tensor, ...]
) -> tuple[Tensor, Tensor]:
    r"""What a function gives, u, and its derivative along a direction, v; both can be differentiated further.

    The product :math:`J^T w` is linear in w, and its derivative along the direction is :math:`J \delta`: two passes
    backwards in place of one forwards, which many more operations of torch know how to take, and quickly.

    Raises
    ------
    NotImplementedError
        If torch cannot differentiate an operation twice.
    """
    is_wanted = torch.is_grad_enabled()
    with torch.enable_grad():
        points = tuple(one if one.requires_grad else one.detach().requires_grad_() for one in points)
        value = evaluate(*points)
        change = _product(value, points, steps)
    return (value, change) if is_wanted else (value.detach(), change.detach())


def _product(value: Tensor, points: tuple[Tensor, ...], steps: tuple[Tensor, ...]) -> Tensor:
    """The Jacobian matrices of a value times steps of the points."""
    if not value.requires_grad:
        return torch.zeros_like(value)
    weights = torch.zeros_like(value, requires_grad=True)
    gradients = torch.autograd.grad(value, points, weights, create_graph=True, allow_unused=True)
    known = [
        (gradient, step)
        for gradient, step in zip(gradients, steps, strict=True)
        if gradient is not None and gradient.requires_grad
    ]
    if not known:
        return torch.zeros_like(value)
    outputs, directions = zip(*known, strict=True)
    try:
        (change,) = torch.autograd.grad(outputs, weights, directions, create_graph=True, allow_unused=True)
    except RuntimeError as error:
        raise NotImplementedError(_ONCE) from error
    if change is None:
        raise NotImplementedError(_ONCE)
    return change


def curvature(family: ExponentialFamily, u: Tensor, v: Tensor) -> Tensor:
    r""":math:`v^T \nabla^2\!A(u)\,v`, the variance of :math:`\langle v, T(y)\rangle` at u: (*B, K) twice -> (*B,)."""
    is_constant = not (torch.is_grad_enabled() and (u.requires_grad or v.requires_grad))
    with torch.enable_grad():
        # a node of its own, for v may depend on u
        at = u.detach().requires_grad_() if is_constant or not u.requires_grad else u.view_as(u)
        (product,) = torch.autograd.grad((family.mean_params(at) * v).sum(), at, create_graph=not is_constant)
    return (v * product).sum(-1)


def _beside(of_rows: Tensor, values: Tensor) -> Tensor:
    """With axes of length one, so that it broadcasts against values from the first axis on."""
    return of_rows.reshape(of_rows.shape + (1,) * (values.ndim - of_rows.ndim))
