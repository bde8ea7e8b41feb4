"""What the parameters of an estimator stand for that are left unset."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from .._names import unknown_name
from ..networks import MLP, NetworkLike, NetworkSpec
from ..training import Schedule, TrainingOptions
from .checks import LAYER_SIZES, check_layer_sizes

_PERCEPTRON = MLP(LAYER_SIZES)


@dataclass(frozen=True)
class Settings:
    """How an estimator is trained: its own parameters, and for those left unset what its preset says.

    Attributes
    ----------
    family, mixup, network
        Each one thing, or several, which are candidates of a stack.
    n_members : int
    max_epochs : int
    learning_rate, weight_decay : float or Schedule
    validation : str or splitter
    """

    family: Any = "gaussian"
    mixup: Any = "probmix"
    network: NetworkLike | NetworkSpec = _PERCEPTRON
    n_members: int = 1
    max_epochs: int = 200
    learning_rate: float | Schedule = TrainingOptions.learning_rate
    weight_decay: float | Schedule = TrainingOptions.weight_decay
    validation: Any = "random"


# "plain" is one network as in the papers.
PRESETS: dict[str, Settings] = {"plain": Settings()}

# Of the settings, those that are parameters of all estimators.
_NAMES = ("mixup", "n_members", "max_epochs", "learning_rate", "weight_decay", "validation")


def settings_of(estimator: Any) -> Settings:
    """The settings of an estimator.

    Raises
    ------
    ValueError
        For an unknown preset, with the near misses.
    """
    if not isinstance(estimator.preset, str) or estimator.preset not in PRESETS:
        raise unknown_name("preset", estimator.preset, PRESETS)
    settings = PRESETS[estimator.preset]
    own = {name: value for name in _NAMES if (value := getattr(estimator, name)) is not None}
    if (family := getattr(estimator, "family", None)) is not None:
        own["family"] = family
    if estimator.network is not None:
        own["network"] = estimator.network
    elif estimator.hidden_layer_sizes is not None:
        own["network"] = _with_sizes(settings.network, estimator.hidden_layer_sizes)
    return replace(settings, **own)


def chosen_by_preset(estimator: Any, settings: Settings) -> dict[str, Any]:
    """What parameters of an estimator that were left unset became."""
    names = [name for name in ("family", *_NAMES) if getattr(estimator, name, settings) is None]
    if estimator.network is None:
        names.append("network")
    return {name: getattr(settings, name) for name in names}


def _with_sizes(network: Any, sizes: Sequence[int]) -> NetworkSpec:
    sized: NetworkSpec = replace(network, sizes=check_layer_sizes(sizes))
    return sized
