"""The share of the marginal distribution in a stack, so that no target is much less likely than without features."""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pyro.distributions as dist
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..distributions import Independent
from ..families import Family
from ..mixup.losses import with_exposure
from ..training import Rows, TrainingData
from ..training.data import marginal, target_scaler
from .parts import Parts


@dataclass(frozen=True)
class MarginalShare:
    r"""One density for all rows, with a share of 1 / (n + 1) of every prediction of a stack that was fitted to n rows.

    A network that is sure of itself where the rows of the fit do not say otherwise can be wrong by hundreds of nats
    for a single target. A row that is like none of n rows is to be expected once in n + 1, and with this share of the
    marginal density q of the targets

    .. math:: -\log p(y \mid x) \le \log(n + 1) - \log q(y),

    while any target costs at most :math:`\log(1 + 1 / n)` nats more than without it.

    Attributes
    ----------
    family : Family
    eta : Tensor, ([d,] K), float64
        Natural parameters in the user's units, of counts at the mean exposure.
    n_rows : int
    log_units : Tensor, (N,), or None
        Logarithms of the exposures of the user's rows of the fit, in mean exposures.
    log_prob : Tensor, (N,), or None
        What the density says of these rows, NaN for those of weight zero; None where other rows judged.

    References
    ----------
    Hesterberg (1995), Weighted Average Importance Sampling and Defensive Mixture Distributions, Technometrics 37.
    """

    family: Family
    eta: Tensor
    n_rows: int
    log_units: Tensor | None = None
    log_prob: Tensor | None = None

    @classmethod
    def fitted(cls, family: Family, data: TrainingData, parts: Parts | None) -> Self:
        """The density of all rows of a fit, whose exposures are in mean exposures."""
        rows = data.rows
        every = (torch.arange(len(rows)) if rows.weight is None else rows.weight.nonzero().flatten()).unsqueeze(0)
        one = TrainingData(rows, every, every, every)
        scaler = target_scaler(family, one)
        eta = family.rescale(marginal(family, one, scaler).double(), scaler)[0, 0]
        found = cls(family, eta, every.shape[1])
        return found if parts is None else found._judged(rows, parts.place)

    def _judged(self, rows: Rows, place: NDArray[np.intp]) -> Self:
        """With what it says of the user's rows."""
        of = torch.from_numpy(place)
        log_units = None if rows.log_exposure is None else rows.log_exposure[of]
        log_prob = self.dist(len(rows), rows.log_exposure).log_prob(rows.y)[of].masked_fill(of < 0, torch.nan)
        return replace(self, log_units=log_units, log_prob=log_prob)

    @property
    def share(self) -> float:
        """What it has of every prediction."""
        return 1 / (self.n_rows + 1)

    def dist(self, n: int, log_units: Tensor | None) -> dist.TorchDistribution:
        """The distribution of n rows, of exposures that are given as logarithms, (n,) or (1,), in mean exposures."""
        eta = self.eta.expand(n, *self.eta.shape)
        exposed = with_exposure(self.family, eta, None if log_units is None else log_units.to(eta).expand(n))
        distribution = self.family.distribution(exposed)
        return distribution if self.eta.ndim == 1 else Independent(distribution, 1)

    def tensors(self) -> dict[str, Tensor]:
        """Those that there are, by name."""
        found = {"eta": self.eta, "log_units": self.log_units, "log_prob": self.log_prob}
        return {name: tensor for name, tensor in found.items() if tensor is not None}

    def to(self, device: torch.device) -> Self:
        """The same with its tensors on a device."""
        moved: dict[str, Any] = {name: tensor.to(device) for name, tensor in self.tensors().items()}
        return replace(self, **moved)
