"""Clear errors for names that nothing answers to."""

from collections.abc import Iterable
from difflib import get_close_matches


def unknown_name(kind: str, name: object, known: Iterable[str]) -> ValueError:
    """Build the error for an unknown name: the near misses if there are any, else all that exist.

    Examples
    --------
    >>> print(unknown_name("family", "gausian", ["gamma", "gaussian"]))
    unknown family 'gausian'; did you mean 'gaussian'?
    >>> print(unknown_name("family", "cauchy", ["gamma", "gaussian"]))
    unknown family 'cauchy'; known are 'gamma', 'gaussian'.
    """
    known = sorted(known)
    close = get_close_matches(str(name).lower(), known, n=3)
    if close:
        return ValueError(f"unknown {kind} {name!r}; did you mean {' or '.join(map(repr, close))}?")
    return ValueError(f"unknown {kind} {name!r}; known are {', '.join(map(repr, known))}.")
