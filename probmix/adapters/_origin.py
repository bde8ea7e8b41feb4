"""Which library a thing comes from."""

from typing import Any


def comes_from(thing: Any, library: str, base: str) -> bool:
    """Whether the class of `thing` descends from the class `base` of that library, which need not be imported.

    >>> comes_from(True, "builtins", "int")
    True
    """
    return any(
        ancestor.__name__ == base and ancestor.__module__.partition(".")[0] == library
        for ancestor in type(thing).__mro__
    )
