"""Clear errors for names that nothing answers to."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

_SHORTEST = 5


def unknown_name(
    kind: str, name: object, known: Iterable[str], aliases: Mapping[str, str] | None = None, near: float = 0.6
) -> ValueError:
    """Build the error for an unknown name: near misses, upper or lower case alike, if there are any, else all names.

    A near miss of an alias leads to the name that it stands for; the shortest are near to too much. `near` is the least
    similarity of a near miss, as difflib measures it.

    Examples
    --------
    >>> print(unknown_name("family", "gausian", ["gamma", "gaussian"]))
    unknown family 'gausian'; did you mean 'gaussian'?
    >>> print(unknown_name("family", "cauchy", ["gamma", "gaussian"]))
    unknown family 'cauchy'; known are 'gamma', 'gaussian'.
    >>> print(unknown_name("stock", "goog", ["GME", "GOOG"]))
    unknown stock 'goog'; did you mean 'GOOG'?
    """
    known = sorted(set(known))
    folded = {one.lower(): one for one in known}
    close = [folded[one] for one in get_close_matches(str(name).lower(), folded, n=3, cutoff=near)]
    if not close and aliases:
        others = [one for one in aliases if len(one) >= _SHORTEST]
        close = list(dict.fromkeys(aliases[one] for one in get_close_matches(str(name).lower(), others, n=3)))
    if close:
        return ValueError(f"unknown {kind} {name!r}; did you mean {' or '.join(map(repr, close))}?")
    return ValueError(f"unknown {kind} {name!r}; known are {', '.join(map(repr, known)) or 'none'}.")
