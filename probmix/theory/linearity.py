"""How linear each layer of a network is between rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from .._checks import check_integer, check_seed
from ..mixup import BetaWeights, WeightLaw
from ..plots._common import new_axes
from ..random import generator_uniform
from ._layers import Layers
from ._quadrature import check_law

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Linearity:
    """Deviation from linearity of layers.

    Attributes
    ----------
    layers : tuple of str
        In the order of the network; the last one is the output unless layers were named.
    values : ndarray, (L,)
        0 is linear.
    """

    layers: tuple[str, ...]
    values: NDArray[np.float64]

    def __getitem__(self, layer: str) -> float:
        """The value of a layer by its name."""
        return float(self.values[self.layers.index(layer)])

    def plot(self, ax: "Axes | None" = None, *, label: str | None = None) -> "Axes":
        """Draw the deviation from linearity by layer.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Several networks may share them.
        label : str, optional
            Name of the network in a legend.

        Returns
        -------
        matplotlib Axes
        """
        ax = new_axes() if ax is None else ax
        ax.plot(range(len(self.layers)), self.values, "o-", markersize=4, label=label)
        ax.set_xticks(range(len(self.layers)), self.layers, rotation=45, ha="right")
        ax.set_ylim(bottom=0)
        ax.set_ylabel("deviation from linearity")
        if label is not None:
            ax.legend(frameon=False)
        return ax


def linearity(
    model: Any,
    X: Any,
    weights: WeightLaw | None = None,
    *,
    layers: Sequence[str] | None = None,
    member: int = 0,
    order: int = 2,
    n_groups: int = 1024,
    random_state: Any = 0,
) -> Linearity:
    r"""Measure how far each layer is from being linear between rows.

    .. math:: L = \frac{E\,|h(\sum_k w_k x_k) - \sum_k w_k h(x_k)|^2}{E\,|\sum_k w_k h(x_k) - \bar h|^2}

    over groups of K rows drawn at random, with :math:`\bar h` the mean of the layer's output h over all rows. The
    denominator makes it independent of the layer's scale: 0 is linear (affine), 1 is as far off as not to vary at all.

    Parameters
    ----------
    model : fitted DensityRegressor or DensityClassifier, or nn.Module
        Rows of an estimator are mixed in the units its network sees, standardised; the output is natural parameters.
    X : array-like, (n, ...)
    weights : WeightLaw, optional
        `BetaWeights(1.0)` by default.
    layers : sequence of str, optional
        By their names as places of a `Mixup`, in the order wanted; without it all that hold no others, and "output".
    member : int
        Which member of an ensemble.
    order : int
        Rows K of a group.
    n_groups : int
    random_state : int, Generator or None
        Of the groups and weights.

    Returns
    -------
    Linearity

    Raises
    ------
    ValueError
        For an unknown layer, with the near misses.

    References
    ----------
    Chaudhry, Menon, Veit, Jayasumana, Ramalingam & Kumar (2022), When Does Mixup Promote Local Linearity in Learned
    Representations?

    Examples
    --------
    >>> import torch
    >>> from probmix.theory import linearity
    >>> network = torch.nn.Sequential(torch.nn.Identity(), torch.nn.Tanh())
    >>> result = linearity(network, torch.linspace(-2, 2, 20).unsqueeze(1))
    >>> result.layers
    ('0', '1', 'output')
    >>> result["0"] < 1e-6 < 0.01 < result["1"] < 0.2
    True
    """
    check_integer("n_groups", n_groups, 1)
    check_integer("order", order, 2)
    law = BetaWeights(1.0) if weights is None else weights
    check_law(law)
    about = Layers(model, X, member, layers)
    x, device = about.x, about.x.device
    generator = torch.Generator(device).manual_seed(check_seed(random_state))
    uniform = generator_uniform(generator, device)
    rows = torch.randint(len(x), (n_groups, order), generator=generator, device=device)
    drawn = law.sample((n_groups,), uniform, order).double()
    # single precision leaves them a little off the simplex
    drawn = drawn / drawn.sum(-1, keepdim=True)
    mixed = about.outputs(torch.einsum("gk,gk...->g...", drawn.to(x.dtype), x[rows]))
    values = []
    for name, h in about.outputs(x).items():
        average = torch.einsum("gk,gkd->gd", drawn, h[rows])
        spread = (average - h.mean(0)).square().sum(1).mean()
        deviation = (mixed[name] - average).square().sum(1).mean()
        # a layer that is constant is linear
        values.append(float(deviation / spread) if deviation > 0 else 0.0)
    return Linearity(about.names, np.array(values))
