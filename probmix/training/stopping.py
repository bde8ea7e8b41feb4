"""Early stopping and best weights, member by member."""

import torch
from torch import Tensor


class BestWeights:
    """Keeps each member's best weights, and knows when it has stopped.

    Parameters
    ----------
    parameters : dict of str to Tensor
        Live parameters and buffers with a leading member axis (M, ...).
    patience : int or None
        Epochs without improvement after which a member stops.

    Attributes
    ----------
    best : dict of str to Tensor
    score : Tensor, (M,)
        Lowest validation score so far.
    epoch : Tensor, (M,)
        The epoch of that score, from 1; 0 for the initial weights.
    stopped : Tensor, (M,), bool
    """

    def __init__(self, parameters: dict[str, Tensor], patience: int | None) -> None:
        first = next(iter(parameters.values()))
        members = first.shape[0]
        self._parameters = parameters
        self._patience = patience
        self.best = {name: parameter.detach().clone() for name, parameter in parameters.items()}
        self.score = torch.full((members,), float("inf"), dtype=torch.float64, device=first.device)
        self.epoch = torch.zeros(members, dtype=torch.int64, device=first.device)
        self.stopped = torch.zeros(members, dtype=torch.bool, device=first.device)

    @torch.no_grad()
    def update(self, epoch: int, score: Tensor, since: Tensor | None = None) -> None:
        """Take the score of an epoch, (M,); a member that has stopped keeps what it has, NaN never improves.

        Patience counts from the epochs `since`, (M,), at the earliest.
        """
        improved = (score < self.score) & ~self.stopped
        # where it can be asked without waiting for a GPU
        if improved.is_cuda or bool(improved.any()):
            best = {}
            for name, parameter in self._parameters.items():
                own = improved.view(-1, *[1] * (parameter.ndim - 1))
                best[name] = torch.where(own, parameter.detach(), self.best[name])
            score = torch.where(improved, score.to(self.score.dtype), self.score)
            # all at once, so that whoever interrupts the run finds weights of one epoch
            self.best, self.score, self.epoch = best, score, self.epoch.masked_fill(improved, epoch)
        if self._patience is not None:
            last = self.epoch if since is None else torch.maximum(self.epoch, since)
            self.stopped = self.stopped | (epoch - last >= self._patience)

    def members(self, positions: Tensor, parameters: dict[str, Tensor]) -> "BestWeights":
        """That of the members at some positions, whose live parameters are given."""
        part = BestWeights(parameters, self._patience)
        part.load_({name: tensor[positions] for name, tensor in self.state().items()})
        return part

    def state(self) -> dict[str, Tensor]:
        """Tensors to store in a checkpoint."""
        named = {f"best.{name}": tensor for name, tensor in self.best.items()}
        return named | {"score": self.score, "epoch": self.epoch, "stopped": self.stopped}

    def load_(self, state: dict[str, Tensor]) -> None:
        """Take over what `state` returned."""
        for name, tensor in self.state().items():
            tensor.copy_(state[name])
