"""Drawing the groups of rows that are mixed: their partners, and what each row weighs."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..families import Bernoulli, Categorical, Family
from ..random import Uniform
from .config import Mixup
from .graph_partners import GraphPartners
from .partners import PreparedPartners
from .quadratic import Centring
from .strength import strength
from .weights import WeightLaw


def draw_weights(
    mixup: Mixup, shape: tuple[int, ...], uniform: Uniform, distances: Callable[[], Tensor]
) -> tuple[Tensor, Tensor]:
    """Weights of groups and weights of their labels, two of (*L, *shape, K), one and the same where labels have no law.

    Both laws see the same uniform numbers, and the heavier a row is, the heavier is its label. Under the quadratic
    criterion the first one is the heaviest: with uniform partners it makes no difference which row is whose partner.

    Parameters
    ----------
    mixup : Mixup
    shape : tuple of int
    uniform : callable
    distances : callable
        To the distances of pairs, (*L, *shape), for laws that depend on them.
    """
    numbers = _Recorded(uniform)
    weights = _sample(mixup.weights, shape, numbers, mixup.order, distances)
    if mixup.criterion == "quadratic":
        weights = weights.sort(-1, descending=True).values
    if mixup.label_weights is None:
        return weights, weights
    labels = _sample(mixup.label_weights, shape, numbers.again(), mixup.order, distances)
    # one law may differ between members, and the other not
    weights, labels = torch.broadcast_tensors(weights, labels)
    # two Beta laws that see the same numbers still disagree in one of ten pairs which row is the heavier one
    ranks = weights.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
    return weights, labels.sort(-1, descending=True).values.gather(-1, ranks)


def centring_of(mixup: Mixup) -> Centring | None:
    """What the quadratic criterion needs to know of the laws, if it is the criterion."""
    if mixup.criterion != "quadratic":
        return None
    averages_labels = mixup.label_pool == "linear" and mixup.label_weights is None
    return Centring(strength(mixup.weights, mixup.order).theta_bar, averages_labels=averages_labels)


def _sample(
    law: WeightLaw, shape: tuple[int, ...], uniform: Uniform, order: int, distances: Callable[[], Tensor]
) -> Tensor:
    if getattr(law, "needs_distances", False):
        sample: Callable[..., Tensor] = law.sample
        return sample(shape, uniform, order, distances=distances())
    return law.sample(shape, uniform, order)


def needs_distances(mixup: Mixup) -> bool:
    """Whether a law of the weights depends on how far a row is from its partner."""
    return any(getattr(law, "needs_distances", False) for law in (mixup.weights, mixup.label_weights))


def distances_of_pairs(rows: Tensor, partners: Tensor, row_dim: int) -> Tensor:
    """Euclidean distances: (*L, B, *F) twice -> (*L, B)."""
    differences = rows - partners
    return differences.flatten(row_dim + 1).norm(dim=-1) if differences.ndim > row_dim + 1 else differences.abs()


class _Recorded:
    """Uniform numbers that can be had a second time."""

    def __init__(self, uniform: Uniform, drawn: Sequence[Tensor] = ()) -> None:
        self._uniform, self._known = uniform, list(drawn)
        self.drawn: list[Tensor] = []

    def __call__(self, shape: tuple[int, ...]) -> Tensor:
        known = self._known[:1]
        del self._known[:1]
        is_same = bool(known) and tuple(known[0].shape[known[0].ndim - len(shape) :]) == tuple(shape)
        self.drawn.append(known[0] if is_same else self._uniform(shape))
        return self.drawn[-1]

    def again(self) -> "_Recorded":
        return _Recorded(self._uniform, self.drawn)


def prepare_partners(
    mixup: Mixup, family: Family, x: Sequence[Tensor], y: Sequence[Tensor], rows: Sequence[Tensor] | None = None
) -> PreparedPartners | None:
    """The law of the partners for the rows that train each member, and their numbers; see `PartnerLaw.prepare`."""
    are_classes, law = isinstance(family, Bernoulli | Categorical), mixup.partners
    y = [one.long() if are_classes else one.double() for one in y]
    return law.prepare(x, y, rows) if isinstance(law, GraphPartners) else law.prepare(x, y)


def draw_partners(mixup: Mixup, family: Family, x: Tensor, y: Tensor, uniform: Uniform) -> Tensor:
    """Partners within a batch without member axis: (N, ...) -> (N, K - 1)."""
    prepared, n = prepare_partners(mixup, family, [x], [y]), len(x)
    if prepared is None:
        return torch.stack([uniform((n,)).argsort() for _ in range(mixup.order - 1)], -1)
    rows = torch.arange(n, device=x.device).unsqueeze(0)
    return prepared.draw(rows, lambda shape: uniform(shape).unsqueeze(0), mixup.order - 1).squeeze(0)
