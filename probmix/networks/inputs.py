"""The units of inputs: how a column of a table becomes a number of ordinary size, however far out it is."""

from dataclasses import dataclass

from torch import Tensor

# Where a smoothly clipped column ends, in its own units: RealMLP's (Holzmüller, Grinsztajn & Steinwart 2024).
CLIP_LIMIT = 3.0
# Beyond this, squares would overflow in float32, and all that is clipped has long reached the limit.
_FARTHEST = 1e15


@dataclass(frozen=True)
class InputUnits:
    r"""What a network knows of the inputs it was trained on.

    Attributes
    ----------
    loc, scale : Tensor, (M, 1, *F), float64
        Inputs are standardised, :math:`z = (x - loc) / scale`; of length 1 along axes of F that share a unit.
    limit : Tensor, as `loc`
        L of the smooth clip :math:`z / \sqrt{1 + (z/L)^2}`; infinite for none.
    low, high : Tensor, as `loc`
        The training range; infinite where nobody asks for it.
    """

    loc: Tensor
    scale: Tensor
    limit: Tensor
    low: Tensor
    high: Tensor


def smooth_clip(z: Tensor, limit: Tensor) -> Tensor:
    r"""Map numbers smoothly to (-limit, limit): :math:`z / \sqrt{1 + (z/L)^2}`, the identity where L is infinite.

    Parameters
    ----------
    z : Tensor, (*B, F)
        Finite or not.
    limit : Tensor, broadcastable against `z`

    Examples
    --------
    >>> import torch
    >>> from probmix.networks.inputs import smooth_clip
    >>> smooth_clip(torch.tensor([0.3, 3.0, 117.0]), torch.tensor(3.0))
    tensor([0.2985, 2.1213, 2.9990])
    """
    z = z.clamp(-_FARTHEST, _FARTHEST)
    return z * (1 + (z / limit).square()).rsqrt()


__all__ = ["CLIP_LIMIT", "InputUnits", "smooth_clip"]
