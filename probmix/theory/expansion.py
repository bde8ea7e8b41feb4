"""The quadratic expansion of the mixup risk, row by row."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ..mixup import BetaWeights, WeightLaw
from ._moments import moments
from ._subject import Function, Subject, subject
from .expansion_result import QuadraticExpansion, hardness


def quadratic_expansion(
    model: Any,
    X: Any,
    y: Any,
    weights: WeightLaw | None = None,
    *,
    family: Any = None,
    member: int = 0,
    order: int = 2,
    split: bool = False,
) -> QuadraticExpansion:
    r"""Expand the mixup risk of a model to second order in the perturbations of `perturbed_erm`.

    With the moved points :math:`\tilde x_i, \tilde y_i`, the covariances S of their perturbations,
    :math:`u = f(\tilde x_i)` and its Jacobian J, row i of the risk is

    .. math:: \ell(\tilde y_i, u) + \tfrac12 \langle S_{xx}^i, J^T H_{uu} J \rangle + \langle S_{yx}^i, H_{yu} J \rangle
        + \tfrac12 \langle S_{xx}^i, \textstyle\sum_k (\nabla_u \ell)_k \nabla^2 f_k \rangle
        + \tfrac12 \langle S_{yy}^i, H_{yy} \rangle .

    Labels are mixed in the space of T(y), where :math:`H_{yu} = -I` and :math:`H_{uu} = \nabla^2 A(\eta)`, the Fisher
    information, for every exponential family; cross-entropy is that of the categorical one. It is exact for linear f
    and squared loss.

    Parameters
    ----------
    model : fitted DensityRegressor or DensityClassifier, or module or function
        An estimator is seen in the units it is trained in: its standardised rows are mixed, and the loss is that of
        scaled targets. A module is called with rows (n, ...), row by row, in evaluation mode.
    X : array-like, (n, ...)
    y : array-like, (n,) or (n, d)
    weights : WeightLaw, optional
        `BetaWeights(1.0)` by default.
    family : str or ExponentialFamily, optional
        Of a module's outputs, which are natural parameters; "squared" for :math:`\tfrac12|u - y|^2`.
    member : int
        Which member of an ensemble.
    order : int
        Rows K of a group.
    split : bool
        Whether to compute R1 and R3 one by one, by pseudo-inverses.

    Returns
    -------
    QuadraticExpansion

    Raises
    ------
    ValueError
        For a family that is no exponential one, and for rows, targets and outputs that do not fit together.

    Notes
    -----
    The covariances have the factors :math:`S_{xx}^i = V V^T` and :math:`S_{yx}^i = W V^T`, so that all is made of first
    and second derivatives along the columns of V: no Hessian is formed, and there are at most :math:`\min(n, p + 1)`
    columns.

    References
    ----------
    Carratino, Cissé, Jenatton & Vert (2022), On Mixup Regularization, JMLR; theorem 3.

    Examples
    --------
    >>> import torch
    >>> from probmix.theory import quadratic_expansion
    >>> network = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)).double()
    >>> X = torch.linspace(-1, 1, 20).view(10, 2)
    >>> result = quadratic_expansion(network, X, X.sum(1), family="squared")
    >>> parts = result.base + result.r13 + result.r2 + result.r4
    >>> bool(abs(result.risk - parts.mean()) < 1e-12)
    True
    """
    about = subject(model, X, y, family, member)
    theta_bar, s2, g2 = moments(BetaWeights(1.0) if weights is None else weights, order)
    moved = _Moved(about, theta_bar, s2, g2)
    loss, u = about.loss, moved.outputs()
    gradient = loss.mean(u) - loss.statistics(moved.label)
    first, second = moved.derivatives()
    hessian = loss.hessian(u)
    jacobian = 0.5 * torch.einsum("iqk,ikl,iql->i", first, hessian, first)
    cross = -(moved.label_directions() * first).sum((1, 2))
    curvature = 0.5 * (gradient * second).sum(1)
    labels = 0.5 * loss.label_curvature * moved.label_variance()
    r3 = _completed(first, moved, hessian) if split else None
    return QuadraticExpansion(
        base=_array(loss.value(moved.label, u)),
        jacobian=_array(jacobian),
        cross=_array(cross),
        r2=_array(curvature),
        r4=_array(labels),
        r3=None if r3 is None else _array(r3),
        gradient_norm=_array(gradient.norm(dim=1)),
        curvature_norm=_array(second.norm(dim=1)),
        sensitivity=_array(torch.linalg.matrix_norm(first, 2).square()),
        **hardness(about, u, hessian),
    )


class _Moved:
    """Moved points and the factors of the covariances of their perturbations."""

    def __init__(self, about: Subject, theta_bar: float, s2: float, g2: float) -> None:
        self._about, self._s, self._g = about, s2**0.5, g2**0.5
        self._x = about.x - about.x.mean(0)
        self._t = about.label - about.label.mean(0)
        self.x = about.x.mean(0) + theta_bar * self._x
        self.label = about.label.mean(0) + theta_bar * self._t
        # Sigma_xx = directions' directions, Sigma_yx = label_directions' directions
        n = len(self._x)
        left, sizes, right = torch.linalg.svd(self._x.flatten(1).double() / n**0.5, full_matrices=False)
        kept = sizes > 1e-12 * sizes.max()
        self._directions = (sizes[kept, None] * right[kept]).unflatten(1, self._x.shape[1:])
        self._label_directions = left[:, kept].T @ about.loss.statistics(self._t) / n**0.5

    def outputs(self) -> Tensor:
        """F at the moved points, (n, U)."""
        with torch.no_grad():
            parts = [self._about.function(part) for part in self.x.split(self._about.at_once())]
        return torch.cat(parts)

    def directions(self, rows: slice) -> Tensor:
        """Columns of V of some rows, (n, Q, *F)."""
        own = self._s * self._x[rows].unsqueeze(1)
        common = (self._g * self._directions).to(own.dtype).expand(len(own), *self._directions.shape)
        return torch.cat([own, common], 1)

    def label_directions(self) -> Tensor:
        """Columns of W, (n, Q, U)."""
        own = self._s * self._about.loss.statistics(self._t).unsqueeze(1)
        common = (self._g * self._label_directions).expand(len(own), *self._label_directions.shape)
        both: Tensor = torch.cat([own, common], 1)
        return both

    def label_variance(self) -> Tensor:
        """Trace of S_yy, (n,)."""
        squares = self._about.loss.statistics(self._t).square().sum(1)
        trace: Tensor = self._s**2 * squares + self._g**2 * squares.mean()
        return trace

    def derivatives(self) -> tuple[Tensor, Tensor]:
        """First derivatives along each direction, (n, Q, U), and the sum of the second ones, (n, U)."""
        parts = [self._derivatives_of(rows) for rows in self._blocks()]
        return torch.cat([first for first, _ in parts]), torch.cat([second for _, second in parts])

    def _blocks(self) -> Iterator[slice]:
        size = max(1, self._about.at_once() // (1 + len(self._directions)))
        return (slice(start, start + size) for start in range(0, len(self.x), size))

    def _derivatives_of(self, rows: slice) -> tuple[Tensor, Tensor]:
        directions = self.directions(rows)
        points = self.x[rows].unsqueeze(1).expand_as(directions)
        first, second = along(self._about.function, points.flatten(0, 1), directions.flatten(0, 1))
        shape = (len(directions), directions.shape[1])
        return first.unflatten(0, shape), second.unflatten(0, shape).sum(1)


def along(function: Function, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """First and second derivatives of a function of rows, each along its own direction: (n, *F) -> (n, U), twice.

    Backwards only: not all layers have derivatives forwards, which in some releases of torch also warn.
    """
    with torch.enable_grad():
        step = torch.zeros(len(x), *[1] * (x.ndim - 1), dtype=x.dtype, device=x.device, requires_grad=True)
        slopes = [_slope(one, step) for one in function(x + step * v).unbind(1)]
        seconds = [_slope(slope, step) for slope in slopes]
    first, second = (torch.stack([one.detach().flatten().double() for one in part], 1) for part in (slopes, seconds))
    return first, second


def _slope(values: Tensor, step: Tensor) -> Tensor:
    """The derivative of each value in its own step, to be differentiated again; zero for a constant."""
    if not values.requires_grad:
        return torch.zeros_like(step)
    slope: Tensor = torch.autograd.grad(values.sum(), step, create_graph=True, materialize_grads=True)[0]
    return slope


def _completed(first: Tensor, moved: _Moved, hessian: Tensor) -> Tensor:
    r"""R3, (n,): :math:`-\tfrac12 \operatorname{tr}(H_{uu}^+ S_{yx} S_{xx}^+ S_{xy})`.

    With the factors, :math:`S_{yx} S_{xx}^+ S_{xy} = W P W^T`, where P projects onto the row space of V.
    """
    w = moved.label_directions()
    v = moved.directions(slice(None)).flatten(2).double()
    projected = v @ torch.linalg.pinv(v) @ w
    r3: Tensor = -0.5 * (torch.linalg.pinv(hessian, hermitian=True) * (w.mT @ projected)).sum((1, 2))
    return r3


def _array(values: Tensor) -> Any:
    return values.detach().double().cpu().numpy()
