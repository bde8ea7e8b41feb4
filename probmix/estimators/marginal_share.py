"""The share of the marginal distribution in a stack, so that no target is much less likely than without features."""

from dataclasses import dataclass, field
from typing import Any, Self

import pyro.distributions as dist
import torch
from torch import Tensor

from ..distributions import Independent
from ..families import Family
from ..mixup.losses import with_exposure
from ..training import Task, TrainingData
from ..training.data import marginal, target_scaler, training_marginal
from .out_of_fold import OutOfFold
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
        That of the candidate with the most weight.
    eta : Tensor, ([d,] K), float64
        Natural parameters in the user's units, of counts at the mean exposure.
    n_rows : int
        Of the fit: of whole weights, which count equal rows, the sum; of others how many are above zero.
    out_of_fold : OutOfFold or None
        What the rows that train a member say of those that it does not know; None where candidates have none.

    References
    ----------
    Hesterberg (1995), Weighted Average Importance Sampling and Defensive Mixture Distributions, Technometrics 37.
    """

    family: Family
    eta: Tensor
    n_rows: int
    out_of_fold: OutOfFold | None = field(default=None, repr=False)

    @classmethod
    def fitted(cls, estimator: Any, task: Task, parts: Parts | None, n_rows: int) -> Self:
        """The density of the targets of a fit, beside a fitted candidate.

        Parameters
        ----------
        estimator : DensityRegressor
            The candidate.
        task : Task
            Of its training, with exposures in mean exposures.
        parts : Parts or None
            None where other rows judge, of which the density knows nothing.
        n_rows : int
        """
        family, data = estimator.family_, task.data
        rows = torch.arange(len(data.rows)) if parts is not None else data.train_rows.unique()
        if data.rows.weight is not None:
            rows = rows[data.rows.weight[rows] > 0]
        every = rows.unsqueeze(0)
        one = TrainingData(data.rows, every, every, every)
        scaler = target_scaler(family, one)
        eta = family.rescale(marginal(family, one, scaler).double(), scaler)[0, 0]
        judged = None if parts is None or not hasattr(estimator, "out_of_fold_") else _judged(estimator, data, parts)
        return cls(family, eta, n_rows, judged)

    @property
    def share(self) -> float:
        """What it has of every prediction."""
        return 1 / (self.n_rows + 1)

    def dist(self, n: int, log_units: Tensor | None = None) -> dist.TorchDistribution:
        """The distribution of n rows, of counts for exposures.

        Parameters
        ----------
        n : int
        log_units : Tensor, (n,) or (1,), optional
            Logarithms of the exposures in mean exposures of the fit, which None stands for.
        """
        eta = self.eta.expand(n, *self.eta.shape)
        exposed = with_exposure(self.family, eta, None if log_units is None else log_units.to(eta).expand(n))
        distribution = self.family.distribution(exposed)
        return distribution if self.eta.ndim == 1 else Independent(distribution, 1)

    def to(self, device: torch.device) -> Self:
        """The same density on a device."""
        return type(self)(self.family, self.eta.to(device), self.n_rows, self.out_of_fold)


def _judged(estimator: Any, data: TrainingData, parts: Parts) -> OutOfFold:
    """What the targets that train a member say of each row that judges it."""
    family, rows = estimator.family_, data.rows
    of_members = family.rescale(training_marginal(family, data, estimator.scaler_).double(), estimator.scaler_)[:, 0]
    # rows one after the other, each by all members that it judges, of which there are as many for every row
    numbers, order = torch.cat(parts.validation).sort(stable=True)
    members = torch.cat([torch.full_like(own, member) for member, own in enumerate(parts.validation)])[order]
    eta = of_members[members].unflatten(0, (len(rows), len(numbers) // len(rows))).movedim(1, 0).unsqueeze(1)
    exposure = None if rows.log_exposure is None else rows.log_exposure.expand(eta.shape[:3])
    eta = with_exposure(family, eta, exposure)
    return OutOfFold.of_rows(eta, estimator._pooled(eta).log_prob(rows.y), parts.place)
