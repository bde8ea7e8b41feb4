"""What the parameters of an estimator stand for that are left unset."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .._names import unknown_name
from ..families import Family, canonical_name, get
from ..mixup import BetaWeights, Mixup
from ..networks import MLP, Concatenated, NetworkSpec, Periodic, PiecewiseLinear, SharedMLP
from ..training import Cosine, Epochs, Rows, Schedule
from .candidates import BySupport, is_several
from .checks import LAYER_SIZES, check_layer_sizes
from .given import Given
from .rows import canonical_rows
from .search import Search, ThoroughSearch

# Of the settings, those that are parameters of all estimators.
_NAMES = ("mixup", "n_members", "max_epochs", "learning_rate", "weight_decay", "validation")


@dataclass(frozen=True)
class Settings:
    """How an estimator is trained: its own parameters, and for those left unset what its preset says.

    Attributes
    ----------
    family, mixup, network
        Each one thing, or several, which are candidates of a stack.
    n_members : int
    max_epochs : int or Epochs
    learning_rate, weight_decay : float or Schedule
    validation : str or splitter
    mixup_without_pool : str, Mixup or None
        In place of `mixup` for families that have no pool in closed form, with which mixing is slow; None for the same.
    network_alone : NetworkSpec or None
        In place of several networks where the family is not chosen among several by the preset, so that a family that
        is set gives one network and no stack; None for the same.
    search : Search or None
        How candidates are trained; None trains all of them.
    unset : frozenset of str
        Which of these are the preset's.
    """

    family: Any
    mixup: Any
    network: Any
    n_members: int
    max_epochs: int | Epochs
    learning_rate: float | Schedule
    weight_decay: float | Schedule
    validation: Any
    mixup_without_pool: Any = None
    network_alone: Any = None
    search: Search | None = None
    unset: frozenset[str] = field(default_factory=frozenset)

    def mixup_for(self, family: str | Family | None) -> Any:
        """The mixup, or several, for a family."""
        if "mixup" not in self.unset or self.mixup_without_pool is None or family is None:
            return self.mixup
        # of classes, which are no family of a regressor, the fit says so
        is_categorical = isinstance(family, str) and canonical_name(family) == "categorical"
        return self.mixup if is_categorical or get(family).pools_log_linearly else self.mixup_without_pool

    def judged_by(self, held_out: Given) -> "Settings":
        """With rows that the user holds out a preset has no say in which rows judge."""
        return self if held_out.X is None or "validation" not in self.unset else replace(self, validation="random")

    def for_rows(self, rows: Rows) -> "Settings":
        """With no more folds than rows, where the preset says how many there are."""
        if "n_members" not in self.unset or self.validation != "folds":
            return self
        members = min(self.n_members, _different(rows, self.n_members))
        if members < 2 and "validation" in self.unset:
            return replace(self, n_members=1, validation="random")
        # of folds that the user asks for there are two; where that is too many the parts say so
        return replace(self, n_members=max(2, members))

    def chosen(self) -> dict[str, Any]:
        """What unset parameters became."""
        return {name: getattr(self, name) for name in sorted(self.unset)}


def _different(rows: Rows, enough: int) -> int:
    """How many different groups there are, or rows where these are not told; no more than are enough."""
    if rows.weight is not None:
        rows = rows.take(rows.weight.numpy().nonzero()[0])
    if rows.group is not None:
        return len(rows.group.unique())
    # most often so many values of the first target differ
    first = rows.y[: 100 * enough].reshape(min(len(rows), 100 * enough), -1)[:, 0]
    if len(first.unique()) >= enough:
        return enough
    return len(canonical_rows(rows)[0])


_PROBMIX = Mixup(at="output", weights=BetaWeights(0.2), label_pool="linear", clean=0.5)
_POSITIVE = ("lognormal-mixture", "gaussian-mixture")
_DEFAULT_FAMILIES = BySupport(
    real=("gaussian-mixture",),
    positive=_POSITIVE,
    totals=("zero-adjusted-lognormal-mixture", "zero-adjusted-gamma-mixture", "tweedie"),
    shares=("beta-mixture", "gaussian-mixture"),
    counts=("negative-binomial", "poisson-mixture"),
    counts_with_zeros=("negative-binomial", "poisson-mixture"),
)
_NETWORK = MLP(LAYER_SIZES, embedding=Concatenated((Periodic(), PiecewiseLinear())))
# For smooth functions, of which bins learn little but noise.
_SMOOTH = MLP(LAYER_SIZES, embedding=Periodic())
_DEFAULT = Settings(
    family=_DEFAULT_FAMILIES,
    mixup=_PROBMIX,
    network=(_NETWORK, _SMOOTH),
    n_members=8,
    max_epochs=Epochs(steps=1_200, fewest=100, fewest_of_many=15, most=400),
    learning_rate=Cosine(5e-3),
    weight_decay=1e-4,
    validation="folds",
    mixup_without_pool="erm",
    network_alone=_NETWORK,
    search=Search(shares=(1 / 4, 1), kept=(1,), by_network=True),
)

_BEST_FAMILIES = BySupport(
    real=("gaussian-mixture", "student-t", "histogram"),
    positive=("lognormal-mixture", "gaussian-mixture", "gamma-mixture", "histogram"),
    totals=("zero-adjusted-lognormal-mixture", "zero-adjusted-gamma-mixture", "tweedie"),
    shares=("beta-mixture", "gaussian-mixture", "histogram"),
    counts=("negative-binomial", "poisson-mixture"),
    counts_with_zeros=("negative-binomial", "poisson-mixture", "zero-inflated-poisson"),
)

PRESETS: dict[str, Settings] = {
    # one network as in the papers
    "plain": Settings("gaussian", "probmix", MLP(LAYER_SIZES), 1, 200, 5e-3, 1e-4, "random"),
    "fast": replace(
        _DEFAULT,
        network=_NETWORK,
        n_members=4,
        max_epochs=Epochs(steps=250, fewest=5, fewest_of_many=2, most=60),
        search=Search(),
    ),
    "default": _DEFAULT,
    "best": replace(
        _DEFAULT,
        family=_BEST_FAMILIES,
        mixup=(_PROBMIX, "erm"),
        network=tuple(SharedMLP(one.sizes, k=4, embedding=one.embedding) for one in (_NETWORK, _SMOOTH)),
        network_alone=None,
        max_epochs=Epochs(steps=3_000, fewest=300, fewest_of_many=30, most=600),
        search=ThoroughSearch(shares=(1 / 16, 1 / 4, 1), kept=(4, 2)),
    ),
}


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
    given = {name: value for name in _NAMES if (value := getattr(estimator, name)) is not None}
    names = [*_NAMES, "network"]
    if hasattr(estimator, "family"):
        names.append("family")
        if estimator.family is not None:
            given["family"] = estimator.family
    if estimator.network is not None:
        given["network"] = estimator.network
    elif settings.network_alone is not None and (not hasattr(estimator, "family") or "family" in given):
        settings = replace(settings, network=settings.network_alone)
    if given.get("n_members") == 1 and "validation" not in given and settings.validation == "folds":
        # of one member there are no folds
        settings = replace(settings, validation="random")
    splits = _number_of_splits(given.get("validation"))
    if "n_members" not in given and settings.n_members > 1 and splits > 1:
        settings = replace(settings, n_members=splits)
    if estimator.network is None and estimator.hidden_layer_sizes is not None:
        settings = replace(settings, network=_with_sizes(settings.network, estimator.hidden_layer_sizes))
    settings = replace(settings, **given, unset=frozenset(names) - given.keys())
    if "family" in given and not is_several(given["family"]):
        settings = replace(settings, mixup=settings.mixup_for(given["family"]))
    return settings


def _number_of_splits(validation: Any) -> int:
    """How many members a splitter has rows for; 0 if it does not say."""
    return len(validation) if isinstance(validation, list | tuple) else int(getattr(validation, "n_splits", 0))


def _with_sizes(network: Any, sizes: Sequence[int]) -> NetworkSpec | list[NetworkSpec]:
    if isinstance(network, tuple):
        return list(dict.fromkeys(replace(one, sizes=check_layer_sizes(sizes)) for one in network))
    sized: NetworkSpec = replace(network, sizes=check_layer_sizes(sizes))
    return sized
