"""Checks of single parameters: what, the rule, what came."""

from numbers import Integral, Real

import numpy as np


def check_integer(name: str, value: object, low: int) -> None:
    """Raise unless the parameter is an integer of at least `low`."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < low:
        raise ValueError(f"`{name}` must be an integer of at least {low}; got {value!r}.")


def check_real(name: str, value: object, low: float, high: float = float("inf"), open_low: bool = False) -> None:
    """Raise unless the parameter is a finite number in [low, high), or (low, high)."""
    inside = isinstance(value, Real) and not isinstance(value, bool) and low <= float(value) < high
    if not inside or (open_low and value == low):
        bounds = f"{'(' if open_low else '['}{low:g}, {high:g})"
        raise ValueError(f"`{name}` must be a number in {bounds}; got {value!r}.")


def check_seed(random_state: object) -> int:
    """A seed from an integer, a NumPy generator, or, for None, the operating system; never NumPy's global state."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31))
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**31))
    check_integer("random_state", random_state, 0)
    assert isinstance(random_state, Integral)  # checked in the line above
    return int(random_state)
