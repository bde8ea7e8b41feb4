"""How long each member mixes its rows."""

import math
from copy import copy

import torch
from torch import Tensor

from ..mixup import Mixup


class MixingPhase:
    """The epochs in which members mix their rows, for all or until a share of them, or as validation tells.

    Parameters
    ----------
    mixup : Mixup
    max_epochs : int
    patience : int or None
        After so many epochs without a gain a member leaves, where validation tells.
    members : int
    device : torch.device

    Attributes
    ----------
    last : Tensor, (M,), int64
        The last epoch in which a member mixes, as far as it is known.
    ends : bool
        Whether members may leave before the last epoch.
    """

    def __init__(self, mixup: Mixup, max_epochs: int, patience: int | None, members: int, device: torch.device) -> None:
        self._patience = patience if mixup.until == "validation" else None
        last = max_epochs
        if isinstance(mixup.until, (int, float)):
            last = math.ceil(mixup.until * max_epochs)
        self.ends = mixup.until is not None
        self._max_epochs, self._share_ends = max_epochs, None if self._patience is not None else last
        self.last = torch.full((members,), last, dtype=torch.int64, device=device)

    def mixing(self, epoch: int) -> Tensor | bool:
        """Which members mix in an epoch, (M,), or whether all or none do, where that can be said without waiting."""
        if self._share_ends is not None:
            return epoch <= self._share_ends
        mixing = self.last >= epoch
        if mixing.is_cuda:
            return mixing
        return mixing if bool(mixing.any()) else False

    def since(self, epoch: int) -> Tensor | None:
        """The epoch from which patience counts at the earliest: members are stopped after they have left only."""
        return self.last.clamp(max=epoch) if self.ends else None

    def update(self, epoch: int, best_epoch: Tensor) -> None:
        """Let those leave whose validation loss has not gained for long, after an epoch."""
        if self._patience is not None:
            leave = (self.last == self._max_epochs) & (epoch - best_epoch >= self._patience)
            self.last = self.last.masked_fill(leave, epoch)

    def members(self, positions: Tensor) -> "MixingPhase":
        """That of the members at some positions."""
        part = copy(self)
        part.last = self.last[positions]
        return part
