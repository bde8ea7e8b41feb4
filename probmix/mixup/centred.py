"""Settings under which the mean of a mixed row is known: what approximate mixup and rescaled predictions build on."""

from typing import Any, NamedTuple

from .partners import UniformPartners

_AVERAGED = "'linear', 'average' or 'log-linear'"


class _Rule(NamedTuple):
    """What a field of a mixup must be."""

    name: str
    holds: bool
    rule: str


def check_centred(mixup: Any) -> None:
    """Raise a ValueError for a quadratic criterion, or rescaled predictions, of a `Mixup` that has none."""
    uniform = [
        _Rule("at", mixup.at == "input", "'input'"),
        _Rule("pool", mixup.pool == "log-linear", "'log-linear'"),
        _Rule("partners", isinstance(mixup.partners, UniformPartners), "UniformPartners()"),
        *(_Rule(name, _is_one_law(getattr(mixup, name)), "a law that is the same for all groups") for name in _LAWS),
    ]
    if mixup.criterion == "quadratic":
        reason = (
            "criterion='quadratic' expands the loss around the mean of a mixed row, which is known for rows that are "
            "mixed at the input with any others alike"
        )
        labels = _Rule("label_pool", mixup.label_pool != "calibrated", _AVERAGED)
        _check(mixup, [*uniform, labels], reason, "criterion='expected-log'")
    if mixup.rescale:
        reason = (
            "rescale=True takes back at prediction that rows and labels are drawn towards their means, as they are "
            "when averages of any rows alike are all that a network sees"
        )
        further = [
            _Rule("label_pool", mixup.label_pool == "average", "'average'"),
            _Rule("label_weights", mixup.label_weights is None, "None"),
            _Rule("until", mixup.until is None, "None"),
        ]
        _check(mixup, [*uniform, *further], reason, "rescale=False")


_LAWS = ("weights", "label_weights")


def _is_one_law(law: Any) -> bool:
    return not (getattr(law, "needs_distances", False) or getattr(law, "is_learned", False))


def _check(mixup: Any, rules: list[_Rule], reason: str, instead: str) -> None:
    for name, holds, rule in rules:
        if not holds:
            raise ValueError(
                f"{reason}: `{name}` must be {rule}; got {getattr(mixup, name)!r}. Change it, or use {instead}."
            )
