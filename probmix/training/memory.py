"""How many members to train as one, and how many groups of them beside each other."""

from dataclasses import replace

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from ..mixup import UniformPartners
from ..networks import MemberNetwork
from ..random import KeyedRandom
from .batches import BatchSource
from .task import Task
from .threads import available_threads
from .unlabelled import UnlabelledRows

# What a step keeps for its backward pass, at most. On a CPU it is to stay in the cache: on 8600 rows, members one after
# the other were twice as quick as 20 at a time. On a GPU it is to fit, beside gradients and whatever else there is.
_CPU_BYTES = 16 << 20
_GPU_SHARE = 4
# What steps beside each other keep, at most, on however many processors.
_BESIDE_BYTES = 1 << 30


def members_at_once(network: MemberNetwork, task: Task) -> int:
    """How many members to train as one, from what the first batch of one of them keeps for its backward pass.

    Parameters
    ----------
    network : MemberNetwork
        Initialised; left as it is.
    task : Task
        Of its members.
    """
    device = task.data.device
    if network.n_members == 1:
        return 1
    if device.type == "cuda":
        budget = torch.cuda.get_device_properties(device).total_memory // _GPU_SHARE
    else:
        budget = _CPU_BYTES
    needed = _kept_bytes(network, task)
    return min(network.n_members, max(1, budget // max(1, needed)))


def groups_beside(network: MemberNetwork, task: Task, size: int, groups: int) -> int:
    """How many groups of members to train beside each other, each by one of torch's threads.

    Parameters
    ----------
    network : MemberNetwork
        Initialised; left as it is.
    task : Task
        Of its members.
    size : int
        Members of a group.
    groups : int
        How many there are.
    """
    beside = min(groups, available_threads())
    # a GPU does one thing after the other
    if beside == 1 or task.data.device.type != "cpu":
        return 1
    return min(beside, max(1, _BESIDE_BYTES // max(1, size * _kept_bytes(network, task))))


def _kept_bytes(network: MemberNetwork, task: Task) -> int:
    """What a step of the first member keeps for its backward pass, in bytes, without its weights."""
    first = torch.zeros(1, dtype=torch.int64, device=task.data.device)
    network, task = network.members(first), task.members(first)
    # whoever the partners are, the numbers are as many; to look for neighbours would take its time
    task = replace(task, mixup=replace(task.mixup, partners=UniformPartners()))
    random = KeyedRandom(task.keys)
    batches = BatchSource(task, network, random)
    weights = {tensor.untyped_storage().data_ptr() for tensor in network.state.values()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            # a part of a larger tensor counts for itself, an expanded one for what it is made of
            size = min(tensor.nbytes, storage.nbytes())
            kept[tensor.data_ptr()] = max(size, kept.get(tensor.data_ptr(), 0))
        # what a function gives and keeps would keep the function, and all before it, for ever
        return tensor.detach()

    network.train()
    with network.drawing(0), saved_tensors_hooks(keep, lambda tensor: tensor):
        batch = next(batches.epoch(1, random))
        # its graph holds what was counted until the end, so that no two tensors can have had the same place
        loss = task.loss(network, batch)
        if task.data.unlabelled is not None:
            loss = loss + UnlabelledRows(task, network, batches.count).epoch(1)(network)
    assert loss.requires_grad
    return sum(kept.values())
