"""Two predicted distributions and their pools."""

from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import Categorical, Distribution

from .. import families
from ..adapters import as_distribution
from ..distributions import atoms, icdf, is_discrete
from ..families import ExponentialFamily
from ..families.tools import check_kind
from ..pooling import linear_pool, log_linear_pool
from ..scores.prediction import predicted_distribution
from ._common import new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

_LABELS = ("first", "second", "linear pool", "log-linear pool")
# Told apart without colour: the points are thin, the pools are heavy.
_LINES: tuple[dict[str, Any], ...] = (
    {"color": "C0", "linestyle": "-.", "linewidth": 1.3},
    {"color": "C1", "linestyle": ":", "linewidth": 1.7},
    {"color": "0.45", "linestyle": "--", "linewidth": 2.0},
    {"color": "black", "linestyle": "-", "linewidth": 2.0},
)
_MARKERS = ("v", "^", "s", "o")
# Mass that is left out on either side of the picture; points of a density, evenly and at its own quantiles.
_TAIL, _EVENLY, _QUANTILES = 1e-3, 401, 101
# With more values than this, stems beside each other cannot be told apart and steps are drawn.
_MOST_STEMS = 15


class FusionDisplay:
    r"""Two densities, their linear pool :math:`w p_1 + (1 - w) p_2` and their log-linear pool
    :math:`p_1^w p_2^{1 - w}/Z`.

    What probabilistic mixup fuses: the linear pool keeps both modes, the log-linear one stays in the family and follows
    the surer of the two. Probabilities of counts and classes are drawn as stems, or as steps where there are many.

    Make it by `from_estimator` or `from_predictions`.

    Parameters
    ----------
    y : ndarray, (k,)
        Where the densities are evaluated.
    densities : dict of str to ndarray, (k,)
        Densities or probabilities of "first", "second", "linear pool" and "log-linear pool".
    weight : float
        Of the first.
    discrete : bool
        Whether these are probabilities.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure or SubFigure

    References
    ----------
    El-Laham et al. (2025), Mixup Regularization: A Probabilistic Perspective, UAI, figure 3.

    Examples
    --------
    >>> import torch
    >>> from matplotlib.figure import Figure
    >>> from probmix.plots import FusionDisplay
    >>> two = torch.distributions.Normal(torch.tensor([0.0, 3.0]), torch.tensor([1.0, 0.5]))
    >>> display = FusionDisplay.from_predictions(two, weight=0.5, ax=Figure().subplots())
    >>> highest = display.densities["log-linear pool"].argmax()
    >>> round(float(display.y[highest]), 2)  # the means weighted by precision, 0.2 * 0 + 0.8 * 3
    2.4
    """

    ax_: "Axes"
    figure_: "Figure | SubFigure"

    def __init__(
        self, y: NDArray[np.float64], densities: dict[str, NDArray[np.float64]], weight: float, discrete: bool
    ) -> None:
        self.y = y
        self.densities = densities
        self.weight = weight
        self.discrete = discrete

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, *, weight: float = 0.5, target_name: str = "y", ax: "Axes | None" = None
    ) -> Self:
        """Draw what a fitted estimator predicts for two rows, and the pools of both.

        Parameters
        ----------
        estimator : fitted model that predicts distributions of an exponential family
            One network or model, since ensembles predict mixtures; of any library that `probmix.adapters.adapt` knows.
        X : array-like, (2, F)
        weight, target_name, ax
            As in `from_predictions`.

        Returns
        -------
        FusionDisplay

        Raises
        ------
        TypeError, ValueError
            As `from_predictions`.
        """
        return cls.from_predictions(predicted_distribution(estimator, X), weight=weight, target_name=target_name, ax=ax)

    @classmethod
    def from_predictions(
        cls,
        prediction: Any,
        *,
        weight: float = 0.5,
        family: str | ExponentialFamily | None = None,
        target_name: str = "y",
        ax: "Axes | None" = None,
    ) -> Self:
        """Draw two distributions and their pools.

        Parameters
        ----------
        prediction : distribution, batch shape (2,), or Tensor, (2, K)
            A distribution of an exponential family, or natural parameters of `family`.
        weight : float
            Weight of the first, between 0 and 1.
        family : str or ExponentialFamily, optional
            For distributions it is found by their class among the registered families.
        target_name : str
            Label of the horizontal axis.
        ax : matplotlib Axes, optional

        Returns
        -------
        FusionDisplay

        Raises
        ------
        TypeError
            If the distribution is of no registered family, or there are natural parameters without a family.
        ValueError
            If there are not two points of one target, or the weight is not between 0 and 1.
        """
        if not 0 <= weight <= 1:
            raise ValueError(f"`weight` must lie between 0 and 1, got {weight}. It is the weight of the first point.")
        with torch.no_grad():
            two, member = _two_points(prediction, family)
            if len(atoms(two)[0]):
                raise ValueError(
                    f"the family {member.name!r} has a probability at zero beside its density, which have no axis in "
                    "common. Draw the positive part, `base_dist` of the predicted distributions."
                )
            weights = torch.tensor([weight, 1 - weight], dtype=torch.float64, device=two.mean.device)
            pool = member.distribution(log_linear_pool(member.natural_params(two).double(), weights))
            y = _grid(two, pool)
            both: Tensor = two.log_prob(y.unsqueeze(-1)).exp()
            found = [*both.unbind(-1), linear_pool(two, weights).log_prob(y).exp(), pool.log_prob(y).exp()]
        arrays = [density.double().cpu().numpy() for density in found]
        densities = dict(zip(_LABELS, arrays, strict=True))
        grid: NDArray[np.float64] = y.double().cpu().numpy()
        return cls(grid, densities, weight, is_discrete(two)).plot(ax, target_name=target_name)

    def plot(self, ax: "Axes | None" = None, *, target_name: str = "y") -> Self:
        """Draw, on new axes if none are given.

        Parameters
        ----------
        ax : matplotlib Axes, optional
        target_name : str
            Label of the horizontal axis.

        Returns
        -------
        self
        """
        ax = new_axes() if ax is None else ax
        weights = (f", weight {self.weight:g}", f", weight {1 - self.weight:g}", "", "")
        stems = self.discrete and len(self.y) <= _MOST_STEMS
        for place, (name, density) in enumerate(self.densities.items()):
            style, label = _LINES[place], name + weights[place]
            if stems:
                x = self.y + 0.15 * (place - 1.5)
                ax.vlines(x, 0, density, colors=style["color"], linewidth=1.4)
                ax.plot(x, density, _MARKERS[place], color=style["color"], markersize=5.5, label=label)
            else:
                ax.plot(self.y, density, drawstyle="steps-mid" if self.discrete else "default", label=label, **style)
        if stems:
            ax.set_xticks(self.y)
        # room for the legend above
        ax.set_ylim(0.0, 1.3 * self._height())
        ax.set_xlabel(target_name)
        ax.set_ylabel("probability" if self.discrete else "density")
        ax.legend(frameon=False, loc="upper center", ncols=2)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _height(self) -> float:
        """Of the highest density; one that has a pole at the end of the support is cut."""
        highest = np.max(list(self.densities.values()), 0)
        margin = (self.y[-1] - self.y[0]) / 100
        inside = highest[(self.y > self.y[0] + margin) & (self.y < self.y[-1] - margin)]
        pole = not self.discrete and highest.argmax() in (0, len(highest) - 1) and highest.max() > 3 * inside.max()
        return float(1.2 * inside.max() if pole else highest.max())


def _two_points(prediction: Any, family: str | ExponentialFamily | None) -> tuple[Distribution, ExponentialFamily]:
    """Two points of one target in float64, and their family."""
    if isinstance(prediction, Tensor):
        if family is None:
            raise TypeError("natural parameters mean nothing without their family. Pass family=, such as 'gaussian'.")
        member = _family(family, prediction)
        eta = prediction.double()
    else:
        distribution = as_distribution(prediction)
        member = _family_of(distribution) if family is None else _family(family, distribution)
        eta = member.natural_params(distribution).double()
    if eta.dim() != 2 or len(eta) != 2:
        raise ValueError(
            f"there must be two points of one target; got the shape {tuple(eta.shape[:-1])}. Pass two rows."
        )
    return member.distribution(eta), member


def _family_of(distribution: Distribution) -> ExponentialFamily:
    tried = []
    for name in families.names():
        try:
            member = _family(name, distribution)
            if member.event_dim:
                # of vectors, which have no picture
                continue
            tried.append(name)
            member.natural_params(distribution)
        except TypeError:
            continue
        return member
    raise TypeError(
        f"{type(distribution).__name__} belongs to no registered exponential family, whose log-linear pools have a "
        f"closed form: {', '.join(tried)}. An ensemble predicts mixtures; draw a single member."
    )


def _family(family: str | ExponentialFamily, prediction: Distribution | Tensor) -> ExponentialFamily:
    """A family by name, for as many classes as the prediction has."""
    options = {}
    if isinstance(family, str) and families.canonical_name(family) == "categorical":
        logits = prediction if isinstance(prediction, Tensor) else check_kind(prediction, Categorical).logits
        options = {"num_classes": logits.shape[-1]}
    member = families.get(family, **options)
    if not isinstance(member, ExponentialFamily):
        raise TypeError(
            f"the family {member.name!r} is no exponential family; its log-linear pools have no closed form."
        )
    return member


def _grid(two: Distribution, pool: Distribution) -> Tensor:
    """Where to evaluate: between the outer quantiles of both points, and finely where one of the three is narrow."""
    levels = torch.linspace(_TAIL, 1 - _TAIL, _QUANTILES, dtype=torch.float64, device=two.mean.device)
    places = torch.cat([icdf(two, levels.unsqueeze(-1)).flatten(), icdf(pool, levels)]).double()
    low, high = places.min(), places.max()
    if isinstance(two, Categorical):
        return torch.arange(two.logits.shape[-1], dtype=torch.float64, device=places.device)
    if is_discrete(two):
        return torch.arange(float(low), float(high) + 1, dtype=torch.float64, device=places.device)
    evenly = torch.linspace(float(low), float(high), _EVENLY, dtype=torch.float64, device=places.device)
    grid: Tensor = torch.cat([evenly, places]).unique()
    return grid
