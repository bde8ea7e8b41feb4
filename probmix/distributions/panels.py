"""Adaptive quadrature of functions of one variable, for all rows at once."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

_NODES = 12
_TOLERANCE = 1e-10
# Halving can reach a step to 1e-12 of the panel it lies in; at most so many panels are halved at a time.
_ROUNDS, _WORST = 40, 8
# Coefficients that fall by less than this factor from a third of the degrees to the last count as those of a kink.
_SLOW = 5.0
# Elements of one evaluation of a cdf: 32 MiB of float64.
BLOCK = 2**22


def integrate(
    function: Callable[[Tensor], Tensor], edges: Tensor, scale: Tensor, cells: int, tolerance: float = _TOLERANCE
) -> Tensor:
    """The integral of `integrate_with_error` alone."""
    return integrate_with_error(function, edges, scale, cells, tolerance)[0]


def integrate_with_error(
    function: Callable[[Tensor], Tensor], edges: Tensor, scale: Tensor, cells: int, tolerance: float = _TOLERANCE
) -> tuple[Tensor, Tensor]:
    """Integral over the panels between sorted edges by Gauss-Legendre quadrature, with halving of the bad panels.

    Parameters
    ----------
    function : callable
        (k, *B) -> (k, *B), non-negative, smooth inside the panels but for single steps and kinks.
    edges : Tensor, (panels + 1, *B)
    scale : Tensor, (*B,)
        What will be added to the integral: errors count relative to both.
    cells : int
        Numbers behind one value of `function` for every row; it is called for `BLOCK` of them at a time.
    tolerance : float
        Relative; panels are halved until the bound of the error is below.

    Returns
    -------
    Tensor, (*B,)
        The integral.
    Tensor, (*B,)
        A bound of its error.
    """
    _, _, value, error = refined(function, edges, scale, cells, tolerance)
    return value.sum(0), error.sum(0)


def refined(
    function: Callable[[Tensor], Tensor], edges: Tensor, scale: Tensor, cells: int, tolerance: float = _TOLERANCE
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The panels of that integral, in no order: their left and right ends, integrals and errors, (panels, *B)."""
    left, right = edges[:-1], edges[1:]
    value, error = over_panels(function, left, right, cells)
    for _ in range(_ROUNDS):
        allowed = tolerance * (value.sum(0) + scale) / value.shape[0]
        bad = (error > allowed).sum(0)
        worst = min(_WORST, int(bad.amax())) if bad.numel() else 0
        if worst == 0:
            break
        index = error.topk(worst, dim=0).indices
        low, high = left.gather(0, index), right.gather(0, index)
        middle = 0.5 * (low + high)
        halves, errors = over_panels(function, torch.cat([low, middle]), torch.cat([middle, high]), cells)
        left, right = torch.cat([left, middle]), torch.cat([right.scatter(0, index, middle), high])
        value = torch.cat([value.scatter(0, index, halves[:worst]), halves[worst:]])
        error = torch.cat([error.scatter(0, index, errors[:worst]), errors[worst:]])
    return left, right, value, error


def over_panels(function: Callable[[Tensor], Tensor], left: Tensor, right: Tensor, cells: int) -> tuple[Tensor, Tensor]:
    """Integral over every panel and a bound of its error, in blocks of panels."""
    size = max(1, BLOCK // (_NODES * max(1, cells)))
    blocks = [_gauss(function, *block) for block in zip(left.split(size), right.split(size), strict=True)]
    value, error = zip(*blocks, strict=True)
    return torch.cat(value), torch.cat(error)


def _gauss(function: Callable[[Tensor], Tensor], left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    nodes, rule = torch.from_numpy(_GAUSS_NODES).to(left), torch.from_numpy(_GAUSS_RULE).to(left)
    width = right - left
    x = left.unsqueeze(1) + width.unsqueeze(1) * nodes.reshape((-1,) + (1,) * (left.ndim - 1))
    f = function(x.flatten(0, 1)).reshape(x.shape)
    value, *coefficients = torch.einsum("rk,pk...->rp...", rule, f) * width
    return value, gauss_error(coefficients)


def gauss_error(coefficients: list[Tensor]) -> Tensor:
    """A bound of the error of every panel, from the last four rules of `gauss_legendre`."""
    middle, highest = (torch.stack(pair).detach().abs().sum(0) for pair in (coefficients[:2], coefficients[2:]))
    # no division of zero by zero
    fall = highest / middle.clamp(min=torch.finfo(middle.dtype).tiny)
    return highest * (_SLOW * fall).clamp(max=1)


def gauss_legendre(nodes: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Nodes on [0, 1] and five rules: the integral, and four Legendre coefficients of the integrand.

    Two are the highest that the nodes resolve, two lie at a third of them. The rule is exact for twice as many degrees
    as it resolves: its error is of the size of the coefficients there. Where they fall as a power of the degree, at
    steps and kinks, the highest bound it; where they fall exponentially, their square over the ones at a third does.
    """
    x, weights = np.polynomial.legendre.leggauss(nodes)
    degrees = np.array([0, nodes // 3, nodes // 3 + 1, nodes - 2, nodes - 1])
    rules = np.polynomial.legendre.legvander(x, nodes - 1)[:, degrees].T * weights * (degrees[:, None] + 0.5)
    return (x + 1) / 2, rules


_GAUSS_NODES, _GAUSS_RULE = gauss_legendre(_NODES)
