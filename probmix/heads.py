"""From features to natural parameters."""

from torch import Tensor, nn

from ._precision import at_least_float32
from .families import Family, get
from .families.links import soft_bound


class NaturalHead(nn.Module):
    r"""Linear map of features to the natural parameters of a family, :math:`\eta = \mathrm{constrain}(W x + c)`.

    Parameters
    ----------
    family : str or Family
    in_features : int
    num_targets : int, optional
        With several targets d the natural parameters have shape (*B, d, K); without it (*B, K).

    Examples
    --------
    The last layer of any network, with the predicted distribution usable in a Pyro program:

    >>> import pyro, torch
    >>> from probmix import NaturalHead
    >>> network = torch.nn.Sequential(torch.nn.Linear(3, 16), torch.nn.ReLU(), NaturalHead("gamma", 16))
    >>> network(torch.zeros(5, 3)).shape
    torch.Size([5, 2])
    >>> def model(x, y=None):
    ...     with pyro.plate("rows", len(x)):
    ...         return pyro.sample("y", network[-1].family.distribution(network(x)), obs=y)
    >>> model(torch.zeros(5, 3)).shape
    torch.Size([5])
    """

    def __init__(self, family: str | Family, in_features: int, num_targets: int | None = None) -> None:
        super().__init__()
        self.family = get(family)
        self.num_targets = num_targets
        self.linear = nn.Linear(in_features, self.family.num_raw * (num_targets or 1))

    def forward(self, features: Tensor) -> Tensor:
        """Natural parameters: (*B, in_features) -> (*B, K), or (*B, d, K) with `num_targets` d."""
        return natural_params_from(self.linear(features), self.family, self.num_targets)


def natural_params_from(
    raw: Tensor, family: Family, num_targets: int | None, bounds: tuple[Tensor, Tensor] | None = None
) -> Tensor:
    """Split the output of a last layer by target and constrain it: (*B, d num_raw) -> (*B[, d], K).

    With the bounds of `Family.raw_bounds`, broadcastable against (*B[, d], num_raw), it leaves these by half a unit at
    most.
    """
    if num_targets is not None:
        raw = raw.unflatten(-1, (num_targets, family.num_raw))
    if bounds is not None:
        low, high = bounds
        raw = at_least_float32(raw)
        low, high = low.to(raw.dtype), high.to(raw.dtype)
        raw = family.narrowed(soft_bound(raw, low, high), high)
    return family.constrain(raw)


def marginal_bias(family: Family, eta: Tensor, num_targets: int | None) -> Tensor:
    """Bias with which a last layer of zero weights predicts `eta`: (*B[, d], K) -> (*B, d num_raw)."""
    raw = family.unconstrain(eta.double())
    return raw.flatten(-2) if num_targets is not None else raw


__all__ = ["NaturalHead", "marginal_bias", "natural_params_from"]
