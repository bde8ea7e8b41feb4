"""What mixup is done: one dataclass, and its presets."""

import math
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from .._names import unknown_name
from ..families import LabelPool
from .partners import NearestNeighbours, PartnerLaw, UniformPartners
from .weights import BetaWeights, WeightLaw

# The activations of the first hidden layer of the built-in perceptron, the mixing layer of the papers.
_FIRST_HIDDEN = "mlp.hidden.0"


@dataclass(frozen=True)
class Mixup:
    """Where inputs meet while a network trains, whom they meet, and what label the meeting has.

    Parameters
    ----------
    at : str, tuple of str, or None
        "output": the natural parameters of the points are pooled log-linearly (ProbMix). "input": the inputs are
        averaged (plain mixup). The dotted name of a layer: its outputs are averaged (manifold mixup); the built-in
        perceptron has the layers "mlp.hidden.0", "mlp.hidden.1", ... Several places: one is drawn for every batch.
        None: rows do not meet (empirical risk minimisation).
    weights : WeightLaw
        The law of the mixing weights.
    partners : PartnerLaw
        `UniformPartners()` or `NearestNeighbours(k)`.
    label_pool : {"log-linear", "linear", "average", "calibrated"}
        How the labels are pooled; see `ExponentialFamily.pool_labels` and, for "calibrated", which removes the variance
        bias of the others, `ExponentialFamily.calibrated_label`.
    label_spread : float, non-negative
        Width beta of the label kernel, in training units (standardised targets) and as a variance.

    References
    ----------
    El-Laham et al. (2025), Mixup Regularization: A Probabilistic Perspective, UAI.
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

    def __post_init__(self) -> None:
        if self.at is not None and not (self.places and all(isinstance(one, str) and one for one in self.places)):
            raise ValueError(f"`at` must be 'output', 'input', names of layers, or None; got {self.at!r}.")
        if self.label_pool not in get_args(LabelPool):
            raise unknown_name("label pool", self.label_pool, get_args(LabelPool))
        if not (math.isfinite(self.label_spread) and self.label_spread >= 0):
            raise ValueError(f"`label_spread` must be non-negative and finite; got {self.label_spread}.")
        for name, value, law in (("weights", self.weights, WeightLaw), ("partners", self.partners, PartnerLaw)):
            if not isinstance(value, law):
                raise TypeError(f"`{name}` must be a {law.__name__}; got {value!r}.")

    @property
    def places(self) -> tuple[str, ...]:
        """The places at which rows may meet; empty if they do not."""
        if self.at is None:
            return ()
        return self.at if isinstance(self.at, tuple) else (self.at,)


_PRESETS = {
    "erm": Mixup(at=None),
    "mixup": Mixup(at="input", label_pool="average"),
    "local-mixup": Mixup(at="input", label_pool="average", partners=NearestNeighbours()),
    "manifold-mixup": Mixup(at=_FIRST_HIDDEN, label_pool="average"),
    "local-manifold-mixup": Mixup(at=_FIRST_HIDDEN, label_pool="average", partners=NearestNeighbours()),
    "probmix": Mixup(at="output"),
    "local-probmix": Mixup(at="output", partners=NearestNeighbours()),
}


def preset_names() -> list[str]:
    """Names of the presets, sorted."""
    return sorted(_PRESETS)


def preset(name: str, *, alpha: float | None = None, **changes: Any) -> Mixup:
    """A method of the papers by its name, with changes.

    Parameters
    ----------
    name : str
        "erm", "mixup", "local-mixup", "manifold-mixup", "local-manifold-mixup", "probmix" or "local-probmix". The
        manifold presets meet at the first hidden layer of the built-in perceptron; for a network of your own name the
        layer, ``preset("manifold-mixup", at="encoder.2")``.
    alpha : float, optional
        Short for ``weights=BetaWeights(alpha)``; the presets have alpha = 0.2.
    **changes
        Other fields of `Mixup`.

    Raises
    ------
    ValueError
        For an unknown name, with the near misses.

    Examples
    --------
    >>> from probmix.mixup import preset
    >>> preset("local-probmix", alpha=0.5, label_pool="calibrated").weights
    BetaWeights(alpha=0.5)
    """
    if name not in _PRESETS:
        raise unknown_name("mixup preset", name, _PRESETS)
    if alpha is not None:
        changes["weights"] = BetaWeights(alpha)
    return replace(_PRESETS[name], **changes)


def as_mixup(mixup: str | Mixup) -> Mixup:
    """A `Mixup` as it is, or the preset of that name."""
    return mixup if isinstance(mixup, Mixup) else preset(mixup)
