"""The Taylor terms of the mixup risk around the rows, and the adversarial loss that they bound."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..families import Bernoulli, Categorical
from ..mixup import BetaWeights, WeightLaw
from ..plots._common import new_axes
from ._losses import NaturalLoss
from ._quadrature import kept_nodes
from ._subject import Subject, subject
from .exact_risk import blocks, mixed_loss
from .expansion import along

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]


@dataclass(frozen=True)
class AdversarialTerms:
    r"""Second-order Taylor terms of the mixup risk around the rows themselves, (n,) each.

    Attributes
    ----------
    base : ndarray, (n,)
        Loss of the row.
    r1 : ndarray, (n,)
        :math:`E[1-\lambda]\, (\nabla_u \ell)^T J (\bar x - x_i)`.
    r2 : ndarray, (n,)
        :math:`\tfrac12 E[(1-\lambda)^2] \langle \Sigma^i, J^T H_{uu} J \rangle`, with
        :math:`\Sigma^i = E_j (x_j - x_i)(x_j - x_i)^T`.
    r3 : ndarray, (n,)
        :math:`\tfrac12 E[(1-\lambda)^2] \langle \Sigma^i, \sum_k (\nabla_u \ell)_k \nabla^2 f_k \rangle`.
    radius : ndarray, (n,), or None
        :math:`\varepsilon_i = E[1-\lambda]\, |\nabla f \cdot (x_i - \bar x)| / |\nabla f|`; for one output, which two
        classes are.
    adversarial : ndarray, (n,), or None
        Adversarial loss in a ball of that radius to second order,
        :math:`\ell + \varepsilon |\ell'| |\nabla f| + \tfrac12 \varepsilon^2 \ell'' |\nabla f|^2`.
    is_bounded : ndarray of bool, (n,), or None
        Where a step to the mean of the rows does not lower the loss, as for rows classified right by a linear model of
        centred rows. There ``base + r1 + r2 >= adversarial``.
    """

    base: Array
    r1: Array
    r2: Array
    r3: Array
    radius: Array | None
    adversarial: Array | None
    is_bounded: NDArray[np.bool_] | None

    @property
    def rows(self) -> Array:
        """The Taylor form of each row, (n,)."""
        return self.base + self.r1 + self.r2 + self.r3

    @property
    def risk(self) -> float:
        """The Taylor form of the mixup risk."""
        return float(self.rows.mean())

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the Taylor form of each row against its adversarial loss, or its loss if there are several outputs.

        Parameters
        ----------
        ax : matplotlib Axes, optional

        Returns
        -------
        matplotlib Axes
        """
        ax = new_axes() if ax is None else ax
        ax.axline((float(self.base.mean()),) * 2, slope=1, color="black", linewidth=1.0, linestyle="--")
        if self.adversarial is None or self.is_bounded is None:
            ax.plot(self.base, self.rows, "o", color="C0", markersize=3.5)
            ax.set_xlabel("loss of the row")
        else:
            mixup = self.base + self.r1 + self.r2
            for mask, style, label in ((self.is_bounded, "o", "bounded"), (~self.is_bounded, "x", "others")):
                ax.plot(self.adversarial[mask], mixup[mask], style, markersize=3.5, label=label)
            ax.set_xlabel("adversarial loss of the row")
            ax.legend(frameon=False)
        ax.set_ylabel("mixup loss of the row")
        return ax


def adversarial_terms(
    model: Any,
    X: Any,
    y: Any,
    weights: WeightLaw | None = None,
    *,
    family: Any = None,
    member: int = 0,
) -> AdversarialTerms:
    r"""Expand the mixup risk around the rows, whose labels are kept, and compare it with an adversarial loss.

    Where labels are mixed linearly and the loss is linear in them, as for every exponential family in its natural
    parameters, the mixup risk with :math:`\lambda \sim \mathrm{Beta}(a, a)` is that with
    :math:`\lambda \sim \mathrm{Beta}(a + 1, a)` and the labels :math:`y_i` kept (`kept_label_risk`). Expanded to second
    order in :math:`1 - \lambda` that gives the terms. `quadratic_expansion` is much the closer of the two: it expands
    around the mean of the perturbation.

    Parameters
    ----------
    model, X, y, family, member
        As in `quadratic_expansion`; squared loss is that of no linear label.
    weights : WeightLaw, optional
        `BetaWeights(1.0)` by default.

    Returns
    -------
    AdversarialTerms

    Raises
    ------
    ValueError
        For squared loss, and for families that are not exponential.

    References
    ----------
    Zhang, Deng, Kawaguchi, Ghorbani & Zou (2021), How Does Mixup Help With Robustness and Generalization?, ICLR;
    lemma 3.1 and theorem 3.1.

    Examples
    --------
    >>> import torch
    >>> from probmix.theory import adversarial_terms
    >>> X = torch.tensor([[-1.0], [-2.0], [1.0], [2.0]], dtype=torch.float64)
    >>> result = adversarial_terms(lambda x: 1.5 * x, X, [0, 0, 1, 1], family="bernoulli")
    >>> bool((result.base + result.r1 + result.r2 >= result.adversarial).all())
    True
    """
    about = _linear_label(subject(model, X, y, family, member))
    lam, p = kept_nodes(BetaWeights(1.0) if weights is None else weights, 64)
    first_moment, second_moment = float(p @ (1 - lam)), float(p @ (1 - lam) ** 2)
    with torch.no_grad():
        u = torch.cat([about.function(x) for x in about.x.split(about.at_once())])
    gradient, hessian = about.loss.mean(u) - about.loss.statistics(about.label), about.loss.hessian(u)
    to_mean = about.x.mean(0) - about.x
    slope, _ = along(about.function, about.x, to_mean)
    r1 = first_moment * (gradient * slope).sum(1)
    r2, r3 = (torch.zeros(len(u), dtype=torch.float64, device=u.device) for _ in range(2))
    for x in about.x:
        jv, second = along(about.function, about.x, x - about.x)
        r2 += torch.einsum("nk,nkl,nl->n", jv, hessian, jv)
        r3 += (gradient * second).sum(1)
    scale = second_moment / (2 * len(u))
    base = about.loss.value(about.label, u)
    attack: dict[str, Any] = dict.fromkeys(("radius", "adversarial", "is_bounded"))
    if u.shape[1] == 1:
        attack = _attack(about, base, gradient[:, 0], hessian[:, 0, 0], slope[:, 0], first_moment)
    return AdversarialTerms(*(one.cpu().numpy() for one in (base, r1, scale * r2, scale * r3)), **attack)


def kept_label_risk(
    model: Any,
    X: Any,
    y: Any,
    weights: WeightLaw | None = None,
    *,
    family: Any = None,
    member: int = 0,
    n_nodes: int = 16,
) -> float:
    r"""The mixup risk in the form that keeps labels: :math:`\lambda \sim \mathrm{Beta}(a + 1, a)`, label :math:`y_i`.

    It equals `mixup_risk`. For any law of weights the density of :math:`\lambda` is the law's own times
    :math:`2 \lambda`.

    Parameters
    ----------
    model, X, y, weights, family, member, n_nodes
        As in `mixup_risk`; squared loss is that of no linear label.

    Examples
    --------
    >>> import torch
    >>> from probmix.theory import kept_label_risk, mixup_risk
    >>> X = torch.linspace(-1, 1, 6, dtype=torch.float64).unsqueeze(1)
    >>> data = torch.tanh, X, [0, 1, 0, 1, 1, 1]
    >>> a, b = kept_label_risk(*data, family="bernoulli"), mixup_risk(*data, family="bernoulli").risk
    >>> abs(a - b) < 1e-12
    True
    """
    about = _linear_label(subject(model, X, y, family, member))
    lam, p = kept_nodes(BetaWeights(1.0) if weights is None else weights, n_nodes)
    partners = torch.arange(len(about.x), device=about.x.device)
    total = 0.0
    for weight, probability in zip(lam.tolist(), p.tolist(), strict=True):
        losses = torch.cat([mixed_loss(about, rows, partners, weight, 1.0) for rows in blocks(about)])
        total += probability * float(losses.mean())
    return total


def _linear_label(about: Subject) -> Subject:
    """The subject, if its loss is linear in the label; two classes become one logit."""
    loss = about.loss
    if not isinstance(loss, NaturalLoss):
        raise ValueError(
            "the label is kept only where the loss is linear in it, which squared loss is not. Use 'family' of a "
            "density, such as 'gaussian', or `quadratic_expansion`."
        )
    if loss.family != Categorical(2) or len(loss.shape) != 1:
        return about
    label = torch.stack([about.label[:, 1], torch.zeros_like(about.label[:, 1])], 1)
    return Subject(lambda x: about.function(x).diff(dim=1), about.x, label, NaturalLoss(Bernoulli(), (1,)))


def _attack(
    about: Subject, base: Tensor, gradient: Tensor, curvature: Tensor, slope: Tensor, moment: float
) -> dict[str, Any]:
    """Radius and adversarial loss for one output, from derivatives of the loss in it and its slope towards the mean."""
    x = about.x.detach().requires_grad_()
    with torch.enable_grad():
        (steepest,) = torch.autograd.grad(about.function(x).sum(), x)
    norm = steepest.flatten(1).double().norm(dim=1)
    radius = torch.where(norm > 0, moment * slope.abs() / norm, 0.0)
    adversarial = base + radius * gradient.abs() * norm + 0.5 * radius.square() * curvature * norm.square()
    found = {"radius": radius, "adversarial": adversarial, "is_bounded": gradient * slope >= 0}
    return {name: one.cpu().numpy() for name, one in found.items()}
