"""Dropout with a member axis, whose draws follow from the keys of the members."""

import torch
from torch import Tensor, nn

from ..random import KeyedRandom

# Four numbers of every 64 random bits.
_STEPS = 1 << 16


class MemberDropout(nn.Module):
    """Sets numbers to zero in training, each with a probability, and divides the others by what is left of one.

    The draws of a member follow from its key, the epoch, and how many numbers came before: a member sees those it would
    see alone, and torch's own generator is left alone. The probability is rounded to a multiple of 2^-16.

    Parameters
    ----------
    share : float in [0, 1)
    n_members : int
        M.

    References
    ----------
    Srivastava et al. (2014), Dropout: A Simple Way to Prevent Neural Networks from Overfitting, JMLR 15.
    """

    keys: Tensor

    def __init__(self, share: float, n_members: int) -> None:
        super().__init__()
        # not all, and not none
        self._dropped = min(max(round(share * _STEPS), 1), _STEPS - 1)
        self.register_buffer("keys", torch.zeros(n_members, dtype=torch.int64), persistent=False)
        self._random: KeyedRandom | None = None

    def begin(self, stream: int, epoch: int) -> None:
        """Begin the draws of an epoch, from a stream of the layer's own."""
        self._random = KeyedRandom(self.keys).stream(stream).stream(epoch)

    def end(self) -> None:
        """End them."""
        self._random = None

    def forward(self, x: Tensor) -> Tensor:
        """In training, of (M * k, N, *F), with k rows of draws for each member; else the same again."""
        if not self.training:
            return x
        if self._random is None:
            raise RuntimeError("dropout draws while `network.drawing(seed, epoch)` lasts; train inside it.")
        count = x[0].numel() * (len(x) // len(self.keys))
        numbers = self._random.bits((-(-count // 4),)).view(torch.int16)[:, :count]
        # zero or one: comparisons are slow to become numbers
        least = self._dropped - _STEPS // 2
        kept = numbers.clamp(least - 1, least).sub_(least - 1).view(x.shape)
        return x * kept.to(x.dtype).mul_(_STEPS / (_STEPS - self._dropped))

    def extra_repr(self) -> str:
        """The probability."""
        return f"{self._dropped / _STEPS:g}"
