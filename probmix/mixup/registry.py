"""Laws by name, under which they are saved."""

from dataclasses import is_dataclass
from typing import Any, TypeVar

_PARTS: dict[str, type] = {}

Part = TypeVar("Part", bound=type)


def register_law(law: Part) -> Part:
    """Make a law of weights or of partners known by the name of its class, so that it can be saved.

    Parameters
    ----------
    law : type
        A dataclass whose fields are numbers, text, tuples of them, arrays, or laws. May be used as a decorator.

    Returns
    -------
    type
        The class itself.

    Raises
    ------
    TypeError
        If it is no dataclass.
    ValueError
        If another class has that name.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> import torch
    >>> from probmix.mixup import Mixup, register_law
    >>> @register_law
    ... @dataclass(frozen=True)
    ... class HalfAndHalf:
    ...     def sample(self, shape, uniform, order=2):
    ...         return torch.full((*uniform(shape).shape, order), 1 / order)
    >>> Mixup(weights=HalfAndHalf()).weights
    HalfAndHalf()

    A program that loads such an estimator has to register the class before.
    """
    if not (isinstance(law, type) and is_dataclass(law)):
        raise TypeError(f"a law is saved by the fields of its dataclass; got {law!r}. Decorate it with @dataclass.")
    known = _PARTS.setdefault(law.__name__, law)
    # a module that is imported anew, or a cell of a notebook that is run again, defines the same class again
    if (known.__module__, known.__qualname__) != (law.__module__, law.__qualname__):
        raise ValueError(
            f"the name {law.__name__!r} of a law is taken by {known.__module__}.{known.__qualname__}. Rename the class."
        )
    _PARTS[law.__name__] = law
    return law


def is_registered(part: Any) -> bool:
    """Whether something is an instance of a class that is known by its name."""
    return _PARTS.get(type(part).__name__) is type(part)


def registered(name: str) -> type:
    """The class of a name.

    Raises
    ------
    ValueError
        For an unknown name.
    """
    if name not in _PARTS:
        raise ValueError(
            f"the file has a law {name!r} of the mixup, which is not known here. Import the module that defines it and "
            "registers it with probmix.mixup.register_law."
        )
    return _PARTS[name]
