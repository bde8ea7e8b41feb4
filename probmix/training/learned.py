"""Weights of rows that are learned while a network trains: one differentiable step of a batch, judged by other rows."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.func import functional_call

from ..mixup import LearnedWeights, Mixup
from ..mixup.losses import Losses, with_exposure
from ..mixup.objectives import Objective, sum_targets
from ..mixup.terms import Inputs, Term, over_predictions, pool_targets
from ..networks import MemberNetwork
from ..random import KeyedRandom
from .task import Batch, Task

# Beside the streams of the epochs, which are numbered from 0.
_JUDGES_STREAM = -5


class Judges:
    """Validation rows of the members, drawn with replacement, by which weights are learned.

    Parameters
    ----------
    task : Task
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._random = KeyedRandom(task.keys).stream(_JUDGES_STREAM)
        counts = [validation for _, validation, _ in task.data.sizes_of_members()]
        self._counts = torch.tensor(counts, device=task.data.device).unsqueeze(1)

    def epoch(self, number: int) -> Callable[[int], tuple[Inputs, Term]]:
        """The source of an epoch: so many rows for a batch, as they are."""
        random = self._random.stream(number)

        def draw(count: int) -> tuple[Inputs, Term]:
            position = (random.uniform((count,)) * self._counts).long().clamp(max=self._counts - 1)
            task, data = self._task, self._task.data
            rows = data.validation_rows.gather(1, position)
            y, weight = task.scaler.transform(data.rows.y[rows]), data.weights(rows)
            inputs = Inputs(data.rows.x[rows], 1, None, data.log_exposures(rows))
            return inputs, Term(y.unsqueeze(-1), task.objective.point_label(y), row_weight=weight)

        return draw


def with_learned_weights(
    network: MemberNetwork, task: Task, batch: Batch, judges: Callable[[int], tuple[Inputs, Term]]
) -> Batch:
    r"""The batch with weights that a step of the network would have done better with.

    With the mean loss :math:`L_m(\theta, w)` of the groups of member m, and :math:`V_m(\theta)` of rows that judge it
    as they are, the weights of each group go from the start w to

    .. math:: \mathrm{softmax}\Bigl(\log w - r\,\frac{g}{\|g\|_2 / \sqrt{B}}\Bigr),\qquad
        g = \frac{\partial}{\partial \log w} V_m\bigl(\theta - s\,\nabla_\theta L_m(\theta, w)\bigr)

    The gradient is divided by its root mean square over the groups, since it is as small as the step s is.

    Parameters
    ----------
    network : MemberNetwork
    task : Task
        With `LearnedWeights` of the rate r and the step s.
    batch : Batch
    judges : callable
        So many rows that judge each member, as they are.

    References
    ----------
    Mai et al. (2021), MetaMixUp: Learning Adaptive Interpolation Policy of MixUp with Metalearning, IEEE TNNLS.
    """
    mixed = next((term for term in batch.terms if term.groups is not None), None)
    if mixed is None or mixed.groups is None:
        return batch
    objective, mixup, law = task.objective, task.mixup, task.mixup.weights
    assert isinstance(law, LearnedWeights)  # the caller has asked
    logits = mixed.groups.weights.clamp(min=torch.finfo(mixed.groups.weights.dtype).tiny).log().requires_grad_()
    trained = {name: tensor for name, tensor in network.named_parameters() if tensor.requires_grad}
    losses = Losses(network, objective, mixup, batch.inputs).of(_weighted(objective, mixup, mixed, logits.softmax(-1)))
    mean = (losses if mixed.row_weight is None else mixed.row_weight * losses).mean(-1).sum()
    gradients = torch.autograd.grad(mean, list(trained.values()), create_graph=True)
    moved = {name: one - law.step * gradient for (name, one), gradient in zip(trained.items(), gradients, strict=True)}
    inputs, term = judges(mixed.targets.shape[1])
    # as they are judged after an epoch, and what the network keeps of its rows is of those that train it
    network.eval()
    of_each, each = term.for_each(network.n_predictions), inputs.for_each(network.n_predictions)
    eta = with_exposure(objective.family, functional_call(network, moved, (inputs.x,)), each.log_exposure)
    assert of_each.label is not None  # of single rows
    judged = over_predictions(sum_targets(objective.losses(eta, of_each.label), 2), network.n_predictions)
    network.train()
    weighted = judged if term.row_weight is None else term.row_weight * judged
    (gradient,) = torch.autograd.grad(weighted.mean(-1).sum(), logits)
    size = gradient.square().mean((-2, -1), keepdim=True).sqrt()
    learned = (logits.detach() - law.rate * gradient / size.clamp(min=torch.finfo(size.dtype).tiny)).softmax(-1)
    # members that no longer mix have all weight on the row itself, and nothing to learn
    learned = torch.where(mixed.groups.weights[..., :1] == 1, mixed.groups.weights, learned)
    terms = [_weighted(objective, mixup, one, learned) if one is mixed else one for one in batch.terms]
    return replace(batch, terms=terms)


def _weighted(objective: Objective, mixup: Mixup, term: Term, weights: Tensor) -> Term:
    """The term with other weights of its groups, and the labels that they give."""
    assert term.groups is not None
    label = pool_targets(objective, mixup, term.targets, weights)
    return replace(term, label=label, groups=replace(term.groups, weights=weights))
