"""Unsupervised mixup: predictions for mixed rows without labels are drawn to the pool of a teacher's densities."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from ..families import Family, get
from ..fusion import Embedding
from ..pairs import columns
from ..random import generator_uniform
from .config import ENDS, Mixup
from .drawing import draw_weights
from .loss import Own, distances_within
from .losses import Mixable, check_params, pooled_rows
from .objectives import Objective, objective, sum_targets
from .presets import as_mixup
from .terms import Groups, Inputs, over_predictions, over_targets


def mixing_layers(mixup: Mixup) -> tuple[str, ...]:
    """Where rows without labels are mixed: where the others are, but at the input in place of the output.

    At the output the student would be asked for the very pool of which it is made, and nothing would be learned.
    """
    layers = tuple(layer for layer in mixup.layers if layer != "output")
    return layers or ("input",)


def consistency_losses(
    network: Mixable,
    teacher: Callable[[Tensor], Tensor],
    objective: Objective,
    mixup: Mixup,
    inputs: Inputs,
    groups: Groups,
) -> Tensor:
    r"""Divergence of what a student says of mixed rows from the pool of what its teacher says of each, (\*L, B).

    Parameters
    ----------
    network : Mixable
        The student.
    teacher : callable
        Rows (\*L, N, \*F) to parameters (\*L, N, [d,] K).
    objective : Objective
        The loss, under which the divergence is that of the densities' expected losses.
    mixup : Mixup
    inputs : Inputs
    groups : Groups
        Of the rows, mixed at one of the `mixing_layers`.
    """
    family, settings, row_dim = objective.family, mixup.unlabelled, inputs.row_dim
    groups = groups.for_each(network.n_predictions) if network.n_predictions > 1 else groups
    with torch.no_grad():
        single = teacher(inputs.x).detach()
        if settings.pool == "linear" or not family.pools_log_linearly:
            pooled = torch.stack(list(columns(single, groups.partners, row_dim)), -2)
            weights = groups.weights.to(pooled.dtype)
        else:
            pooled = pooled_rows(family, single, groups.partners, groups.weights, row_dim).unsqueeze(-2)
            weights = torch.ones_like(groups.weights[..., :1])
        weights = over_targets(weights, pooled[..., 0]).expand(pooled.shape[:-1])
        label = objective.density_label(pooled, weights)
        # what the teacher itself would lose: zero is where the student agrees with it
        alone = torch.ones_like(weights[..., :1])
        own = [objective.losses(one, objective.density_label(one.unsqueeze(-2), alone)) for one in pooled.unbind(-2)]
        least = (weights * torch.stack(own, -1)).sum(-1)
    noise = inputs.noise if mixup.draws and groups.layer not in ENDS else None
    eta = network.fused(inputs.x, groups.layer, groups.partners, groups.weights, noise)
    check_params(family, eta, torch.Size([*pooled.shape[:-2], *[0] * family.event_dim]))
    return over_predictions(sum_targets(objective.losses(eta, label) - least, row_dim + 1), network.n_predictions)


def consistency_loss(
    module: Callable[[Tensor], Tensor],
    teacher: Callable[[Tensor], Tensor],
    family: str | Family,
    x: Tensor,
    mixup: str | Mixup = "mixup",
    *,
    embedding: Embedding | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Mean divergence of predictions for mixed rows from the pool of a teacher's densities, for one's own loop.

    .. math:: \frac1B \sum_b \mathrm{KL}\Bigl(\tilde p_b \,\Big\|\, p\bigl(\cdot; f(\tilde u_b)\bigr)\Bigr),\qquad
        \tilde p_b \propto \prod_k p\bigl(\cdot; f_T(u_{j_k(b)})\bigr)^{w_{bk}}

    with :math:`\tilde u` the mixed rows, or the network fed with them from a layer on. Add it to the loss of rows with
    labels, times ``mixup.unlabelled.at(progress)``, and call ``teacher.update(module)`` after each step.

    Parameters
    ----------
    module : nn.Module or callable
        Inputs (N, ...) to parameters (N, [d,] K).
    teacher : callable
        Such as a `Teacher` of the module.
    family : str or Family
    x : Tensor, (N, ...)
        Rows without labels; each is mixed with partners of the batch, whatever the law of the partners of a mixup.
    mixup : str or Mixup
        With the law of the weights, the order, the layers, and how the teacher's densities are pooled, ``unlabelled``.
        Rows are mixed at the input where it says the output: there the student would be asked for its own pool.
    embedding : callable, optional
        As in `mixup_loss`.
    generator : torch.Generator, optional
        On the device of `x`. Without it the draws come from torch's own generator.

    Returns
    -------
    Tensor, scalar, differentiable in the parameters of `module`

    References
    ----------
    Verma et al. (2019), Interpolation Consistency Training for Semi-Supervised Learning, IJCAI; for densities: ours.

    Examples
    --------
    >>> import torch
    >>> from probmix import NaturalHead
    >>> from probmix.mixup import Teacher, consistency_loss, mixup_loss, preset
    >>> network = torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.ReLU(), NaturalHead("gaussian", 8))
    >>> optimizer, mixup = torch.optim.AdamW(network.parameters(), lr=0.01), preset("mixup", alpha=1.0)
    >>> x, y, unlabelled = torch.randn(8, 1), torch.randn(8), torch.randn(64, 1)
    >>> teacher = Teacher(network, mixup.unlabelled)
    >>> for epoch in range(3):
    ...     optimizer.zero_grad()
    ...     loss = mixup_loss(network, "gaussian", x, y, mixup)
    ...     weight = mixup.unlabelled.at(epoch / 3)
    ...     (loss + weight * consistency_loss(network, teacher, "gaussian", unlabelled, mixup)).backward()
    ...     optimizer.step()
    ...     teacher.update(network)
    """
    family, mixup = get(family), as_mixup(mixup)
    if not len(x):
        raise ValueError("`x` must have at least one row, for the loss is their mean; got none. Skip empty batches.")
    uniform = generator_uniform(generator, x.device)
    partners = torch.stack([uniform((len(x),)).argsort() for _ in range(mixup.order - 1)], -1)
    weights, _ = draw_weights(mixup, (len(x),), uniform, partial(distances_within, x, partners))
    layers = mixing_layers(mixup)
    layer = layers[0] if len(layers) == 1 else layers[int(len(layers) * uniform((1,)).item())]

    def noise(shape: torch.Size) -> Tensor:
        return torch.randn(shape, generator=generator, device=x.device)

    groups, inputs = Groups(layer, partners, weights), Inputs(x, 0, noise)
    network = Own(module, mixup, embedding)
    return consistency_losses(network, teacher, objective("nll", family), mixup, inputs, groups).mean()
