"""The exact mixup risk: over all pairs of rows and the law of the weights."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._checks import check_integer
from ..mixup import BetaWeights, WeightLaw
from ..plots._common import new_axes
from ._quadrature import fold_nodes
from ._subject import Subject, subject

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]


@dataclass(frozen=True)
class MixupRisk:
    """The mixup risk of a model and what each row has in it.

    Attributes
    ----------
    rows : ndarray, (n,)
        Expected loss where the row is the one of larger weight; the risk is the mean.
    clean : ndarray, (n,)
        Loss of the row itself.
    """

    rows: Array
    clean: Array

    @property
    def risk(self) -> float:
        """The mixup risk."""
        return float(self.rows.mean())

    @property
    def clean_risk(self) -> float:
        """The empirical risk without mixup."""
        return float(self.clean.mean())

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the risk of each row against its loss without mixup.

        Parameters
        ----------
        ax : matplotlib Axes, optional

        Returns
        -------
        matplotlib Axes
        """
        ax = new_axes() if ax is None else ax
        ax.axline((self.clean_risk, self.clean_risk), slope=1, color="black", linewidth=1.0, linestyle="--")
        ax.plot(self.clean, self.rows, "o", color="C0", markersize=3.5, label="rows")
        ax.plot(self.clean_risk, self.risk, "D", color="C1", label="mean")
        ax.set_xlabel("loss of the row")
        ax.set_ylabel("mixup risk of the row")
        ax.legend(frameon=False)
        return ax


def mixup_risk(
    model: Any,
    X: Any,
    y: Any,
    weights: WeightLaw | None = None,
    *,
    family: Any = None,
    member: int = 0,
    n_nodes: int = 16,
) -> MixupRisk:
    r"""The mixup risk of a model over all pairs of rows, by quadrature in the weight.

    .. math:: \frac1{n^2} \sum_{i, j} E_\lambda\, \ell(\lambda y_i + (1-\lambda) y_j, f(\lambda x_i + (1-\lambda) x_j))

    Labels are mixed in the space of T(y), as in `quadratic_expansion`, which this is the standard of.

    Parameters
    ----------
    model, X, y, family, member
        As in `quadratic_expansion`.
    weights : WeightLaw, optional
        `BetaWeights(1.0)` by default.
    n_nodes : int
        Nodes of the quadrature, from 1/2 to 1.

    Returns
    -------
    MixupRisk

    Notes
    -----
    Takes ``n_nodes * n ** 2`` evaluations of the model, in blocks of bounded memory.

    Examples
    --------
    >>> import torch
    >>> from probmix.theory import mixup_risk
    >>> X = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    >>> result = mixup_risk(torch.nn.Identity(), X, torch.tensor([1.0, 1.0]), family="squared")
    >>> round(result.risk, 6), round(result.clean_risk, 6)  # 1/2 (1/4 of 1 + 1/4 of 0 + 1/2 of 1/3)
    (0.208333, 0.25)
    """
    check_integer("n_nodes", n_nodes, 1)
    about = subject(model, X, y, family, member)
    theta, probabilities = fold_nodes(BetaWeights(1.0) if weights is None else weights, n_nodes)
    n, partners = len(about.x), torch.arange(len(about.x), device=about.x.device)
    total = torch.zeros(n, dtype=torch.float64, device=about.x.device)
    for weight, probability in zip(theta.tolist(), probabilities.tolist(), strict=True):
        total += probability * torch.cat([mixed_loss(about, rows, partners, weight) for rows in blocks(about)])
    with torch.no_grad():
        clean = about.loss.value(about.label, torch.cat([about.function(x) for x in about.x.split(about.at_once())]))
    return MixupRisk(total.cpu().numpy(), clean.cpu().numpy())


def blocks(about: Subject) -> tuple[Tensor, ...]:
    """Row numbers of which all pairs go through the network at once."""
    numbers = torch.arange(len(about.x), device=about.x.device)
    parts: tuple[Tensor, ...] = numbers.split(max(1, about.at_once() // len(about.x)))
    return parts


@torch.no_grad()
def mixed_loss(
    about: Subject, rows: Tensor, partners: Tensor, weight: float, label_weight: float | None = None
) -> Tensor:
    """Mean over all partners of the loss of rows mixed with them, (n,)."""
    own = weight if label_weight is None else label_weight
    x = _mixed(about.x, rows, partners, weight)
    label = _mixed(about.label, rows, partners, own)
    return about.loss.value(label, about.function(x)).view(len(rows), len(partners)).mean(1)


def _mixed(values: Tensor, rows: Tensor, partners: Tensor, weight: float) -> Tensor:
    return (weight * values[rows].unsqueeze(1) + (1 - weight) * values[partners].unsqueeze(0)).flatten(0, 1)
