"""What mixup is done: one dataclass, and its presets."""

import math
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from .._names import unknown_name
from ..families import LabelPool
from ..networks import EMBEDDING, EmbeddingKind
from .partners import NearestNeighbours, PartnerLaw, UniformPartners
from .weights import BetaWeights, WeightLaw

Pool = Literal["log-linear", "linear"]
Criterion = Literal["expected-log", "log-expected"]

# Places that are no layers.
ENDS = ("input", "output")


@dataclass(frozen=True)
class Mixup:
    r"""Where inputs meet while a network trains, whom they meet, and what label the meeting has.

    Parameters
    ----------
    at : str, tuple of str, or None
        "output": the natural parameters of the points are pooled log-linearly (ProbMix); densities of a family that is
        no exponential one meet there as a mixture, see `probmix.families.Family`. "input": the inputs are
        averaged (plain mixup). The dotted name of a layer: its outputs are averaged (manifold mixup). In an estimator
        "embedding" is the first hidden layer of the built-in perceptron, whose layers are "hidden.0", "hidden.1", ...;
        of a network of your own it is the output, on which the head sits. For a layer that returns a tuple or a dict
        say which element meets, "rnn[0]". Several places: one is drawn for every batch. None: rows do not meet
        (empirical risk minimisation).
    embedding : {"point", "gaussian", "gaussian-separate", "gaussian-constant"}
        As what rows meet at a layer: as its outputs, or as Gaussian densities around them (M-ProbMix), from which the
        rest of the network sees a draw. The variance comes from a linear layer on the layer's output, from a network of
        its own (M-ProbMix*; the first hidden layer of the built-in perceptron is then half as wide), or is one learned
        number per feature; see `probmix.GaussianEmbedding`.
    pool : {"log-linear", "linear"}
        How the densities of the rows are pooled. The linear pool is the mixture :math:`\sum_k w_k\,p(y \mid x_k)`
        wherever it is taken, since mixing at a layer and at the output commute; its likelihood is the loss.
    weights : WeightLaw
        The law of the mixing weights.
    partners : PartnerLaw
        `UniformPartners()` or `NearestNeighbours(k)`.
    label_pool : {"log-linear", "linear", "average", "calibrated"}
        How the labels are pooled; see `ExponentialFamily.pool_labels` and, for "calibrated", which removes the variance
        bias of the others, `ExponentialFamily.calibrated_label`.
    label_spread : float, non-negative
        Width beta of the label kernel, in training units (standardised targets) and as a variance.
    draws : int, non-negative
        Draws of a Gaussian embedding in the loss; 0 passes the mean of the pooled density on instead.
    criterion : {"expected-log", "log-expected"}
        The mean over draws of the negative log-likelihood, or the negative logarithm of the mean likelihood, which is
        never larger. They agree for one draw.

    Raises
    ------
    ValueError
        For a value that is none of the above, for densities that meet at an end or at several places, and for
        calibrated labels of a linear pool.

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

    def __post_init__(self) -> None:
        if self.at is not None and not (self.layers and all(isinstance(one, str) and one for one in self.layers)):
            raise ValueError(f"`at` must be 'output', 'input', names of layers, or None; got {self.at!r}.")
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
                f"as densities rows meet at one layer, by its name; got at={self.at!r} with "
                f"embedding={self.embedding!r}. Name the layer, or use embedding='point'."
            )
        if self.pool == "linear" and self.label_pool == "calibrated":
            raise ValueError("calibrated labels belong to log-linear pools; choose another `label_pool` or `pool`.")
        if not isinstance(self.draws, int) or isinstance(self.draws, bool) or self.draws < 0:
            raise ValueError(f"`draws` must be a non-negative integer; got {self.draws!r}.")
        if not (math.isfinite(self.label_spread) and self.label_spread >= 0):
            raise ValueError(f"`label_spread` must be non-negative and finite; got {self.label_spread}.")
        for name, value, law in (("weights", self.weights, WeightLaw), ("partners", self.partners, PartnerLaw)):
            if not isinstance(value, law):
                raise TypeError(f"`{name}` must be a {law.__name__}; got {value!r}.")

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers at which rows may be mixed, with the ends; empty if they are not."""
        if self.at is None:
            return ()
        return self.at if isinstance(self.at, tuple) else (self.at,)


_PRESETS = {
    "erm": Mixup(at=None),
    "mixup": Mixup(at="input", label_pool="average"),
    "local-mixup": Mixup(at="input", label_pool="average", partners=NearestNeighbours()),
    "manifold-mixup": Mixup(at=EMBEDDING, label_pool="average"),
    "local-manifold-mixup": Mixup(at=EMBEDDING, label_pool="average", partners=NearestNeighbours()),
    "probmix": Mixup(at="output"),
    "local-probmix": Mixup(at="output", partners=NearestNeighbours()),
    "m-probmix": Mixup(at=EMBEDDING, embedding="gaussian"),
    "local-m-probmix": Mixup(at=EMBEDDING, embedding="gaussian", partners=NearestNeighbours()),
    "m-probmix-star": Mixup(at=EMBEDDING, embedding="gaussian-separate"),
    "local-m-probmix-star": Mixup(at=EMBEDDING, embedding="gaussian-separate", partners=NearestNeighbours()),
}


def preset_names() -> list[str]:
    """Names of the presets, sorted."""
    return sorted(_PRESETS)


def preset(name: str, *, alpha: float | None = None, **changes: Any) -> Mixup:
    """A method of the papers by its name, with changes.

    Parameters
    ----------
    name : str
        "erm"; "mixup", "manifold-mixup", "probmix", "m-probmix", "m-probmix-star"; or one of these five with nearest
        neighbours, "local-mixup", ... In an estimator the manifold and m-probmix presets meet at the embedding (see
        `Mixup`); in a training loop of your own name the layer, ``preset("manifold-mixup", at="encoder.2")``.
    alpha : float, optional
        Short for ``weights=BetaWeights(alpha)``; the presets have alpha = 0.2.
    **changes
        Other fields of `Mixup`.

    Raises
    ------
    ValueError
        For an unknown name, with the near misses, and for a place where rows of "erm" should meet.

    Examples
    --------
    >>> from probmix.mixup import preset
    >>> preset("local-probmix", alpha=0.5, label_pool="calibrated").weights
    BetaWeights(alpha=0.5)
    """
    if name not in _PRESETS:
        raise unknown_name("mixup preset", name, _PRESETS)
    if name == "erm" and changes.get("at") is not None:
        raise ValueError(f"under the preset 'erm' rows meet nowhere; got at={changes['at']!r}. Use another preset.")
    if alpha is not None:
        changes["weights"] = BetaWeights(alpha)
    return replace(_PRESETS[name], **changes)


def as_mixup(mixup: str | Mixup) -> Mixup:
    """A `Mixup` as it is, or the preset of that name."""
    return mixup if isinstance(mixup, Mixup) else preset(mixup)
