"""Transformers of targets, of scikit-learn or of the user's, as monotone maps."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import inf, log
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.preprocessing import FunctionTransformer, PowerTransformer, QuantileTransformer
from torch.distributions import Distribution

from .._told import warn
from ..distributions import atoms, cdf_below, icdf
from ..distributions.parts import device_of, widen
from ..distributions.transformed import MonotoneMap, Transformed

Array = npt.NDArray[np.float64]
Function = Callable[[Array], Array]

# Between these levels of all rows a transform must be monotone, and at so many places it is looked at.
_LEVELS, _PLACES = (1e-9, 1 - 1e-9), 1001
# How well a function and its inverse must agree, relative to the spread of the places.
_TOLERANCE = 1e-6
_HALVINGS = 60
# Of a sum of probabilities.
_ROUNDING = 1e-12
# Share of the mass of a row that is cut off without a word.
_MOST_CUT = 0.01

# The logarithm of the slope, the range of z and that of y, for NumPy's functions.
_KNOWN: dict[Any, tuple[Function, tuple[float, float], tuple[float, float]]] = {
    np.log: (lambda y: -np.log(y), (-inf, inf), (0.0, inf)),
    np.log1p: (lambda y: -np.log1p(y), (-inf, inf), (-1.0, inf)),
    np.log2: (lambda y: -np.log(y) - log(log(2)), (-inf, inf), (0.0, inf)),
    np.log10: (lambda y: -np.log(y) - log(log(10)), (-inf, inf), (0.0, inf)),
    np.sqrt: (lambda y: -np.log(2 * np.sqrt(y)), (0.0, inf), (0.0, inf)),
    np.exp: (lambda y: y, (0.0, inf), (-inf, inf)),
}


def transformed(base: Distribution, transformer: Any) -> Transformed:
    """The distribution of a target whose transform has the distribution `base`.

    Parameters
    ----------
    base : Distribution, batch shape (n,)
    transformer : fitted transformer
        `transform` takes targets (n, 1) to what `base` is of, `inverse_transform` goes back.

    Raises
    ------
    ValueError
        If there are several targets, or the transform is not strictly monotone where it is needed.
    """
    if base.event_shape:
        raise ValueError(
            f"a transform of several targets gives no distribution here; got event shape {tuple(base.event_shape)}. "
            "Fit one TransformedTargetRegressor for each target."
        )
    made = Transformed(base, _monotone_map(base, transformer))
    _tell_what_is_cut(made)
    return made


def _monotone_map(base: Distribution, transformer: Any) -> MonotoneMap:
    name = _name(transformer)
    if isinstance(transformer, FunctionTransformer):
        # not by its methods, which refuse infinite values
        forward, inverse = (
            _identity if function is None else partial(function, **(arguments or {}))
            for function, arguments in (
                (transformer.func, transformer.kw_args),
                (transformer.inverse_func, transformer.inv_kw_args),
            )
        )
        if _is_known(transformer.func):
            slope, z_range, y_range = _KNOWN[transformer.func]
            found = _looked_at(base, forward, inverse, z_range, name)
            if _has_mass_on_an_end(base, inverse, z_range):
                # which belongs to the range, as there is nothing beyond it
                z_range = y_range = (-inf, inf)
            return replace(found, z_range=z_range, y_range=y_range, log_slope=slope)
        return _looked_at(base, forward, inverse, (-inf, inf), name)
    forward, inverse = (partial(_as_column, one) for one in (transformer.transform, transformer.inverse_transform))
    if isinstance(transformer, PowerTransformer):
        return _power(transformer, forward, inverse, name)
    z_range = (-inf, inf)
    if isinstance(transformer, QuantileTransformer):
        # beyond the ends of the training targets it is constant
        first, last = forward(transformer.quantiles_[[0, -1], 0])
        z_range = (float(first), float(last))
    return _looked_at(base, forward, inverse, z_range, name)


def _has_mass_on_an_end(base: Distribution, inverse: Function, z_range: tuple[float, float]) -> bool:
    """Whether the lower end of a range is a place of the base with a mass, and with an inverse, and the lowest."""
    wide, (low, high) = widen(base), z_range
    places, masses = atoms(wide)
    if np.isinf(low) or not np.isinf(high) or not bool(((places == low) & (masses > 0)).any()):
        return False
    with np.errstate(all="ignore"):
        is_defined = bool(np.isfinite(inverse(np.array([low]))).all())
    return is_defined and not bool((cdf_below(wide, torch.full_like(places[0], low)) > _ROUNDING).any())


def _is_known(function: Any) -> bool:
    return isinstance(function, np.ufunc) and function in _KNOWN


def _identity(values: Array) -> Array:
    return values


def _tell_what_is_cut(made: Transformed) -> None:
    """Warn where much of the mass lies where the transform is not defined; raise where all of it does."""
    kept = made.kept_mass()
    if not kept.numel():
        return
    least, row = kept.reshape(-1).min(0)
    if least < 1 - _MOST_CUT:
        words = (
            f"{1 - least.item():.1%} of the mass that is predicted at row {row.item()} lies where the inverse of "
            f"{made.transform.name} is not defined"
        )
        if least == 0:
            raise ValueError(f"{words}: nothing is left. Take a family that stays inside, or another transform.")
        warn(f"{words}. It is cut off, and the rest scaled up. Take a family that stays inside, or another transform.")


def _as_column(function: Function, values: Array) -> Array:
    return function(values.reshape(-1, 1)).reshape(values.shape)


def _name(transformer: Any) -> str:
    function = getattr(transformer, "func", None)
    return getattr(function, "__name__", None) or repr(transformer)


def _power(transformer: PowerTransformer, forward: Function, inverse: Function, name: str) -> MonotoneMap:
    """Yeo and Johnson's or Box and Cox's, whose inverse ends where the power of zero is taken."""
    power = float(transformer.lambdas_[0])
    low, high, y_range = -inf, inf, (-inf, inf)
    if transformer.method == "box-cox":
        y_range = (0.0, inf)
        low, high = (-1 / power, inf) if power > 0 else (-inf, -1 / power) if power < 0 else (low, high)
    elif power < 0:
        high = -1 / power
    elif power > 2:
        low = -1 / (power - 2)
    if transformer.standardize:
        scaler = transformer._scaler
        low, high = ((end - scaler.mean_[0]) / scaler.scale_[0] for end in (low, high))
    return MonotoneMap(forward, inverse, (low, high), y_range, name=name)


def _places(base: Distribution) -> Array:
    """Places over all that the rows may reach."""
    shape = base.batch_shape
    with torch.no_grad():
        ends = [
            icdf(widen(base), torch.full(shape, level, dtype=torch.float64, device=device_of(base))).cpu().numpy()
            for level in _LEVELS
        ]
    return np.linspace(ends[0].min(), ends[1].max(), _PLACES)


def _looked_at(
    base: Distribution, forward: Function, inverse: Function, z_range: tuple[float, float], name: str
) -> MonotoneMap:
    """The map of two functions within a range of z, or the part of it where they are each other's inverse."""
    low, high = z_range
    z = _places(base)
    z = z[(z > low) & (z < high)]
    spread = np.ptp(z) if len(z) else 0.0

    def fits(z: Array) -> npt.NDArray[np.bool_]:
        y = inverse(z)
        finite = np.isfinite(y)
        # any number that it knows, in place of those that it does not
        back = forward(np.where(finite, y, y[finite][0] if finite.any() else 0.0))
        return finite & (np.abs(back - z) <= _TOLERANCE * (np.abs(z) + spread))

    with np.errstate(all="ignore"):
        good = fits(z) if len(z) else np.zeros(0, dtype=bool)
        if not good.any():
            raise ValueError(
                f"{name} and its inverse must undo each other where the model predicts; they do so nowhere between "
                f"{_ends_in_words(_places(base))}. Give the inverse function, and a model of the transformed target."
            )
        first, last = int(good.argmax()), len(z) - 1 - int(good[::-1].argmax())
        low = _end(fits, z[first], z[first - 1]) if first > 0 else low
        high = _end(fits, z[last], z[last + 1]) if last < len(z) - 1 else high
        y = inverse(z[first : last + 1])
        rises = np.diff(y)
        if not (good[first : last + 1].all() and ((rises > 0).all() or (rises < 0).all())):
            raise ValueError(
                f"{name} must be strictly monotone and its inverse undo it; between "
                f"{_ends_in_words(z[first : last + 1])} of the transformed target it is not, as where targets are tied "
                "or of both signs. Take another transform, or none."
            )
        ends = [end if np.isinf(end) else float(inverse(np.array([end]))[0]) for end in (low, high)]
    increasing = bool(len(rises) == 0 or rises[0] > 0)
    ends = [end if increasing or np.isfinite(end) else -end for end in ends]
    return MonotoneMap(forward, inverse, (low, high), (min(ends), max(ends)), increasing, name=name)


def _end(fits: Callable[[Array], npt.NDArray[np.bool_]], inside: float, outside: float) -> float:
    """Where between the two places a function and its inverse stop to agree."""
    for _ in range(_HALVINGS):
        middle = 0.5 * (inside + outside)
        inside, outside = (middle, outside) if fits(np.array([middle]))[0] else (inside, middle)
    return float(inside)


def _ends_in_words(places: Array) -> str:
    return f"{places[0]:.4g} and {places[-1]:.4g}" if len(places) else "nothing"
