"""Whether mixed points come close to rows of other classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from .._checks import check_real, check_seed
from .._names import unknown_name
from .._numbers import finite_numbers
from ..mixup import BetaWeights, WeightLaw
from ..plots._common import new_axes
from ..random import generator_uniform
from ._layers import Layers
from ._quadrature import check_law

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Metric = Literal["angular", "euclidean"]
# Distances that are held at once.
_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class Intrusion:
    """Distances of mixed points to the nearest row of a class that is none of theirs.

    Attributes
    ----------
    distances : ndarray, (pairs,)
        In radians if angular.
    metric : {"angular", "euclidean"}
    """

    distances: NDArray[np.float64]
    metric: Metric

    @property
    def min(self) -> float:
        """The smallest of the distances."""
        return float(self.distances.min())

    @property
    def mean(self) -> float:
        """Their mean."""
        return float(self.distances.mean())

    def quantiles(self, levels: Sequence[float]) -> NDArray[np.float64]:
        """Their quantiles at some levels between 0 and 1."""
        quantiles: NDArray[np.float64] = np.quantile(self.distances, levels)
        return quantiles

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw a histogram of the distances, and their least and mean.

        Parameters
        ----------
        ax : matplotlib Axes, optional

        Returns
        -------
        matplotlib Axes
        """
        ax = new_axes() if ax is None else ax
        ax.hist(self.distances, bins="auto" if np.ptp(self.distances) > 0 else 1, color="0.8")
        ax.axvline(self.min, color="C3", linewidth=1.2, label=f"least, {self.min:.3g}")
        ax.axvline(self.mean, color="C0", linewidth=1.2, linestyle="--", label=f"mean, {self.mean:.3g}")
        ax.set_xlabel("distance to another class" + (" (radians)" if self.metric == "angular" else ""))
        ax.set_ylabel("mixed points")
        ax.legend(frameon=False)
        return ax


def intrusion(
    X: Any,
    y: ArrayLike,
    weights: WeightLaw | None = None,
    *,
    metric: Metric = "angular",
    subsample: float = 0.2,
    model: Any = None,
    layer: str | None = None,
    member: int = 0,
    random_state: Any = 0,
) -> Intrusion:
    r"""Check whether mixing makes points that look like rows of a third class, which mixup then teaches wrongly.

    Each pair of the rows that are drawn, one mixed point; its distance is that to the nearest row of a class other than
    the two mixed ones. Pairs of one class count as well, and pairs that leave no other class do not.

    Parameters
    ----------
    X : array-like, (n, ...)
    y : array-like, (n,)
        Classes.
    weights : WeightLaw, optional
        `BetaWeights(1024)` by default: close to the middle of a pair.
    metric : {"angular", "euclidean"}
        The angle between points seen from the origin, :math:`\arccos(a \cdot b / (|a||b|))`, or the distance.
    subsample : float in (0, 1]
        Share of each class that is drawn; at least one row of each.
    model : fitted estimator or nn.Module, optional
        Then rows are those that its network sees, standardised for an estimator, or the outputs of its `layer`.
    layer : str, optional
        For manifold mixup; its name as a place of a `Mixup`.
    member : int
        Which member of an ensemble.
    random_state : int, Generator or None
        Of the rows and weights.

    Returns
    -------
    Intrusion

    Raises
    ------
    ValueError
        If there is only one class, for shares out of range and for unknown names.

    References
    ----------
    Chidambaram, Wang, Hu, Wu & Ge (2022), Towards Understanding the Data Dependency of Mixup-Style Training, ICLR.

    Examples
    --------
    Points 0, 1 and 2 on a line, of classes 1, 2 and 1: the middle of the outer ones is a row of the other class.

    >>> from probmix.theory import intrusion
    >>> result = intrusion([[0.0], [1.0], [2.0]], [1, 2, 1], metric="euclidean", subsample=1.0)
    >>> result.min < 0.1
    True
    """
    if metric not in get_args(Metric):
        raise unknown_name("metric", metric, get_args(Metric))
    check_real("subsample", subsample, 0.0, np.nextafter(1.0, 2.0), open_low=True)
    law, seed = BetaWeights(1024) if weights is None else weights, check_seed(random_state)
    check_law(law)
    classes, label = np.unique(np.asarray(y), return_inverse=True)
    rows = _rows(X, model, layer, member)
    if label.shape != (len(rows),):
        raise ValueError(f"`y` must hold one class for each of the {len(rows)} rows of `X`; got shape {np.shape(y)}.")
    if len(classes) < 2:
        raise ValueError(f"`y` must have at least 2 classes for one to come close to another; got {len(classes)}.")
    random = np.random.default_rng(seed)
    drawn = np.concatenate([_share(np.flatnonzero(label == k), subsample, random) for k in range(len(classes))])
    points, of = rows[torch.from_numpy(drawn)], torch.from_numpy(label[drawn])
    i, j = torch.triu_indices(len(points), len(points), 1)
    uniform = generator_uniform(torch.Generator().manual_seed(seed), torch.device("cpu"))
    w = law.sample((len(i),), uniform).to(points)
    found = []
    size = max(1, _AT_ONCE // len(points))
    for a, b, weight in zip(i.split(size), j.split(size), w.split(size), strict=True):
        mixed = weight[:, :1] * points[a] + weight[:, 1:] * points[b]
        distances = _distances(mixed, points, metric)
        own = (of == of[a].unsqueeze(1)) | (of == of[b].unsqueeze(1))
        nearest = distances.masked_fill(own, torch.inf).amin(1)
        found.append(nearest[nearest < torch.inf])
    nearest = torch.cat(found)
    if not len(nearest):
        raise ValueError(
            "no pair of the rows that were drawn leaves a class of its own to come close to. Raise `subsample`."
        )
    return Intrusion(nearest.numpy(), metric)


def _rows(X: Any, model: Any, layer: str | None, member: int) -> Tensor:
    """Rows as they are mixed, flat, float64, on the CPU."""
    if model is None:
        if layer is not None:
            raise ValueError(f"`layer` is one of a model's; pass `model` with layer={layer!r}.")
        return torch.from_numpy(finite_numbers(X, "X")).flatten(1)
    about = Layers(model, X, member, () if layer is None else (layer,))
    rows = about.x if layer is None else about.outputs(about.x)[layer]
    return rows.flatten(1).double().cpu()


def _share(rows: NDArray[np.intp], share: float, random: np.random.Generator) -> NDArray[np.intp]:
    return np.sort(random.choice(rows, max(1, round(share * len(rows))), replace=False))


def _distances(left: Tensor, right: Tensor, metric: Metric) -> Tensor:
    """Of all rows of one table to those of another, (a, b)."""
    if metric == "euclidean":
        # differences, not the expanded square, which cancels where points are close
        return torch.cdist(left, right, compute_mode="donot_use_mm_for_euclid_dist")
    one, other = (table / table.norm(dim=1, keepdim=True).clamp_min(1e-300) for table in (left, right))
    # accurate for small angles, unlike the arc cosine
    chord = torch.cdist(one, other, compute_mode="donot_use_mm_for_euclid_dist")
    return 2 * torch.arcsin((chord / 2).clamp(max=1))
