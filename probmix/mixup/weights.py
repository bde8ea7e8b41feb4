"""Laws of the mixing weights."""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from ..random import Uniform

# Below it logits of the weights overflow in float32; the law is that of a fair coin long before.
_SMALLEST_ALPHA = 1e-32


@runtime_checkable
class WeightLaw(Protocol):
    """How much each of the rows of a group counts."""

    def sample(self, shape: tuple[int, ...], uniform: Uniform, order: int = 2) -> Tensor:
        """Draw weights of groups of `order` rows on the simplex: ``uniform(shape).shape + (order,)``."""
        ...


@dataclass(frozen=True)
class BetaWeights:
    r"""Weights :math:`(\lambda, 1 - \lambda)`, :math:`\lambda \sim \mathrm{Beta}(\alpha, \alpha)`, drawn per pair.

    Parameters
    ----------
    alpha : float, at least 1e-32
        Towards 0 the pair collapses onto one of its points (ERM), towards infinity onto the midpoint.

    Notes
    -----
    Drawn in closed form from four uniform numbers, so that any source of them will do and no rejection loop waits for
    the device: Ulrich's formula gives :math:`B \sim \mathrm{Beta}(\alpha + 1, \alpha + 1)`, and with
    :math:`G_\alpha = G_{\alpha+1} U^{1/\alpha}` for Gamma variables the logit of :math:`\lambda` is
    :math:`\mathrm{logit}\,B + (\log U_1 - \log U_2)/\alpha`.

    References
    ----------
    Devroye (1986), Non-Uniform Random Variate Generation, chapters IX.3.5 and IX.4.2.

    Examples
    --------
    >>> import torch
    >>> from probmix.mixup import BetaWeights
    >>> from probmix.random import generator_uniform
    >>> uniform = generator_uniform(torch.Generator().manual_seed(0), torch.device("cpu"))
    >>> BetaWeights(0.5).sample((1000,), uniform).mean(0).round(decimals=1)
    tensor([0.5000, 0.5000])
    """

    alpha: float = 0.2

    def __post_init__(self) -> None:
        if not (math.isfinite(self.alpha) and self.alpha >= _SMALLEST_ALPHA):
            raise ValueError(
                f"`alpha` of BetaWeights must be finite and at least {_SMALLEST_ALPHA:g}; got {self.alpha}. "
                "Use the preset 'erm' for no mixup."
            )

    def sample(self, shape: tuple[int, ...], uniform: Uniform, order: int = 2) -> Tensor:
        if order != 2:
            raise ValueError(f"BetaWeights are weights of pairs; got order={order}.")
        angle, radius, first, second = uniform((*shape, 4)).unbind(-1)
        # twice Ulrich's variable, less one
        centred = torch.cos(2 * torch.pi * angle) * torch.sqrt(-torch.expm1(radius.log() / (self.alpha + 0.5)))
        logit = torch.log((1 + centred) / (1 - centred)) + torch.log(first / second) / self.alpha
        return torch.sigmoid(torch.stack([logit, -logit], -1))
