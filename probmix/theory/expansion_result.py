"""What the quadratic expansion says of each row, and what bounds it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._names import unknown_name
from ..families import Bernoulli, Categorical
from ..plots._common import new_axes
from ._losses import NaturalLoss
from ._subject import Subject

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]
Hardness = Literal["trace", "entropy", "el2n"]

_HARDNESS = {
    "trace": "trace of the Fisher information",
    "entropy": "entropy of the predicted classes",
    "el2n": "EL2N score",
}


@dataclass(frozen=True)
class QuadraticExpansion:
    r"""The quadratic expansion of the mixup risk: terms (n,), one for each row, of which the risk is the mean.

    Attributes
    ----------
    base : ndarray, (n,)
        Loss of the moved points, :math:`\ell(\tilde y_i, f(\tilde x_i))`.
    jacobian : ndarray, (n,)
        :math:`\tfrac12 \langle S_{xx}^i, J^T H_{uu} J \rangle`, never negative.
    cross : ndarray, (n,)
        :math:`\langle S_{yx}^i, H_{yu} J \rangle`; with `jacobian` it is R1 + R3 of the paper, `r13`.
    r2 : ndarray, (n,)
        :math:`\tfrac12 \langle S_{xx}^i, \sum_k (\nabla_u \ell)_k \nabla^2 f_k \rangle`.
    r4 : ndarray, (n,)
        :math:`\tfrac12 \langle S_{yy}^i, H_{yy} \rangle`, zero but for squared loss.
    r3 : ndarray, (n,), or None
        :math:`-\tfrac12 \operatorname{tr}(H_{uu}^+ S_{yx}^i (S_{xx}^i)^+ S_{xy}^i)`, if it was asked for.
    gradient_norm : ndarray, (n,)
        :math:`|\nabla_u \ell| = |\nabla A(u) - \tilde t_i|`.
    curvature_norm : ndarray, (n,)
        Length of the vector :math:`(\langle S_{xx}^i, \nabla^2 f_k \rangle)_k`.
    sensitivity : ndarray, (n,)
        Largest eigenvalue of :math:`J S_{xx}^i J^T`: the variance of the output under the perturbation.
    trace : ndarray, (n,)
        :math:`\operatorname{tr} H_{uu}`.
    entropy : ndarray, (n,), or None
        Of the predicted classes; for one target of the categorical or Bernoulli family.
    el2n : ndarray, (n,)
        :math:`|\nabla A(u) - T(y_i)|`, for classes the EL2N score of the moved point, :math:`|p - e_{y_i}|`.
    trace_by_entropy, trace_by_el2n : ndarray, (n,), or None
        What bounds the trace, where `entropy` is known.

    Notes
    -----
    Hard rows are regularised more: easy ones have little of each of the bounds. For every exponential family

    .. math:: 0 \le \tfrac12 \langle S_{xx}, J^T H_{uu} J \rangle
        \le \tfrac12\, \lambda_{\max}(J S_{xx} J^T) \operatorname{tr} H_{uu},\qquad
        |R_2| \le \tfrac12\, |\nabla_u \ell|\, |(\langle S_{xx}, \nabla^2 f_k \rangle)_k|,

    and for K classes of probabilities p, with :math:`e = |p - e_y|`,

    .. math:: \operatorname{tr} H_{uu} = 1 - |p|^2 \le -\textstyle\sum_k p_k \log p_k,\qquad
        \operatorname{tr} H_{uu} = 2 (1 - p_y) - e^2 \le 2 e \sqrt{1 - 1/K} - e^2 .

    A Bernoulli variable has half the trace of two classes: :math:`p (1 - p) = e (1 - e)`, at most half its entropy.

    References
    ----------
    Carratino, Cissé, Jenatton & Vert (2022), On Mixup Regularization, JMLR; theorem 3.
    Paul, Ganguli & Dziugaite (2021), Deep Learning on a Data Diet, NeurIPS, has the EL2N score.
    """

    base: Array
    jacobian: Array
    cross: Array
    r2: Array
    r4: Array
    r3: Array | None
    gradient_norm: Array
    curvature_norm: Array
    sensitivity: Array
    trace: Array
    entropy: Array | None
    el2n: Array
    trace_by_entropy: Array | None
    trace_by_el2n: Array | None

    @property
    def r13(self) -> Array:
        """R1 + R3, (n,). Where H is nearly singular they are huge one by one, and their sum is not."""
        return self.jacobian + self.cross

    @property
    def r1(self) -> Array | None:
        r"""R1, (n,), if it was asked for: :math:`\tfrac12 \langle S_{xx}, (J - J_*)^T H_{uu} (J - J_*) \rangle`.

        Here :math:`J_* = H_{uu}^+ S_{yx} S_{xx}^+`, the slope to which mixup draws the model.
        """
        return None if self.r3 is None else self.r13 - self.r3

    @property
    def rows(self) -> Array:
        """The expansion of each row, (n,)."""
        return self.base + self.r13 + self.r2 + self.r4

    @property
    def risk(self) -> float:
        """The expansion of the mixup risk."""
        return float(self.rows.mean())

    @property
    def r2_bound(self) -> Array:
        """Bound of the absolute value of `r2`, (n,)."""
        return 0.5 * self.gradient_norm * self.curvature_norm

    def jacobian_bound(self, by: Hardness = "trace") -> Array:
        """Bound of `jacobian` by the hardness of the rows, (n,).

        Parameters
        ----------
        by : {"trace", "entropy", "el2n"}

        Raises
        ------
        ValueError
            For another name, or one that the family does not have.
        """
        traces = {"trace": self.trace, "entropy": self.trace_by_entropy, "el2n": self.trace_by_el2n}
        if by not in traces:
            raise unknown_name("hardness", by, get_args(Hardness))
        trace = traces[by]
        if trace is None:
            raise ValueError(
                f"only predicted classes bound the trace by {by!r}, for one target of the categorical or Bernoulli "
                "family. Use 'trace'."
            )
        return 0.5 * self.sensitivity * trace

    def plot(self, ax: "Axes | None" = None, *, by: Hardness = "trace") -> "Axes":
        """Draw how strongly the slope of each row is regularised against its hardness, and the bound.

        Parameters
        ----------
        ax : matplotlib Axes, optional
        by : {"trace", "entropy", "el2n"}

        Returns
        -------
        matplotlib Axes
        """
        bound = self.jacobian_bound(by)
        ax = new_axes() if ax is None else ax
        hardness = np.asarray(getattr(self, by))
        ax.plot(hardness, bound, "_", color="0.6", label="bound")
        ax.plot(hardness, self.jacobian, "o", color="C0", markersize=3.5, label="Jacobian term")
        ax.set_xlabel(_HARDNESS[by])
        ax.set_ylabel("penalty of the row")
        ax.legend(frameon=False)
        return ax


def hardness(about: Subject, u: Tensor, hessian: Tensor) -> dict[str, Any]:
    """Measures of how hard a row is at its outputs, (n, U), and what bounds the trace of the Hessian, (n, U, U)."""
    trace = hessian.diagonal(dim1=1, dim2=2).sum(1)
    mean, statistics = about.loss.mean(u), about.loss.statistics(about.label)
    el2n = (mean - statistics).norm(dim=1)
    known: dict[str, Tensor | None] = {"entropy": None, "trace_by_entropy": None, "trace_by_el2n": None}
    family = about.loss.family if isinstance(about.loss, NaturalLoss) and len(about.loss.shape) == 1 else None
    if isinstance(family, (Categorical, Bernoulli)):
        entropy = -torch.xlogy(mean, mean).sum(1)
        if isinstance(family, Bernoulli):
            entropy = entropy - torch.xlogy(1 - mean, 1 - mean).sum(1)
            known |= {"trace_by_entropy": entropy / 2, "trace_by_el2n": el2n * (1 - el2n)}
        else:
            farthest = 2 * (1 - 1 / family.num_classes) ** 0.5
            known |= {"trace_by_entropy": entropy, "trace_by_el2n": el2n * (farthest - el2n)}
        known["entropy"] = entropy
    known |= {"trace": trace, "el2n": el2n}
    return {name: None if one is None else one.detach().double().cpu().numpy() for name, one in known.items()}


__all__ = ["Hardness", "QuadraticExpansion", "hardness"]
