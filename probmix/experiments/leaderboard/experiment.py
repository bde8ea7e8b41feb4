"""The board: our estimators beside those of others, on every table of real, positive and count targets.

Data: the sets of the folders uci, regression, positive and count, with text and gaps as they are in the file. Columns
that are no features, ids, second targets and other forms of the target, are left out as `probmix.datasets.load` says.
Sets of uci/ are whole; of others at most `cap` rows are used, drawn by RandomState(0). Positive targets that are zero
are left out, for a probability at zero cannot be compared with a density, and so are counts with an exposure of zero.

Splits: of uci/ the published ones, 90 to 10 %, 20 of them and 5 of protein-tertiary-structure; of others 80 to 20 %,
by ``train_test_split(random_state=split)``, row by row, also where a source has several rows of a group or in time.
Slow methods have the first 5 splits of uci/ at most. The number of a split is the seed of its fit.

Ours: "fast", "default" and "best" are the presets of `DensityRegressor`, which find out by themselves what the
targets are; with a `time_limit` of its own for "best" its results depend on the machine. "plain-ensemble": five
members without any mixing, each judged by a fold of its own, 128-64, AdamW at a rate of 0.005 that falls to zero as a
cosine over 200 epochs; of the families of one component that suit the folder (Gaussian; with log-normal and Gamma for
positive targets; Poisson and negative binomial for counts) the one with the best out-of-fold NLL.

Peers: they know the kind of the targets by the folder. Where rounds, heads or leaves are chosen, a fifth of the
training rows judges, and the method is fitted again to all of them. NGBoost (rate 0.01 and at most 2000 rounds, above
5000 training rows 0.05 and 1000; patience 50): Normal; for positive targets that or LogNormal, as the judging rows
say; Poisson for counts. CatBoost (rate 0.05, at most 3000 rounds, patience 100): RMSEWithUncertainty for standardised
targets; Poisson for counts, from the rate of all rows on. LightGBM's quantiles (rate 0.05, at most 2000 rounds,
patience 50): 13 levels from 1 to 99 %, each a model of its own, sorted. Quantile forests: 1, 5 or 20 rows in a leaf,
99 levels. GLM (statsmodels), main effects: a Gaussian; for positive targets that or a Gamma with the log link; for
counts Poisson or negative binomial; by AIC. TabPFN and TabICL, where their weights are on the machine: 99 quantiles.
All else is as the authors have it. NGBoost, forests, GLMs and the pretrained ones get one-hot levels and medians in
gaps, CatBoost and LightGBM categories and gaps as they are.

Exposures: an offset for ours, CatBoost and GLM; for the others, which know none, the log of the exposure is one more
feature.

Scores: means over the test rows, in the units of the data. The CRPS is exact, of quantiles that of the distribution
with straight lines between them and nothing beyond the outer ones; these have no density, and so no NLL. NLL of
counts is that of probabilities, but of a density at whole numbers where a method takes them as amounts. Every fit has
a process of its own; seconds are those of fit and of prediction alone, memory is the peak of both beyond what the
process had with everything imported.

Left out, as they do not install beside the pinned versions of torch and pandas: XGBoostLSS and LightGBMLSS 0.6.1
(torch below 2.10), DeepTab 2.1.0 (pandas below 3).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..base import Experiment, Outcome, Picture
from ..methods import check_names, check_positive
from ..store import Result, Unit
from ..summary import results_table
from ..tables import Table
from ..tabular import versions
from .methods import METHODS, Method, Training
from .ours import settings_of
from .process import run_alone, threads
from .sets import KINDS, TEST_SHARE, kind_of, known_sets, load_rows, number_of_splits, split_rows
from .verdicts import conduct_table, rank_pictures, rank_tables

PROTOCOL = (__doc__ or "").strip()
FOLDERS = tuple(KINDS)
_MOST_UCI_SPLITS, _SLOW_UCI_SPLITS = 20, 5
# What a fit costs besides its rows, in rows.
_OVERHEAD = 500


class LeaderboardExperiment(Experiment):
    """Many methods on many tables, under the protocol that this module describes.

    Parameters
    ----------
    datasets : sequence of str
        Folders, "uci", "regression", "positive" and "count", or single sets such as "uci/yacht".
    methods : sequence of str
        Those whose packages or weights are not on the machine are left out, and `remarks` says so.
    n_splits : int
        Of sets outside uci/.
    uci_splits : int
        Of the published ones; at most 20.
    cap : int
        Most rows of a set outside uci/.
    time_limit : float, optional
        Seconds of a fit of "best".
    data : path, optional
        The folder of data sets, as in `probmix.datasets.load`.

    Raises
    ------
    ValueError
        For unknown names, with the near misses, and numbers out of range; before any work.
    FileNotFoundError
        If there is no folder to look in.
    """

    title = "Leaderboard"
    protocol = PROTOCOL
    rows = ("folder", "dataset")
    repeat = "split"
    section = "folder"
    apart = "folder"
    baseline = "default"

    def __init__(
        self,
        datasets: Sequence[str] = FOLDERS,
        methods: Sequence[str] = tuple(METHODS),
        n_splits: int = 3,
        uci_splits: int = 20,
        cap: int = 10_000,
        time_limit: float | None = None,
        data: str | Path | None = None,
    ) -> None:
        check_positive(n_splits=n_splits, uci_splits=uci_splits, cap=cap)
        if uci_splits > _MOST_UCI_SPLITS:
            raise ValueError(
                f"`uci_splits` must be at most {_MOST_UCI_SPLITS}, the number of published splits; got {uci_splits}."
            )
        known = known_sets(data)
        named = check_names("data set or folder", datasets, [*FOLDERS, *known] if known else datasets)
        chosen = [one for name in named for one in (_of_folder(name, known) if name in KINDS else [name])]
        wanted = [METHODS[name] for name in check_names("method", methods, METHODS)]
        lacking = {method.name: method.lacking() for method in wanted}
        self.methods = {method.name: method for method in wanted if not lacking[method.name]}
        left_out = [f"Left out: {reason}" for reason in lacking.values() if reason]
        if not self.methods:
            raise ValueError("\n".join(left_out))
        self.remarks = [*left_out, *_made_by(list(self.methods.values()))]
        self._cap, self._data = cap, data
        self._n_splits, self._uci_splits = n_splits, uci_splits
        self._sizes: dict[str, int] = {}
        self._digests: dict[str, str] = {}
        for name in dict.fromkeys(chosen):
            rows = load_rows(name, cap, data)
            self._sizes[name], self._digests[name] = len(rows.y), rows.digest
        # the smallest come first in a folder: a run that was stopped early has most of them
        self._sets = sorted(self._sizes, key=lambda name: (FOLDERS.index(name.split("/")[0]), self._sizes[name]))
        self.settings: dict[str, Any] = {"experiment": type(self).__name__, "cap": cap, **versions()}
        self._time_limit = time_limit
        self._ours = {name: settings_of(name, time_limit) for name, one in self.methods.items() if one.is_ours}

    def units(self) -> list[Unit]:
        """Data sets one after the other, so that a run that was stopped early has complete rows."""
        return [
            {"folder": name.split("/")[0], "dataset": name.split("/")[1], "method": method.name, "split": split}
            for name in self._sets
            for method in self.methods.values()
            for split in range(self._splits_of(name, method))
        ]

    def _splits_of(self, name: str, method: Method) -> int:
        count = number_of_splits(name, self._n_splits, self._uci_splits)
        return min(count, _SLOW_UCI_SPLITS) if method.slow and name.startswith("uci/") else count

    def inputs(self, unit: Unit) -> dict[str, Any]:
        """The data, and what the method is: versions of its packages, or our settings."""
        name, method = _set_of(unit), str(unit["method"])
        ours = {"method": self._ours[method][kind_of(name)]} if method in self._ours else {}
        return {"data": self._digests[name], **ours, **self.methods[method].versions()}

    def cost(self, unit: Unit) -> float:
        """Rows by the weight of the method."""
        return self.methods[str(unit["method"])].weight * (_OVERHEAD + self._sizes[_set_of(unit)])

    def work(self, units: Sequence[Unit]) -> list[Outcome]:
        """Fit a method to a split of a data set in a process of its own."""
        outcomes = []
        for unit in units:
            name, split = _set_of(unit), int(unit["split"])
            train, test = split_rows(name, load_rows(name, self._cap, self._data), split)
            training = Training(train, kind_of(name), split, threads(), self._time_limit)
            found = run_alone(self.methods[str(unit["method"])], training, test)
            outcomes.append(Outcome(found["scores"], {"chosen": found["chosen"]}))
        return outcomes

    def test_to_train_of(self, row: Any) -> float:
        """Of the published splits 1/9, else 1/4."""
        return 1 / 9 if row["folder"] == "uci" else TEST_SHARE / (1 - TEST_SHARE)

    def own_tables(self, results: Sequence[Result]) -> Iterator[Table]:
        """Mean ranks, and how methods behave."""
        if results:
            table = results_table(results)
            yield from rank_tables(table, list(self.methods), self.baseline)
            yield conduct_table(table, list(self.methods))

    def pictures(self, results: Sequence[Result]) -> Iterator[Picture]:
        """Critical differences, and ranks against time."""
        if results:
            yield from rank_pictures(results_table(results), list(self.methods), self.baseline)


def _set_of(unit: Unit) -> str:
    return f"{unit['folder']}/{unit['dataset']}"


def _of_folder(folder: str, known: Sequence[str]) -> list[str]:
    return [name for name in known if name.startswith(f"{folder}/")]


def _made_by(methods: Sequence[Method]) -> list[str]:
    found = {package: number for method in methods for package, number in method.versions().items()}
    return [f"Peers: {', '.join(f'{package} {number}' for package, number in found.items())}."] if found else []
