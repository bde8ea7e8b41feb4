"""How sure a head may be: a floor of its scale that the rows by which it is judged bear out."""

import torch
from torch import Tensor

from ..networks import MemberNetwork
from .data import raw_bounds
from .run import VALIDATION_DRAWS
from .task import Task

# Floors as shares of the targets' own scale. The first is that of training; another is taken where it lowers the loss.
SHARES = (0.001, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3)


@torch.no_grad()
def raise_floors_(network: MemberNetwork, task: Task, size: int) -> None:
    """Raise the least scale of each member to where its validation loss is lowest.

    A network that has fitted its rows is sure of regions where it has seen nothing to the contrary, and one row there
    costs hundreds of nats. Its training rows cannot tell, and the best epoch is chosen by a mean; but the rows held out
    have such rows as well.

    Parameters
    ----------
    network : MemberNetwork
        Trained; its bounds are changed in place.
    task : Task
        Of its members.
    size : int
        How many members to judge at a time.
    """
    for group in torch.arange(network.n_members, device=task.data.device).split(size):
        part, own = network.members(group).eval(), task.members(group)
        noise = part.draw_noise(own.keys, VALIDATION_DRAWS) if task.has_draws(network) else None
        lowest: Tensor | None = None
        for share in SHARES:
            floor = raw_bounds(own.objective.family, own.data, own.scaler, share)[0]
            part.raw_low.copy_(floor)
            # a network that draws outside training does so alike for all of them
            with part.drawing(int(own.keys[0])):
                loss = own.validation_loss(part, noise)
            if lowest is None:
                lowest, best = loss, floor
                continue
            lower = loss < lowest
            lowest = torch.where(lower, loss, lowest)
            best = torch.where(lower.view(-1, *[1] * (floor.ndim - 1)), floor, best)
        network.raw_low[group] = best
