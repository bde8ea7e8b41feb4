"""The methods of the board: what each needs, and how it is fitted."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split
from torch.distributions import Distribution

from .sets import Kind, Rows

# Of the training rows: they choose rounds, heads and leaves of a peer, which is then fitted again to all rows.
JUDGING_SHARE = 0.2


@dataclass(frozen=True)
class Training:
    """What a method is fitted to.

    Attributes
    ----------
    rows : Rows
    kind : {"real", "positive", "count"}
        What is known of the targets.
    seed : int
    threads : int
    time_limit : float, optional
        Seconds of our preset "best".
    """

    rows: Rows
    kind: Kind
    seed: int
    threads: int = 1
    time_limit: float | None = None

    def parts(self) -> tuple[Rows, Rows]:
        """Rows to fit to, and the fifth that judges."""
        fitted, judging = train_test_split(np.arange(len(self.rows.y)), test_size=JUDGING_SHARE, random_state=self.seed)
        return self.rows.take(fitted), self.rows.take(judging)


@dataclass(frozen=True)
class Fitted:
    """A fitted method: predictions of rows with their exposures, and what was chosen, for JSON."""

    predict: Callable[[pd.DataFrame, NDArray[np.float64] | None], Distribution]
    chosen: Mapping[str, Any] = field(default_factory=dict)


Fit = Callable[[Training], Fitted]


@dataclass(frozen=True)
class Method:
    """A method of the board.

    Attributes
    ----------
    name : str
    fit : str
        "module:function" in this package, or with an absolute module: only what is used is imported.
    packages : sequence of str
        Distributions that it needs besides probmix.
    install : str
        What pip installs them by.
    weights : str
        The variable of the environment that names its file of weights, for what is pretrained.
    slow : bool
        Whether the sets of uci/ have only their first splits for it.
    weight : float
        About how long it takes, in any unit.
    """

    name: str
    fit: str
    packages: Sequence[str] = ()
    install: str = "probmix[bench]"
    weights: str = ""
    slow: bool = False
    weight: float = 1.0

    @property
    def is_ours(self) -> bool:
        """Whether its settings are those of `ours`."""
        return self.fit.startswith(".ours:")

    def load(self) -> Fit:
        """The function that fits."""
        module, _, function = self.fit.partition(":")
        found: Fit = getattr(import_module(module, __package__), function)
        for package in self.packages:
            import_module(package.replace("-", "_"))
        return found

    def lacking(self) -> str:
        """What it cannot be fitted without, and how to get it; empty where nothing is missing."""
        packages = [package for package in self.packages if find_spec(package.replace("-", "_")) is None]
        if packages:
            return f"{self.name} needs {' and '.join(packages)}: pip install '{self.install}'."
        if self.weights and not Path(os.environ.get(self.weights, "")).is_file():
            return f"{self.name} needs its weights, which are not downloaded: {self.weights} names their file."
        return ""

    def versions(self) -> dict[str, str]:
        """What made the results, besides probmix."""
        found = {}
        for package in self.packages:
            try:
                found[package] = version(package)
            except PackageNotFoundError:
                found[package] = "unknown"
        return found


METHODS = {
    method.name: method
    for method in (
        Method("fast", ".ours:fit_fast", weight=0.5),
        Method("default", ".ours:fit_default", weight=5.0),
        Method("best", ".ours:fit_best", slow=True, weight=20.0),
        Method("plain-ensemble", ".ours:fit_plain_ensemble", weight=3.0),
        Method("ngboost", ".ngboost_peer:fit", ["ngboost"], weight=5.0),
        Method("catboost", ".catboost_peer:fit", ["catboost"]),
        Method("lightgbm-quantiles", ".lightgbm_peer:fit", ["lightgbm"], slow=True),
        Method("quantile-forest", ".forest_peer:fit", ["quantile-forest"], slow=True, weight=0.5),
        Method("glm", ".glm_peer:fit", ["statsmodels"], weight=0.1),
        Method("tabpfn", ".pretrained_peer:fit_tabpfn", ["tabpfn"], "tabpfn", "PROBMIX_TABPFN", slow=True, weight=20.0),
        Method("tabicl", ".pretrained_peer:fit_tabicl", ["tabicl"], "tabicl", "PROBMIX_TABICL", slow=True, weight=20.0),
    )
}
