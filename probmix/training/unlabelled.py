"""Rows without labels in training: what members say of them, mixed, is drawn to what their teachers say."""

import copy
from collections.abc import Callable
from functools import partial
from random import Random

import torch
from torch import Tensor

from ..mixup.consistency import consistency_losses, mixing_layers
from ..mixup.drawing import distances_of_pairs, draw_weights
from ..mixup.teacher import follow_
from ..mixup.terms import Groups, Inputs
from ..networks import MemberNetwork
from ..pairs import columns
from ..random import KeyedRandom, member_keys
from .task import Task

# Beside the streams of the epochs, which are numbered from 0.
_ORDER_STREAM = -6
# Rows of a member in a step, at most.
_MOST_ROWS = 1024


class UnlabelledRows:
    """The rows without labels of a run, and the teachers of its members.

    In an epoch of so many batches each row is seen once, unless that is more than 1,024 rows for a batch.

    Parameters
    ----------
    task : Task
        Of the members, with such rows.
    network : MemberNetwork
        The students, initialised.
    batches : int
        How many batches an epoch has.
    """

    def __init__(self, task: Task, network: MemberNetwork, batches: int) -> None:
        assert task.data.unlabelled is not None  # the caller asked
        self._task, self._x, self._batches = task, task.data.unlabelled.x, batches
        self._size = min(_MOST_ROWS, -(-len(self._x) // batches))
        self._settings = task.mixup.unlabelled
        self._random = KeyedRandom(task.keys).stream(_ORDER_STREAM)
        # as of the rows with labels, what is mixed with what weight is drawn for all members alike
        self._shared = KeyedRandom(member_keys(1, 1).to(self._x.device))
        self._generator = torch.Generator(self._x.device)
        self._teacher = copy.deepcopy(network).eval().requires_grad_(False)
        self._step = 0

    def members_(self, task: Task, positions: Tensor) -> None:
        """Go on with the members at some positions, whose task is given."""
        self._task, self._teacher = task, self._teacher.members(positions).eval()
        self._random = KeyedRandom(task.keys).stream(_ORDER_STREAM)

    def epoch(self, number: int) -> Callable[[MemberNetwork], Tensor]:
        """The losses of the batches of an epoch, one after the other, summed over members.

        Every call is one batch.
        """
        mixup, size, n = self._task.mixup, self._size, len(self._x)
        weight = self._settings.at((number - 1) / self._task.options.max_epochs)
        order, host = self._random.stream(number).permutations(n), Random(~number)
        uniform = self._shared.stream(number).uniform
        self._generator.manual_seed(~number & (2**63 - 1))
        batch = 0

        def loss(network: MemberNetwork) -> Tensor:
            nonlocal batch
            rows = order[:, (batch * size + torch.arange(size, device=order.device)) % n]
            batch += 1
            x = self._x[rows]
            shifts = tuple(host.randrange(size) for _ in range(mixup.order - 1))
            weights, _ = draw_weights(mixup, (size,), uniform, partial(self._distances, network, x, shifts))
            groups = Groups(host.choice(mixing_layers(mixup)), shifts, weights.expand(len(rows), -1, -1))
            inputs = Inputs(x, 1, self._noise)
            losses = consistency_losses(network, self._teacher, self._task.objective, mixup, inputs, groups)
            return weight * losses.mean(1).sum()

        return loss

    @torch.no_grad()
    def teach(self, network: MemberNetwork) -> None:
        """Move the teachers towards their students, after a step."""
        self._step += 1
        decay, students = self._settings.decay(self._step), network.state
        for name, own in self._teacher.state.items():
            follow_(own, students[name], decay)

    def _distances(self, network: MemberNetwork, x: Tensor, shifts: tuple[int, ...]) -> Tensor:
        own, other = columns(network.distance_features(x), shifts, 1)
        return distances_of_pairs(own, other, 1)

    def _noise(self, shape: torch.Size) -> Tensor:
        return torch.randn(shape, generator=self._generator, device=self._x.device)

    def state(self) -> dict[str, Tensor]:
        """Tensors to store in a checkpoint."""
        return self._teacher.state | {"step": torch.tensor(self._step)}

    @torch.no_grad()
    def load_(self, stored: dict[str, Tensor]) -> None:
        """Take over what `state` returned."""
        self._step = int(stored["step"])
        for name, tensor in self._teacher.state.items():
            tensor.copy_(stored[name])
