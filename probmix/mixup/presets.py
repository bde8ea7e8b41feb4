"""The methods of the papers, by name."""

from dataclasses import replace
from typing import Any

from .._names import unknown_name
from ..networks import EMBEDDING
from .config import Mixup
from .partners import NearestNeighbours
from .weights import BetaWeights

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
        neighbours, "local-mixup", ... In an estimator the manifold and m-probmix presets mix at the embedding (see
        `Mixup`); in a training loop of your own name the layer, ``preset("manifold-mixup", at="encoder.2")``.
    alpha : float, optional
        Short for ``weights=BetaWeights(alpha)``; the presets have alpha = 0.2.
    **changes
        Other fields of `Mixup`.

    Raises
    ------
    ValueError
        For an unknown name, with the near misses, and for a place where rows of "erm" should be mixed.

    Examples
    --------
    >>> from probmix.mixup import preset
    >>> preset("local-probmix", alpha=0.5, label_pool="calibrated").weights
    BetaWeights(alpha=0.5)
    """
    if name not in _PRESETS:
        raise unknown_name("mixup preset", name, _PRESETS)
    if name == "erm" and changes.get("at") is not None:
        raise ValueError(f"under the preset 'erm' rows are not mixed; got at={changes['at']!r}. Use another preset.")
    if alpha is not None:
        changes["weights"] = BetaWeights(alpha)
    return replace(_PRESETS[name], **changes)


def as_mixup(mixup: str | Mixup) -> Mixup:
    """A `Mixup` as it is, or the preset of that name."""
    return mixup if isinstance(mixup, Mixup) else preset(mixup)
