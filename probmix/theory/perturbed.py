"""Mixup as empirical risk minimisation on points that are moved to the mean and perturbed."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._numbers import finite_numbers
from ..mixup import BetaWeights, WeightLaw
from ..plots._common import new_axes
from ._moments import moments

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PerturbedERM:
    r"""Moved points and the covariances of their perturbations, of n rows of p features and q targets.

    Attributes
    ----------
    theta_bar, s2, g2 : float
        Moments of the largest weight :math:`\theta = \max_k w_k`: its mean and variance, and
        :math:`g^2 = E[\sum_k w_k^2] - E[\theta^2]`, which for pairs is :math:`s^2 + (1 - \bar\theta)^2`.
    x_mean, y_mean : ndarray, (p,) and (q,)
    x, y : ndarray, (n, p) and (n, q)
        The moved points, :math:`\tilde x_i = \bar x + \bar\theta(x_i - \bar x)`, and :math:`\tilde y_i` likewise.
    x_centred, y_centred : ndarray, (n, p) and (n, q)
        Rows less their means.
    """

    theta_bar: float
    s2: float
    g2: float
    x_mean: Array
    y_mean: Array
    x: Array
    y: Array
    x_centred: Array
    y_centred: Array

    def covariance_xx(self) -> Array:
        r"""Covariance of :math:`\delta_i`, :math:`s^2 (x_i - \bar x)(x_i - \bar x)^T + g^2 \Sigma_{xx}`: (n, p, p)."""
        return self._covariance(self.x_centred, self.x_centred)

    def covariance_yy(self) -> Array:
        r"""Covariance of :math:`\varepsilon_i`: (n, q, q)."""
        return self._covariance(self.y_centred, self.y_centred)

    def covariance_yx(self) -> Array:
        r"""Covariance of :math:`\varepsilon_i` with :math:`\delta_i`: (n, q, p)."""
        return self._covariance(self.y_centred, self.x_centred)

    def _covariance(self, left: Array, right: Array) -> Array:
        own: Array = left[:, :, None] * right[:, None, :]
        covariance: Array = self.s2 * own + self.g2 * own.mean(0)
        return covariance

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw rows, where they are moved to, and one standard deviation of the perturbation around some.

        The first two features, or the one feature and the target.

        Parameters
        ----------
        ax : matplotlib Axes, optional

        Returns
        -------
        matplotlib Axes
        """
        from matplotlib.patches import Ellipse

        ax = new_axes() if ax is None else ax
        table = np.concatenate([self.x_centred, self.y_centred], 1)[:, :2]
        mean = np.concatenate([self.x_mean, self.y_mean])[:2]
        old, new = mean + table, mean + self.theta_bar * table
        ax.plot(*np.stack([old, new, np.full_like(old, np.nan)], 1).reshape(-1, 2).T, color="0.8", linewidth=0.8)
        ax.plot(*old.T, "o", color="0.55", markersize=3.5, label="rows")
        ax.plot(*new.T, "o", color="C0", markersize=3.5, label="moved")
        # a few are enough to see the shapes
        for i in np.unique(np.linspace(0, len(old) - 1, 8).round().astype(int)):
            covariance = self.s2 * np.outer(table[i], table[i]) + self.g2 * (table.T @ table) / len(table)
            variances, axes = np.linalg.eigh(covariance)
            width, height = 2 * np.sqrt(variances.clip(0))
            angle = np.degrees(np.arctan2(axes[1, 0], axes[0, 0]))
            ax.add_patch(Ellipse(tuple(new[i]), width, height, angle=angle, fill=False, edgecolor="C0", alpha=0.6))
        two_features = self.x_centred.shape[1] > 1
        ax.set_xlabel("first feature" if two_features else "feature")
        ax.set_ylabel("second feature" if two_features else "target")
        ax.legend(frameon=False)
        return ax


def perturbed_erm(X: Any, y: Any, weights: WeightLaw | None = None, *, order: int = 2) -> PerturbedERM:
    r"""The moments of mixup seen as perturbed empirical risk minimisation.

    Of a group of K rows with exchangeable weights w call the one with the largest weight i. With
    :math:`\theta = \max_k w_k` the mixed row is :math:`\tilde x_i + \delta_i`, where

    .. math:: \tilde x_i = \bar x + \bar\theta (x_i - \bar x),\qquad
        \delta_i = (\theta - \bar\theta)(x_i - \bar x) + \sum_{k \ge 2} w_{(k)} (x_{j_k} - \bar x),

    the partners :math:`j_k` are uniform over all n rows, i included, and :math:`w_{(k)}` are the other weights; labels
    likewise, with :math:`\varepsilon_i`. Then :math:`E\,\delta_i = 0`, and the mixup risk is
    :math:`\frac1n \sum_i E\,\ell(\tilde y_i + \varepsilon_i, f(\tilde x_i + \delta_i))`.

    Parameters
    ----------
    X : array-like, (n, ...)
        As it is mixed; standardise it first if that is what happens.
    y : array-like, (n,) or (n, q)
        Targets, or one-hot labels.
    weights : WeightLaw, optional
        `BetaWeights(1.0)` by default.
    order : int
        Rows K of a group.

    Returns
    -------
    PerturbedERM

    References
    ----------
    Carratino, Cissé, Jenatton & Vert (2022), On Mixup Regularization, JMLR; theorem 1 and lemma 2.

    Examples
    --------
    >>> from probmix.mixup import BetaWeights
    >>> from probmix.theory import perturbed_erm
    >>> found = perturbed_erm([[0.0], [4.0]], [0.0, 1.0], BetaWeights(1.0))
    >>> found.theta_bar, found.x.ravel().tolist()
    (0.75, [0.5, 3.5])
    """
    x, targets = (finite_numbers(one, name) for one, name in ((X, "X"), (y, "y")))
    if len(x) != len(targets):
        raise ValueError(f"`y` must have as many rows as `X`, {len(x)}; got {len(targets)}.")
    x, targets = x.reshape(len(x), -1), targets.reshape(len(targets), -1)
    theta_bar, s2, g2 = moments(BetaWeights(1.0) if weights is None else weights, order)
    x_mean, y_mean = x.mean(0), targets.mean(0)
    x_centred, y_centred = x - x_mean, targets - y_mean
    moved = x_mean + theta_bar * x_centred, y_mean + theta_bar * y_centred
    return PerturbedERM(theta_bar, s2, g2, x_mean, y_mean, *moved, x_centred, y_centred)
