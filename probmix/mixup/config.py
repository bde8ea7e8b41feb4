"""What mixup is done: one dataclass."""

import math
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, Literal, get_args

import torch

from .._names import unknown_name
from ..families import LabelPool
from ..networks import EmbeddingKind
from .centred import check_centred
from .partners import PartnerLaw, UniformPartners
from .registry import register_law
from .teacher import Consistency
from .weights import BetaWeights, WeightLaw

Pool = Literal["log-linear", "linear"]
Criterion = Literal["expected-log", "log-expected", "quadratic"]

# Sums of weights that a law draws in float32.
_ROUNDING = 1e-4

# Places that are no layers.
ENDS = ("input", "output")


@register_law
@dataclass(frozen=True)
class Mixup:
    r"""Where rows are mixed while a network trains, with which others, how much of each, and what label they have.

    Parameters
    ----------
    at : str, tuple of str, or None
        "output": the natural parameters of the rows are pooled log-linearly (ProbMix); densities of a family that is
        no exponential one are pooled linearly there, see `probmix.families.Family`. "input": the inputs are averaged
        (plain mixup). The dotted name of a layer: its outputs are averaged (manifold mixup). In an estimator
        "embedding" is the first hidden layer of a built-in network, and of a network of your own the output, on which
        the head sits. Perceptrons have the layers "hidden.0", "hidden.1", ..., a `ResNet` "blocks.0", ..., and
        "input_embedding" is what numbers become. For a layer that returns a tuple or a dict say which element is
        mixed, "rnn[0]". Several layers: one is drawn for every batch. None: rows are not mixed (empirical risk
        minimisation).
    weights : WeightLaw
        The law of the weights of a group.
    partners : PartnerLaw
        With which rows a row is mixed: `UniformPartners()`, `NearestNeighbours(k)`, ...
    label_pool : {"log-linear", "linear", "average", "calibrated"}
        How the labels are pooled; see `ExponentialFamily.pool_labels` and, for "calibrated", which removes the variance
        bias of the others, `ExponentialFamily.calibrated_label`.
    label_spread : float, non-negative
        Width beta of the label kernel, in training units (standardised targets) and as a variance.
    embedding : {"point", "gaussian", "gaussian-separate", "gaussian-constant"}
        As what rows are mixed at a layer: as its outputs, or as Gaussian densities around them (M-ProbMix), from which
        the rest of the network sees a draw. The variance comes from a linear layer on the layer's output, from a
        network of its own (M-ProbMix*; the first hidden layer of a built-in perceptron is then half as wide), or is
        one learned number per feature; see `probmix.GaussianEmbedding`.
    pool : {"log-linear", "linear"}
        How the densities of the rows are pooled. The linear pool is the mixture :math:`\sum_k w_k\,p(y \mid x_k)`
        wherever it is taken, since mixing at a layer and at the output commute; its likelihood is the loss.
    draws : int, non-negative
        Draws of a Gaussian embedding in the loss; 0 passes the mean of the pooled density on instead.
    criterion : {"expected-log", "log-expected", "quadratic"}
        The mean over draws of the negative log-likelihood, or the negative logarithm of the mean likelihood, which is
        never larger; they agree for one draw. "quadratic" is approximate mixup, at the input and for exponential
        families: the risk to second order around rows that are moved towards their mean, without second derivatives of
        the network; with ``label_pool="linear"`` it is that of Carratino et al.
    order : int, at least 2
        How many rows are mixed, K: a row and its K - 1 partners.
    label_weights : WeightLaw, optional
        The law of the weights with which labels are pooled; by default they are those of the rows. Both laws see the
        same uniform numbers, and the heavier a row is, the heavier is its label.
    clean : float, at least 0 and below 1
        Share of the loss of the rows as they are in the whole (RegMixup). At the output it costs no second pass.
    until : float in (0, 1] or "validation", optional
        How long rows are mixed; afterwards members train on rows as they are (early-stopped mixup). A share of
        ``max_epochs``; or until a member's validation loss has not gained for ``patience`` epochs, after which it has
        as many to gain anew. By default to the end.
    rescale : bool
        Whether predictions of an estimator take back that rows and labels are drawn towards their means: the network
        sees a row moved towards the mean of the training rows as far as they were in training, and the density that it
        gives is moved away from that of all targets, see `probmix.families.Family.stretch`. Training, and the
        validation loss by which it is stopped, are left as they are. For plain mixup, ``at="input"`` and averaged
        labels; in a loop of your own see `probmix.mixup.Rescaled`.

    unlabelled : Consistency
        What rows without labels are for, ``fit(..., X_unlabelled=)``, and how much they count. They are mixed where the
        others are, at the input if that is nowhere or at the output, with the same weights and any partners.

    Raises
    ------
    ValueError
        For a value that is none of the above, and for settings that have no meaning together: densities that are mixed
        at an end or at several layers, calibrated labels of a linear pool or with weights of their own, a law of pairs
        for larger groups, and any of the last five where rows are not mixed.

    Notes
    -----
    With a linear pool or the log-expected criterion and a latent label (``label_spread > 0``, or the labels "linear" of
    a log-linear pool) the loss is the closed form :math:`-\log\sum_k w_k \exp E[\log p_k(\tilde y)]`, which by
    Jensen's inequality bounds the expected one from above; for a label that is a point they are the same.

    References
    ----------
    El-Laham et al. (2025), Mixup Regularization: A Probabilistic Perspective, UAI; the criteria are in its appendix B.
    Zhang et al. (2018), mixup: Beyond Empirical Risk Minimization, ICLR.
    Verma et al. (2019), Manifold Mixup: Better Representations by Interpolating Hidden States, ICML.
    Pinto et al. (2022), RegMixup: Mixup as a Regularizer Can Surprisingly Improve Accuracy and Out Distribution
    Robustness, NeurIPS.
    Zou et al. (2023), The Benefits of Mixup for Feature Learning, ICML: weights of the labels, and stopping early.
    Verma et al. (2019), Interpolation Consistency Training for Semi-Supervised Learning, IJCAI: `unlabelled`.

    Examples
    --------
    >>> from probmix.mixup import BetaWeights, Mixup
    >>> Mixup(at="output", weights=BetaWeights(0.5), label_pool="calibrated").at
    'output'
    """

    at: str | tuple[str, ...] | None = "output"
    weights: WeightLaw = field(default_factory=BetaWeights)
    partners: PartnerLaw = field(default_factory=UniformPartners)
    label_pool: LabelPool = "log-linear"
    label_spread: float = 0.0
    embedding: EmbeddingKind = "point"
    pool: Pool = "log-linear"
    draws: int = 1
    criterion: Criterion = "expected-log"
    order: int = 2
    label_weights: WeightLaw | None = None
    clean: float = 0.0
    until: float | str | None = None
    rescale: bool = False
    unlabelled: Consistency = field(default_factory=Consistency)

    def __post_init__(self) -> None:
        if self.at is not None and not (self.layers and all(isinstance(one, str) and one for one in self.layers)):
            raise ValueError(
                f"`at` must be 'output', 'input', the name of a layer, a tuple of such names, or None; got {self.at!r}."
            )
        choices: dict[str, tuple[str, Any]] = {
            "label pool": (self.label_pool, LabelPool),
            "embedding": (self.embedding, EmbeddingKind),
            "pool": (self.pool, Pool),
            "criterion": (self.criterion, Criterion),
        }
        for kind, (name, known) in choices.items():
            if name not in get_args(known):
                raise unknown_name(kind, name, get_args(known))
        if self.embedding != "point" and (len(self.layers) != 1 or self.layers[0] in ENDS):
            raise ValueError(
                f"as densities rows are mixed at one layer, by its name; got at={self.at!r} with "
                f"embedding={self.embedding!r}. Name the layer, or use embedding='point'."
            )
        if self.pool == "linear" and self.label_pool == "calibrated":
            raise ValueError("calibrated labels belong to log-linear pools; choose another `label_pool` or `pool`.")
        self._check_numbers()
        self._check_that_rows_are_mixed()
        self._check_laws()
        check_centred(self)

    def _check_numbers(self) -> None:
        for name, least in (("draws", 0), ("order", 2)):
            value = getattr(self, name)
            if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
                rule = "a non-negative integer" if not least else f"an integer of at least {least}"
                raise ValueError(f"`{name}` must be {rule}; got {value!r}.")
            # those of NumPy are saved as Python's
            object.__setattr__(self, name, int(value))
        if not (math.isfinite(self.label_spread) and self.label_spread >= 0):
            raise ValueError(f"`label_spread` must be non-negative and finite; got {self.label_spread}.")
        if not isinstance(self.rescale, bool):
            raise ValueError(f"`rescale` must be True or False; got {self.rescale!r}.")
        if not _is_real(self.clean) or not 0 <= self.clean < 1:
            raise ValueError(
                f"`clean` must be a share of the loss, at least 0 and below 1; got {self.clean!r}. Use the preset "
                "'erm' for clean rows only."
            )
        until: Any = self.until
        if not (until is None or until == "validation" or (_is_real(until) and 0 < until <= 1)):
            raise ValueError(
                f"`until` must be a share of the epochs above 0 and up to 1, 'validation', or None; got {self.until!r}."
            )

    def _check_laws(self) -> None:
        laws: list[tuple[str, Any, type]] = [
            ("weights", self.weights, WeightLaw),
            ("partners", self.partners, PartnerLaw),
        ]
        if self.label_weights is not None:
            laws.append(("label_weights", self.label_weights, WeightLaw))
            if self.label_pool == "calibrated":
                raise ValueError(
                    "calibrated labels have the weights of the rows, and no `label_weights`; leave these out, or "
                    "choose another `label_pool`."
                )
        if any(getattr(law, "is_learned", False) for law in (self.weights, self.label_weights)):
            if self.label_weights is not None:
                raise ValueError("weights are learned for rows and labels alike; leave `label_weights` out.")
            if self.label_pool == "calibrated":
                raise ValueError(
                    "calibrated labels follow the predictions without a gradient, by which weights are learned; choose "
                    "another `label_pool`."
                )
            if self.embedding != "point":
                raise ValueError(
                    f"weights are learned for rows that are mixed as points; got embedding={self.embedding!r}. Use "
                    "'point', or another law."
                )
        if not isinstance(self.unlabelled, Consistency):
            raise TypeError(f"`unlabelled` must be a Consistency; got {self.unlabelled!r}.")
        for name, value, law in laws:
            if not isinstance(value, law):
                raise TypeError(f"`{name}` must be a {law.__name__}; got {value!r}.")
            if law is WeightLaw and (self.order > 2 or not type(value).__module__.startswith(f"{__package__}.")):
                _check_law(name, value, self.order)

    def _check_that_rows_are_mixed(self) -> None:
        if self.at is not None:
            return
        for name, nothing in (("order", 2), ("label_weights", None), ("clean", 0), ("until", None), ("rescale", False)):
            value = getattr(self, name)
            if value != nothing:
                raise ValueError(
                    f"where rows are not mixed, at=None, `{name}` has no meaning; got {value!r}. Leave it out."
                )

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers at which rows may be mixed, with the ends; empty if they are not."""
        if self.at is None:
            return ()
        return self.at if isinstance(self.at, tuple) else (self.at,)


def _is_real(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _check_law(name: str, law: Any, order: int) -> None:
    """Let a law of pairs alone raise, before any work, and one of somebody's own that draws no weights."""
    rows = 3
    distances = {"distances": torch.ones(rows)} if getattr(law, "needs_distances", False) else {}

    def uniform(shape: tuple[int, ...]) -> torch.Tensor:
        return torch.linspace(0.1, 0.9, math.prod(shape)).view(shape)

    drawn = law.sample((rows,), uniform, order, **distances)
    if not isinstance(drawn, torch.Tensor) or drawn.shape[-2:] != (rows, order):
        found = f"shape {tuple(drawn.shape)}" if isinstance(drawn, torch.Tensor) else f"a {type(drawn).__name__}"
        raise ValueError(
            f"`{name}` must draw the {order} weights of every row along a last axis, (*shape, {order}); for shape "
            f"({rows},) {law!r} gives {found}."
        )
    sums = drawn.double().sum(-1)
    if bool((drawn < 0).any()) or not bool(((sums - 1).abs() < _ROUNDING).all()):
        raise ValueError(
            f"`{name}` must draw weights that are not negative and add up to one; {law!r} gives {drawn[0].tolist()}."
        )
