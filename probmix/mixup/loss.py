"""The loss of a batch, for a network and a training loop of one's own."""

from collections.abc import Callable
from functools import reduce

import torch
from torch import Tensor, nn

from .._precision import at_least_float32
from ..families import Family, get
from ..fusion import Embedding, Noise, fuse_unchecked
from ..networks import EMBEDDING
from ..pairs import Partners, columns, mix_rows
from ..random import Uniform, generator_uniform
from .config import Mixup, as_mixup
from .objectives import objective
from .terms import Groups, Inputs, Losses, Term, pool_targets


def mixup_loss(
    module: Callable[[Tensor], Tensor],
    family: str | Family,
    x: Tensor,
    y: Tensor,
    mixup: str | Mixup = "probmix",
    *,
    embedding: Embedding | None = None,
    partners: Tensor | None = None,
    sample_weight: Tensor | None = None,
    exposure: Tensor | None = None,
    loss: str = "nll",
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Mean loss of a batch under a mixup, for people with their own network and training loop.

    .. math:: \frac{1}{\sum_b \tilde s_b} \sum_b \tilde s_b\, E[-\log p(\tilde y_b \mid \tilde\eta_b)],
        \qquad \tilde s_b = \prod_k s_{bk}

    Parameters
    ----------
    module : nn.Module or callable
        Inputs (N, ...) to natural parameters (N, [d,] K), such as a network that ends in a `NaturalHead`.
    family : str or Family
        The family of those natural parameters.
    x, y : Tensor, (N, ...) and (N,) or (N, d)
        Targets in the units in which the network is trained.
    mixup : str or Mixup
        A preset name or a `Mixup`. Name the layer of your module at which rows meet: ``preset("m-probmix", at="2")``.
    embedding : callable, optional
        Where rows meet as densities: the precision of the layer's output, such as a `GaussianEmbedding`, whose
        parameters the optimiser must have as well. Where they meet as points it is not looked at.
    partners : Tensor, (B,), int64, optional
        Row numbers: the first B <= N rows meet these rows. By default all rows meet and partners are drawn within the
        batch. Stack partners from outside the batch under it and name their rows here.
    sample_weight : Tensor, (N,), optional
        Non-negative; a pair weighs the product of its points' weights, as often as it would be met if every row were
        there as many times as it weighs. (Their mean would pull the fit towards the unweighted one.)
    exposure : Tensor, (N,), optional
        Positive, for counts: what they were counted over. The module predicts for an exposure of one.
    loss : {"nll", "crps"}
        The expected negative log-likelihood, or the expected CRPS.
    generator : torch.Generator, optional
        On the device of `x`. Without it the draws come from torch's own generator.

    Returns
    -------
    Tensor, scalar, differentiable in the parameters of `module`

    Raises
    ------
    ValueError
        For an unknown family, preset, loss or layer, row counts that differ, targets outside the support, densities
        that meet without an `embedding`, or an exposure of a family that is none of counts.
    TypeError
        If rows meet at a layer of something that is no module.

    Examples
    --------
    >>> import torch
    >>> from probmix import NaturalHead
    >>> from probmix.mixup import mixup_loss
    >>> x = torch.linspace(-1, 1, 32).unsqueeze(-1)
    >>> y = torch.poisson(torch.exp(2 * x.squeeze(-1)), generator=torch.Generator().manual_seed(0))
    >>> network = torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.ReLU(), NaturalHead("poisson", 8))
    >>> optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
    >>> for _ in range(3):
    ...     optimizer.zero_grad()
    ...     mixup_loss(network, "poisson", x, y, "probmix").backward()
    ...     optimizer.step()
    """
    family, mixup = get(family), as_mixup(mixup)
    goal = objective(loss, family)
    goal.check(mixup)
    _check_rows(x, y, sample_weight, partners)
    family.check_targets(y.detach())
    network = _Own(module, mixup, embedding)
    log_exposure = None if exposure is None else _checked_exposure(exposure, x)

    def noise(shape: torch.Size) -> Tensor:
        return torch.randn(shape, generator=generator, device=x.device)

    if mixup.at is None:
        rows = len(x) if partners is None else len(partners)
        term = Term(y[:rows].unsqueeze(-1), goal.point_label(y[:rows]))
        weight = None if sample_weight is None else sample_weight[:rows]
    else:
        uniform = generator_uniform(generator, x.device)
        if partners is None:
            partners = draw_partners(mixup, x, y, uniform)
        weights = mixup.weights.sample(tuple(partners.shape), uniform)
        targets = torch.stack(list(columns(y, partners, 0)), -1)
        layers = mixup.layers
        layer = layers[0] if len(layers) == 1 else layers[int(len(layers) * uniform((1,)).item())]
        groups = Groups(layer, partners, weights)
        term = Term(targets, pool_targets(goal, mixup, targets, weights), groups)
        weight = None if sample_weight is None else reduce(torch.mul, columns(sample_weight, partners, 0))
    losses = Losses(network, goal, mixup, Inputs(x, 0, noise, log_exposure)).of(term)
    if weight is None:
        return losses.mean()
    if not bool(weight.sum() > 0):
        raise ValueError("`sample_weight` must leave a row, or a group of rows that are mixed, of positive weight.")
    return (weight * losses).sum() / weight.sum()


class _Own:
    """A module of the user's, as rows meet in it."""

    def __init__(self, module: Callable[[Tensor], Tensor], mixup: Mixup, embedding: Embedding | None) -> None:
        if mixup.embedding != "point" and embedding is None:
            raise ValueError(
                f"rows that meet as densities, embedding={mixup.embedding!r}, need a variance network: pass "
                "`embedding`, such as GaussianEmbedding(features), and its parameters to the optimiser."
            )
        self._module = module
        self._embedding = None if mixup.embedding == "point" else embedding

    def __call__(self, x: Tensor) -> Tensor:
        return at_least_float32(self._module(x))

    def fused(
        self, x: Tensor, place: str, partners: Partners | None, weights: Tensor | None, noise: Noise | None
    ) -> Tensor:
        module = self._module
        if place == "input":
            assert partners is not None  # alone, a row has nothing to mix with
            assert weights is not None
            return module(mix_rows(x, partners, weights))
        if not isinstance(module, nn.Module):
            raise TypeError(f"`module` must be an nn.Module for rows to meet at its layer {place!r}; got {module!r}.")
        if place == EMBEDDING and EMBEDDING not in dict(module.named_modules()):
            raise ValueError(
                "rows meet at the embedding, which is a layer only for the networks of an estimator. Name a layer of "
                "yours: preset('m-probmix', at='encoder.2')."
            )
        with fuse_unchecked(module, place, partners, weights, embedding=self._embedding, noise=noise):
            eta: Tensor = module(x)
        return at_least_float32(eta)


def draw_partners(mixup: Mixup, x: Tensor, y: Tensor, uniform: Uniform) -> Tensor:
    """Partners within a batch without member axis: (N, ...) -> (N,)."""
    law = mixup.partners.prepare([x], [y])
    if law is None:
        return uniform((len(x),)).argsort()
    rows = torch.arange(len(x), device=x.device).unsqueeze(0)
    return law.draw(rows, lambda shape: uniform(shape).unsqueeze(0), 1).view(-1)


def _check_rows(x: Tensor, y: Tensor, sample_weight: Tensor | None, partners: Tensor | None) -> None:
    for name, rows in (("y", y), ("sample_weight", sample_weight)):
        if rows is not None and (rows.ndim == 0 or len(rows) != len(x)):
            raise ValueError(f"`{name}` must have as many rows as `x`, {len(x)}; got shape {tuple(rows.shape)}.")
    if sample_weight is not None and sample_weight.ndim != 1:
        raise ValueError(f"`sample_weight` must be a vector; got shape {tuple(sample_weight.shape)}.")
    if sample_weight is not None and not bool((sample_weight >= 0).all()):
        raise ValueError("`sample_weight` must be non-negative.")
    if partners is not None:
        vector = partners.ndim == 1 and len(partners) <= len(x) and partners.dtype == torch.int64
        if not vector or bool(((partners < 0) | (partners >= len(x))).any()):
            raise ValueError(
                f"`partners` must be an int64 vector of at most {len(x)} row numbers from 0 to {len(x) - 1}; got "
                f"{partners.dtype} of shape {tuple(partners.shape)}. Stack partners from outside the batch under `x`."
            )


def _checked_exposure(exposure: Tensor, x: Tensor) -> Tensor:
    """The logarithm of exposures, (N,)."""
    if exposure.shape != (len(x),) or not bool((exposure > 0).all() & exposure.isfinite().all()):
        raise ValueError(
            f"`exposure` must hold a positive finite number for each of the {len(x)} rows of `x`; got shape "
            f"{tuple(exposure.shape)} and a least value of {exposure.min().item() if exposure.numel() else 'nothing'}."
        )
    return exposure.double().log()
