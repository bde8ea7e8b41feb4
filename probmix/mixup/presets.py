"""The methods of the papers, by name."""

from dataclasses import replace
from typing import Any

from .._names import unknown_name
from ..networks import EMBEDDING
from .adaptive_weights import LearnedWeights, SimilarityWeights
from .config import Mixup
from .label_kernel import LabelKernel
from .partners import NearestNeighbours
from .weights import BetaWeights

_MIXUP = Mixup(at="input", label_pool="average")
_PROBMIX = Mixup(at="output")

# What is changed in mixup and in ProbMix alike, by the name in which the word follows.
_CHANGES: dict[str, dict[str, Any]] = {
    "{}": {},
    "local-{}": {"partners": NearestNeighbours()},
    "reg{}": {"weights": BetaWeights(10.0), "clean": 0.5},
    "c-{}": {"weights": BetaWeights(2.0), "partners": LabelKernel()},
    "early-stopped-{}": {"until": "validation"},
    "similarity-{}": {"weights": SimilarityWeights()},
    "meta-{}": {"weights": LearnedWeights()},
}

_PRESETS = {
    "erm": Mixup(at=None),
    "manifold-mixup": Mixup(at=EMBEDDING, label_pool="average"),
    "local-manifold-mixup": Mixup(at=EMBEDDING, label_pool="average", partners=NearestNeighbours()),
    "m-probmix": Mixup(at=EMBEDDING, embedding="gaussian"),
    "local-m-probmix": Mixup(at=EMBEDDING, embedding="gaussian", partners=NearestNeighbours()),
    "m-probmix-star": Mixup(at=EMBEDDING, embedding="gaussian-separate"),
    "local-m-probmix-star": Mixup(at=EMBEDDING, embedding="gaussian-separate", partners=NearestNeighbours()),
    **{
        name.format(word): replace(base, **changes)
        for name, changes in _CHANGES.items()
        for word, base in (("mixup", _MIXUP), ("probmix", _PROBMIX))
    },
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
        neighbours, "local-mixup", ... Other methods come as mixup and as ProbMix: "regmixup" and "regprobmix", with as
        much of the clean loss; "c-mixup" and "c-probmix", with partners of close targets; "early-stopped-mixup" and
        "early-stopped-probmix", which end by validation; "similarity-mixup" and "similarity-probmix", with weights by
        distance; "meta-mixup" and "meta-probmix", with learned weights. In an estimator the manifold and m-probmix
        presets mix at the embedding (see `Mixup`); in a training loop of your own name the layer,
        ``preset("manifold-mixup", at="encoder.2")``.
    alpha : float, optional
        Short for ``weights=BetaWeights(alpha)``; the presets have alpha = 0.2, but for "regmixup" (10) and "c-mixup"
        (2). Not for presets whose weights are no Beta ones.
    **changes
        Other fields of `Mixup`.

    Raises
    ------
    ValueError
        For an unknown name, with the near misses, for an alpha of a preset that has none or beside `weights`, and for a
        place where rows of "erm" should be mixed.

    Examples
    --------
    >>> from probmix.mixup import preset
    >>> preset("local-probmix", alpha=0.5, label_pool="calibrated").weights
    BetaWeights(alpha=0.5)
    >>> preset("regmixup").clean
    0.5

    References
    ----------
    Zhang et al. (2018), Verma et al. (2019) and El-Laham et al. (2025), as in `Mixup`.
    Baena et al. (2022), Preventing Manifold Intrusion with Locality: Local Mixup.
    Pinto et al. (2022), RegMixup: Mixup as a Regularizer Can Surprisingly Improve Accuracy and Out Distribution
    Robustness, NeurIPS.
    Yao et al. (2022), C-Mixup: Improving Generalization in Regression, NeurIPS.
    Zou et al. (2023), The Benefits of Mixup for Feature Learning, ICML.
    Bouniot et al. (2023), Tailoring Mixup to Data for Calibration.
    Mai et al. (2021), MetaMixUp: Learning Adaptive Interpolation Policy of MixUp with Metalearning, IEEE TNNLS.
    """
    if name not in _PRESETS:
        raise unknown_name("mixup preset", name, _PRESETS)
    if name == "erm" and changes.get("at") is not None:
        raise ValueError(f"under the preset 'erm' rows are not mixed; got at={changes['at']!r}. Use another preset.")
    if alpha is not None:
        if "weights" in changes:
            raise ValueError(
                f"`alpha` is short for weights=BetaWeights(alpha); got alpha={alpha} beside weights="
                f"{changes['weights']}. Pass one of both."
            )
        if not isinstance(_PRESETS[name].weights, BetaWeights):
            raise ValueError(
                f"the weights of the preset {name!r} are {_PRESETS[name].weights}, without an `alpha`; got "
                f"alpha={alpha}. Pass `weights`."
            )
        changes["weights"] = BetaWeights(alpha)
    return replace(_PRESETS[name], **changes)


def as_mixup(mixup: str | Mixup) -> Mixup:
    """A `Mixup` as it is, or the preset of that name."""
    return mixup if isinstance(mixup, Mixup) else preset(mixup)
