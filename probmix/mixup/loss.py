"""The loss of a batch, for a network and a training loop of one's own."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from .._precision import at_least_float32
from ..families import Family, get
from ..fusion import Embedding, Noise, fuse_unchecked
from ..networks import EMBEDDING, GaussianEmbedding
from ..pairs import Partners, columns, mix_rows
from ..random import generator_uniform
from .config import Mixup
from .drawing import centring_of, distances_of_pairs, draw_partners, draw_weights
from .losses import Losses
from .objectives import objective
from .presets import as_mixup
from .terms import Groups, Inputs, Term, distinct_weights, group_weights, pool_targets


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
    progress: float | None = None,
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
        A preset name or a `Mixup`. Name the layer of your module: ``preset("m-probmix", at="2")``.
    embedding : callable, optional
        Where rows are mixed as densities: the precision of the layer's output, such as a `GaussianEmbedding`, whose
        parameters the optimiser must have as well. Where they are mixed as points it is not looked at.
    partners : Tensor, (B,) or (B, K - 1), int64, optional
        Row numbers: the first B <= N rows are mixed with these rows; of groups of K (B, K - 1). By default all rows are
        mixed, with partners from the batch. Stack partners from outside the batch under it and name their rows here;
        for a row that is its own partner its own number, by which calibrated labels and weights know it.
    sample_weight : Tensor, (N,), optional
        Non-negative; a group weighs the product of the weights of its rows, each taken once: as often as it would be
        drawn if every row were there as many times as it weighs. (Their mean would pull the fit towards the unweighted
        one.) Where no group has a weight, since by chance none of its rows meets another, their loss is zero.
    exposure : Tensor, (N,), optional
        Positive, for counts: what they were counted over. The module predicts for an exposure of one.
    loss : {"nll", "crps"}
        The expected negative log-likelihood, or the expected CRPS.
    progress : float, optional
        Share of the training that is done, from 0 to 1, for a mixup that ends early, ``until=0.5``.
    generator : torch.Generator, optional
        On the device of `x`. Without it the draws come from torch's own generator.

    Returns
    -------
    Tensor, scalar, differentiable in the parameters of `module`

    Raises
    ------
    ValueError
        For an unknown family, preset, loss or layer, row counts that differ, targets outside the support, densities
        that are mixed without an `embedding` or with a `GaussianEmbedding` of another kind, or an exposure of a family
        that is none of counts.
    TypeError
        If rows are mixed at a layer of something that is no module.

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
    if getattr(mixup.weights, "is_learned", False):
        raise ValueError(
            "weights are learned by the estimators, from rows that judge a step of the network. In a loop of your own "
            "use another law."
        )
    _check_rows(x, y, sample_weight, partners, mixup.order)
    if sample_weight is not None:
        # counts have no mean, and sums of half precision soon overflow
        sample_weight = sample_weight.to(torch.promote_types(sample_weight.dtype, torch.float32))
    family.check_targets(y.detach())
    if partners is not None and mixup.criterion == "quadratic":
        raise ValueError(
            "criterion='quadratic' needs partners that are any rows of the batch alike; leave `partners` out."
        )
    network = Own(module, mixup, embedding)
    log_exposure = None if exposure is None else _checked_exposure(exposure, x)

    def noise(shape: torch.Size) -> Tensor:
        return torch.randn(shape, generator=generator, device=x.device)

    inputs, terms = Inputs(x, 0, noise, log_exposure), []
    is_mixed = mixup.at is not None and not _is_over(mixup, progress)
    layer, rows = None, len(x) if partners is None else len(partners)
    if is_mixed:
        uniform = generator_uniform(generator, x.device)
        if partners is None:
            partners = draw_partners(mixup, family, x, y, uniform)
        partners = partners.view(rows, -1)
        far = partial(distances_within, x, partners)
        weights, of_labels = draw_weights(mixup, (rows,), uniform, far)
        targets = torch.stack(list(columns(y, partners, 0)), -1)
        layers = mixup.layers
        layer = layers[0] if len(layers) == 1 else layers[int(len(layers) * uniform((1,)).item())]
        weight, centring = None, centring_of(mixup)
        if centring is not None:
            centring = replace(centring, row_weight=sample_weight)
        groups = torch.cat([torch.arange(rows, device=x.device).unsqueeze(-1), partners], -1)
        if sample_weight is not None:
            # in units of their mean, as a row that is its own partner counts once and others as a product
            weight = group_weights((sample_weight / sample_weight.mean())[groups], groups, centring)
        label = pool_targets(goal, mixup, targets, of_labels)
        distinct = distinct_weights(weights, groups) if label is None else None
        mixed = Groups(layer, partners, weights, centring)
        terms.append(Term(targets, label, mixed, None, weight, 1 - mixup.clean, distinct))
    if mixup.clean or not is_mixed:
        drawn_at = None if mixup.embedding == "point" else mixup.layers[0]
        weight = None if sample_weight is None else sample_weight[:rows]
        label, share = goal.point_label(y[:rows]), mixup.clean if is_mixed else 1.0
        terms.append(Term(y[:rows].unsqueeze(-1), label, None, drawn_at, weight, share))
    losses = Losses(network, goal, mixup, inputs)
    return torch.stack([term.share * _mean(losses.of(term), term.row_weight) for term in terms]).sum()


def _mean(losses: Tensor, weight: Tensor | None) -> Tensor:
    if weight is None:
        return losses.mean()
    # by chance no row of weight may meet another one, and then there is nothing to learn from a batch
    total = weight.sum()
    return (weight * losses).sum() / torch.where(total > 0, total, 1)


def _is_over(mixup: Mixup, progress: float | None) -> bool:
    """Whether rows are no longer mixed."""
    if mixup.until is None:
        return False
    if mixup.until == "validation":
        raise ValueError(
            "until='validation' is the estimators': a loop of your own knows its validation loss. Pass "
            "preset('erm'), or the same mixup with at=None, once it stops falling."
        )
    if not isinstance(progress, (int, float)) or not 0 <= progress <= 1:
        raise ValueError(
            f"until={mixup.until} needs `progress`, the share of the training that is done, from 0 to 1; got "
            f"{progress!r}."
        )
    return progress >= float(mixup.until)


def distances_within(x: Tensor, partners: Tensor) -> Tensor:
    """Of the rows and their partners, one each: (N, *F), (B, 1) -> (B,)."""
    own, other = columns(x.detach(), partners, 0)
    return distances_of_pairs(own, other, 0)


class Own:
    """A module of the user's, as rows are mixed in it."""

    n_predictions = 1

    def __init__(self, module: Callable[[Tensor], Tensor], mixup: Mixup, embedding: Embedding | None) -> None:
        if mixup.embedding != "point" and embedding is None:
            raise ValueError(
                f"rows that are mixed as densities, embedding={mixup.embedding!r}, need a variance network: pass "
                "`embedding`, such as GaussianEmbedding(features), and its parameters to the optimiser."
            )
        kind = embedding.kind if isinstance(embedding, GaussianEmbedding) else mixup.embedding
        if mixup.embedding not in ("point", kind):
            raise ValueError(
                f"the variance network must be of the kind of the mixup, {mixup.embedding!r}; got one of the kind "
                f"{kind!r}. Pass GaussianEmbedding(features, {mixup.embedding!r}, in_features), or another mixup."
            )
        self._module = module
        self._embedding = None if mixup.embedding == "point" else embedding

    def __call__(self, x: Tensor) -> Tensor:
        return at_least_float32(self._module(x))

    def standardize(self, x: Tensor) -> Tensor:
        return x

    def on_standardized(self, z: Tensor) -> Tensor:
        return self(z)

    def fused(
        self, x: Tensor, place: str, partners: Partners | None, weights: Tensor | None, noise: Noise | None
    ) -> Tensor:
        module = self._module
        if place == "input":
            assert partners is not None  # alone, a row has nothing to mix with
            assert weights is not None
            return self(mix_rows(x, partners, weights))
        if not isinstance(module, nn.Module):
            raise TypeError(
                f"`module` must be an nn.Module for rows to be mixed at its layer {place!r}; got {module!r}."
            )
        if place == EMBEDDING and EMBEDDING not in dict(module.named_modules()):
            raise ValueError(
                "rows are mixed at the embedding, which is a layer only for the networks of an estimator. Name a layer "
                "of yours: preset('m-probmix', at='encoder.2')."
            )
        with fuse_unchecked(module, place, partners, weights, embedding=self._embedding, noise=noise):
            eta: Tensor = module(x)
        return at_least_float32(eta)


def _check_rows(x: Tensor, y: Tensor, sample_weight: Tensor | None, partners: Tensor | None, order: int) -> None:
    if not len(x):
        raise ValueError("`x` must have at least one row, for the loss is their mean; got none. Skip empty batches.")
    for name, rows in (("y", y), ("sample_weight", sample_weight)):
        if rows is not None and (rows.ndim == 0 or len(rows) != len(x)):
            raise ValueError(f"`{name}` must have as many rows as `x`, {len(x)}; got shape {tuple(rows.shape)}.")
    if sample_weight is not None and sample_weight.ndim != 1:
        raise ValueError(f"`sample_weight` must be a vector; got shape {tuple(sample_weight.shape)}.")
    if sample_weight is not None and not bool(((sample_weight >= 0) & sample_weight.isfinite()).all()):
        raise ValueError("`sample_weight` must be finite and not negative.")
    if sample_weight is not None and not bool(sample_weight.sum() > 0):
        raise ValueError("`sample_weight` must leave a row of positive weight; all are zero. Skip such batches.")
    if partners is not None:
        shape = tuple(partners.shape)
        fits = shape[1:] == (order - 1,) or (order == 2 and len(shape) == 1)
        if (
            not fits
            or shape[0] > len(x)
            or partners.dtype != torch.int64
            or bool(((partners < 0) | (partners >= len(x))).any())
        ):
            raise ValueError(
                f"`partners` must be int64 row numbers from 0 to {len(x) - 1}, for at most {len(x)} rows "
                f"{'one' if order == 2 else order - 1} each; got "
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
