"""Methods by name, and the strengths of mixing that they are tried with."""

from collections.abc import Iterable
from dataclasses import dataclass
from textwrap import fill
from typing import Any, Literal

from .._names import unknown_name
from ..mixup import Mixup, preset, preset_names

# In the order of the paper's tables.
METHODS = (
    "erm",
    "mixup",
    "local-mixup",
    "manifold-mixup",
    "local-manifold-mixup",
    "probmix",
    "local-probmix",
    "m-probmix",
    "local-m-probmix",
    "m-probmix-star",
    "local-m-probmix-star",
)

# Those of other works, and their forms with densities pooled.
MORE_METHODS = (
    "regmixup",
    "c-mixup",
    "early-stopped-mixup",
    "similarity-mixup",
    "meta-mixup",
    "regprobmix",
    "c-probmix",
    "early-stopped-probmix",
    "similarity-probmix",
    "meta-probmix",
)

# A number, or "auto": whichever of the grid is best for the validation rows.
Strength = float | Literal["auto"]
ALPHAS = (0.01, 0.05, 0.1, 0.5, 1.0)
BETAS = (0.0, 0.01)
# Of methods whose works have strengths of their own, the first for any number; none where the law has no alpha.
_OWN_ALPHAS: dict[str, tuple[float | None, ...]] = {
    "regmixup": (10.0, 20.0),
    "regprobmix": (10.0, 20.0),
    "c-mixup": (2.0, 1.0, 0.5),
    "c-probmix": (2.0, 1.0, 0.5),
    "similarity-mixup": (None,),
    "similarity-probmix": (None,),
    "meta-mixup": (None,),
    "meta-probmix": (None,),
}

# Of every protocol.
AUTO = fill(
    f'Strengths: "auto" tries alpha in {{{", ".join(f"{one:g}" for one in ALPHAS)}}} and beta in '
    f"{{{', '.join(f'{one:g}' for one in BETAS)}}}, and for each fit takes what gives the least NLL of the rows "
    "that also choose the epoch; test rows have no part in it. Where it is used the methods that mix are chosen from "
    "several fits, and erm is one fit: a part of any difference is that choice. Methods whose works have strengths of "
    'their own keep them whatever alpha is: regmixup and regprobmix 10 ("auto" tries 10 and 20), c-mixup and c-probmix '
    '2 ("auto" tries 0.5, 1 and 2), and the laws of similarity and meta methods have no alpha. Early-stopped '
    "methods end mixing when the NLL of the rows that choose the epoch has not fallen for a fifth of the epochs, and "
    "training when it has not for as many thereafter.",
    width=118,
)

_POOLS = ("log-linear", "linear")


@dataclass(frozen=True)
class Candidate:
    """A mixup to be tried, with the alpha and beta it was made of; None where it has none."""

    mixup: Mixup
    alpha: float | None
    beta: float | None


def candidates(method: str, alpha: Strength, beta: Strength) -> list[Candidate]:
    """What a method is tried with: one mixup, or for "auto" one for each value of the grid.

    Parameters
    ----------
    method : str
        A preset of `probmix.mixup`, or with a pool as in "m-probmix:linear".
    alpha : float or "auto"
        Mixing weights are Beta(alpha, alpha), but for methods with strengths of their own, which keep them.
    beta : float or "auto"
        Variance of the label kernel, for standardised targets.

    Raises
    ------
    ValueError
        For an unknown name, with the near misses, and for strengths out of range.

    Examples
    --------
    >>> [(one.alpha, one.beta) for one in candidates("probmix", "auto", 0.0)]
    [(0.01, 0.0), (0.05, 0.0), (0.1, 0.0), (0.5, 0.0), (1.0, 0.0)]
    >>> candidates("m-probmix:linear", 0.2, 0.0)[0].mixup.pool
    'linear'
    """
    name, _, pool = method.partition(":")
    if pool and pool not in _POOLS:
        raise unknown_name("pool", pool, _POOLS)
    changes: dict[str, Any] = {"pool": pool} if pool else {}
    if preset(name).at is None:
        return [Candidate(preset(name, **changes), None, None)]
    return [
        Candidate(preset(name, alpha=one, label_spread=other, **changes), one, other)
        for one in _alphas(name, alpha)
        for other in _values("beta", beta, BETAS)
    ]


def _alphas(method: str, alpha: Strength) -> tuple[float | None, ...]:
    values = _values("alpha", alpha, ALPHAS)
    own = _OWN_ALPHAS.get(method)
    if own is None:
        return values
    return own if alpha == "auto" else own[:1]


def _values(name: str, strength: Strength, grid: tuple[float, ...]) -> tuple[float, ...]:
    if strength == "auto":
        return grid
    if isinstance(strength, str):
        raise ValueError(f"`{name}` must be a number or 'auto'; got {strength!r}.")
    return (float(strength),)


def check_methods(methods: Iterable[str], alpha: Strength, beta: Strength) -> tuple[str, ...]:
    """The methods, each once.

    Raises
    ------
    ValueError
        If there are none, or as `candidates` says.
    """
    chosen = tuple(dict.fromkeys(methods))
    if not chosen:
        raise ValueError(f"at least one mixup preset must be named; known are {_listed(preset_names())}.")
    for method in chosen:
        candidates(method, alpha, beta)
    return chosen


def check_names(kind: str, names: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    """The names, each once; a name twice would be the same work twice.

    Raises
    ------
    ValueError
        If there are none, or one is not known, with the near misses.
    """
    known, chosen = list(known), tuple(dict.fromkeys(names))
    if not chosen:
        raise ValueError(f"at least one {kind} must be named; known are {_listed(known)}.")
    for name in chosen:
        if name not in known:
            raise unknown_name(kind, name, known)
    return chosen


def check_positive(**numbers: int) -> None:
    """Raise unless all are integers of at least 1."""
    for name, number in numbers.items():
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            raise ValueError(f"`{name}` must be an integer of at least 1; got {number!r}.")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))
