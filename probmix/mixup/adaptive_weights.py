"""Laws of the weights of groups that depend on the rows: on their distance, or on what the network makes of them."""

import math
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from ..random import Uniform
from .registry import register_law
from .simplex import FoldMoments, dirichlet_fold, symmetric_logit
from .weights import BetaWeights, WeightLaw, check_pairs, fold_moments


@register_law
@dataclass(frozen=True)
class SimilarityWeights:
    r"""Beta weights of pairs that mix the more, the nearer their rows are.

    .. math:: \lambda \sim \mathrm{Beta}(t, t),\qquad t = t_{\max} \exp\Bigl(-\frac{d/\bar d - 1}{2\,\sigma_t^2}\Bigr)

    with d the Euclidean distance of a row from its partner, in standardised features, and its mean over the pairs that
    are drawn together.

    Parameters
    ----------
    t_max : float, positive
        Concentration at the mean distance.
    t_std : float, positive
        How quickly it falls with the distance.

    Notes
    -----
    The concentration is kept between 1e-4 and 1e4: what is nearer is the midpoint, what is farther one of the rows.

    References
    ----------
    Bouniot et al. (2023), Tailoring Mixup to Data for Calibration: the similarity kernel.

    Examples
    --------
    >>> import torch
    >>> from probmix.mixup import SimilarityWeights
    >>> from probmix.random import generator_uniform
    >>> uniform = generator_uniform(torch.Generator().manual_seed(0), torch.device("cpu"))
    >>> far = SimilarityWeights().sample((1000,), uniform, distances=torch.linspace(0.0, 2.0, 1000))
    >>> mixed = far.min(-1).values
    >>> bool(mixed[:300].mean() > 0.4), bool(mixed[-300:].mean() < 0.1)
    (True, True)
    """

    t_max: float = 1.0
    t_std: float = 0.25

    # not a field: what the law asks of whoever draws
    needs_distances = True

    def __post_init__(self) -> None:
        for name in ("t_max", "t_std"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"`{name}` of SimilarityWeights must be positive and finite; got {value}.")

    def sample(
        self, shape: tuple[int, ...], uniform: Uniform, order: int = 2, *, distances: Tensor | None = None
    ) -> Tensor:
        check_pairs(self, order)
        if distances is None:
            raise ValueError("SimilarityWeights depend on `distances` of the pairs; got none.")
        mean = distances.mean(-1, keepdim=True)
        relative = distances / torch.where(mean > 0, mean, torch.ones_like(mean))
        alpha = (math.log(self.t_max) - (relative - 1) / (2 * self.t_std**2)).exp().clamp(1e-4, 1e4)
        numbers = uniform((*shape, 4))
        logit = symmetric_logit(alpha.to(numbers.dtype), numbers)
        return torch.sigmoid(torch.stack([logit, -logit], -1))

    def fold_moments(self, order: int) -> FoldMoments:
        """Of pairs at the mean distance."""
        check_pairs(self, order)
        return dirichlet_fold(self.t_max, order)


@register_law
@dataclass(frozen=True)
class LearnedWeights:
    r"""Weights that are learned batch by batch: those with which a step of the network would have done better.

    From the start the logits of the weights take one step down the gradient of the loss of other rows after a step of
    the network; see `probmix.training.learned`. In estimators these are the validation rows, which then are no longer
    only judges: their loss is a little too good. An epoch costs about four times as much.

    Parameters
    ----------
    start : WeightLaw
        Where the weights start.
    rate : float, positive
        Root mean square of the step of the logits.
    step : float, positive
        Length of the step of the network, as a learning rate of plain gradient descent.

    References
    ----------
    Mai et al. (2021), MetaMixUp: Learning Adaptive Interpolation Policy of MixUp with Metalearning, IEEE TNNLS.
    """

    start: WeightLaw = field(default_factory=partial(BetaWeights, 1.0))
    rate: float = 1.0
    step: float = 0.1

    # not a field: what the law asks of whoever trains
    is_learned = True

    def __post_init__(self) -> None:
        if not isinstance(self.start, WeightLaw) or getattr(self.start, "needs_distances", False):
            raise TypeError(
                f"`start` of LearnedWeights must be a law of weights that needs no distances; got {self.start!r}."
            )
        for name in ("rate", "step"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"`{name}` of LearnedWeights must be positive and finite; got {value}.")

    def sample(self, shape: tuple[int, ...], uniform: Uniform, order: int = 2) -> Tensor:
        return self.start.sample(shape, uniform, order)

    def fold_moments(self, order: int) -> FoldMoments:
        """Of the start."""
        return fold_moments(self.start, order)
