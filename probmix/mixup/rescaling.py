"""Predictions that take back what mixup did to rows and labels."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ..families import Family, get
from ..families.tools import weighted_mean
from .config import Mixup
from .presets import as_mixup
from .strength import strength


@dataclass(frozen=True)
class Rescaling:
    r"""How far mixup has drawn rows and targets towards their means, and where these are.

    A network f that was trained on :math:`\bar x + \bar\theta (x_i - \bar x)` with targets moved likewise predicts, for
    a new row x, the density :math:`f(\bar x + \bar\theta (x - \bar x))`, moved away from the marginal one by
    :math:`1/\bar\theta`; see `probmix.families.Family.stretch`. L is empty or the member axis.

    Attributes
    ----------
    theta_bar : float
        Mean weight of the heaviest row of a group.
    centre : Tensor, (*L, 1, *F)
        Mean of the training rows as they are mixed.
    marginal : Tensor, (*L, 1, [d,] K)
        Parameters of their targets without features.

    References
    ----------
    Carratino, Cissé, Jenatton and Vert (2022), On Mixup Regularization, JMLR 23, for squared errors and logits.
    """

    theta_bar: float
    centre: Tensor
    marginal: Tensor

    def to(self, device: torch.device) -> "Rescaling":
        """The same on a device."""
        return replace(self, centre=self.centre.to(device), marginal=self.marginal.to(device))

    def members(self, members: Tensor) -> "Rescaling":
        """That of some of the members, by number."""
        return replace(self, centre=self.centre[members], marginal=self.marginal[members])

    def params(self, family: Family, evaluate: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
        """Parameters for rows, (*L, N, *F) -> (*L, N, [d,] K), float64, from a function of rows as they are mixed."""
        centre = self.centre.to(rows.dtype)
        eta = evaluate(centre + self.theta_bar * (rows - centre))
        return family.stretch(eta, self.marginal, 1 / self.theta_bar)


class Rescaled(nn.Module):
    r"""A network that was trained with `mixup_loss` under plain mixup, and whose predictions take that back.

    .. math:: \eta(x) = \mathrm{stretch}_{1/\bar\theta}\bigl(f(\bar x + \bar\theta (x - \bar x))\bigr)

    Mixup shows the network rows that are drawn towards their mean, by :math:`\bar\theta` on average, with targets that
    are drawn towards theirs. In an estimator it is the field `rescale` of a `Mixup`.

    Parameters
    ----------
    module : nn.Module or callable
        Inputs (N, ...) to natural parameters (N, [d,] K).
    family : str or Family
    x, y : Tensor, (N, ...) and (N,) or (N, d)
        The training rows; targets in the units in which the network was trained.
    mixup : str or Mixup
        That of the training.
    sample_weight : Tensor, (N,), optional
    exposure : Tensor, (N,), optional
        Of counts. The module predicts for an exposure of one, and so does this.

    Raises
    ------
    ValueError
        For an unknown family or preset, row counts that differ, targets outside the support, and a mixup other than
        that of inputs and averaged labels.

    References
    ----------
    Carratino, Cissé, Jenatton and Vert (2022), On Mixup Regularization, JMLR 23.

    Examples
    --------
    >>> import torch
    >>> from probmix import NaturalHead
    >>> from probmix.mixup import Rescaled, mixup_loss
    >>> x = torch.linspace(-1, 1, 32).unsqueeze(-1)
    >>> network = torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.ReLU(), NaturalHead("gaussian", 8))
    >>> mixup_loss(network, "gaussian", x, 2 * x.squeeze(-1), "mixup").backward()  # and so on
    >>> Rescaled(network, "gaussian", x, 2 * x.squeeze(-1), "mixup")(x).shape
    torch.Size([32, 2])
    """

    centre: Tensor
    marginal: Tensor

    def __init__(
        self,
        module: Callable[[Tensor], Tensor],
        family: str | Family,
        x: Tensor,
        y: Tensor,
        mixup: str | Mixup = "mixup",
        sample_weight: Tensor | None = None,
        exposure: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.family = get(family)
        self.theta_bar = strength(replace(as_mixup(mixup), rescale=True)).theta_bar
        for name, rows in (("y", y), ("sample_weight", sample_weight), ("exposure", exposure)):
            if rows is not None and (rows.ndim == 0 or len(rows) != len(x)):
                raise ValueError(f"`{name}` must have as many rows as `x`, {len(x)}; got shape {tuple(rows.shape)}.")
        self.family.check_targets(y)
        self.module = module
        weights = sample_weight
        self.register_buffer("centre", weighted_mean(x.detach(), None if weights is None else _beside(weights, x), 0))
        if exposure is not None:
            # the rate of all together: the mean of the single rates, weighted by exposure
            y = y / _beside(exposure, y)
            weights = exposure if weights is None else weights * exposure
        weights = None if weights is None else _beside(weights, y)
        self.register_buffer("marginal", self.family.marginal_params(y.detach(), weights))

    def forward(self, x: Tensor) -> Tensor:
        """Parameters for rows: (N, ...) -> (N, [d,] K), in the dtype of the rows, float32 at least."""
        eta = Rescaling(self.theta_bar, self.centre, self.marginal).params(self.family, self.module, x)
        return eta.to(torch.promote_types(x.dtype, torch.float32))


def _beside(of_rows: Tensor, values: Tensor) -> Tensor:
    return of_rows.reshape(-1, *(1,) * (values.ndim - 1))
