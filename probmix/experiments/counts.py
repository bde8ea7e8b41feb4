"""Counts and positive targets: each family against a Gaussian, with and without mixing; not in the paper.

Data: real sets of counts, with the families poisson, negative-binomial and gaussian, and of positive targets, with
gamma and gaussian. The negative binomial learns its dispersion, and so pools linearly. Sets of more than 3000 rows are
cut to 3000 drawn at random with the seed 0. Rows with a missing value, ids, exposures and second targets are left out,
as `probmix.datasets.load` says.

Splits: 90 % of the rows for training and 10 % for testing, drawn at random with the seed 0 for all splits. The number
of a split is the seed of its fit. Rows are split one by one, also where a source has several rows in time or of a
group.

Training: a perceptron with layers of 128 and 64 ReLU units; batches of 64 unless another size is given; AdamW without
decay at a rate of 0.005. Of the training rows 20 % are held out, and their mean NLL chooses the epoch. No run stops
early.

Mixing: weights are Beta(alpha, alpha), beta is the width of the label kernel.

Scores: means over the test rows, in the units of the data. A Gaussian's NLL of counts is of its density at whole
numbers, which is about its probability per unit where it is wide, and can be driven far down where it is narrow:
compare families by CRPS and calibration. The coverage of an interval of a discrete distribution is at least the
nominal one; the calibration error has randomised probability integral transforms, with the seed 0. M-ProbMix predicts
a mixture over 64 draws of the first layer.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from sklearn.model_selection import ShuffleSplit

from .. import families
from ..datasets import load, names
from .methods import AUTO, Strength
from .store import Unit
from .tabular import Table, TabularExperiment

PROTOCOL = f"{(__doc__ or '').strip()}\n\n{AUTO}"
METHODS = ("erm", "mixup", "probmix", "m-probmix")
COUNTS = (
    "horseshoe_crabs",
    "takeover_bids",
    "quine",
    "fish_ucla",
    "recreation_demand",
    "bike_day",
    "biochemists",
    "medpar",
    "german_mdvis",
    "azpro",
    "abalone",
    "doctor_visits_aus",
    "seoul_bike",
    "bike_hour",
)
POSITIVES = ("airquality_ozone", "seattle_wind", "belgian_wages", "computers_price", "auto_claims", "diamonds")
DATASETS = (*(f"count/{name}" for name in COUNTS), *(f"positive/{name}" for name in POSITIVES))
FAMILIES = {"count": ("poisson", "negative-binomial", "gaussian"), "positive": ("gamma", "gaussian")}

_MOST_ROWS = 3000


class CountsExperiment(TabularExperiment):
    """Real counts and positive targets, under the protocol that this module describes.

    Parameters
    ----------
    datasets, methods, n_splits, epochs, alpha, beta, batch_size, device, data
        As in `TabularExperiment`. Data sets are named with their folder, such as "count/quine" or
        "positive/diamonds".
    """

    title = "Counts and positive targets"
    protocol = PROTOCOL
    rows = ("task", "dataset", "family")
    hidden_layer_sizes = (128, 64)

    def __init__(
        self,
        datasets: Sequence[str] = DATASETS,
        methods: Sequence[str] = METHODS,
        n_splits: int = 10,
        epochs: int = 200,
        alpha: Strength = 0.2,
        beta: Strength = 0.0,
        batch_size: int | None = 64,
        device: str = "auto",
        data: str | Path | None = None,
    ) -> None:
        super().__init__(datasets, methods, n_splits, epochs, alpha, beta, batch_size, device, data)

    def known_datasets(self, data: str | Path | None) -> list[str]:
        """Names of the data sets that there are in the folder."""
        return [name for name in names(data) if name.split("/")[0] in FAMILIES]

    def load_table(self, name: str, n_splits: int, data: str | Path | None) -> Table:
        """A data set by its name, with its splits."""
        found = load(name, data)
        X, y = found.X.to_numpy(), found.y.astype(float)
        for family in FAMILIES[name.split("/")[0]]:
            try:
                families.get(family).check_targets(torch.tensor(y))
            except ValueError as error:
                raise ValueError(f"the data set {name!r} is not for the family {family!r}: {error}") from error
        if len(y) > _MOST_ROWS:
            rows = np.sort(np.random.default_rng(0).choice(len(y), _MOST_ROWS, replace=False))
            X, y = X[rows], y[rows]
        splits = ShuffleSplit(n_splits, test_size=0.1, train_size=0.9, random_state=0).split(X)
        return Table(X, y, list(splits))

    def units(self) -> list[Unit]:
        """Data sets one after the other, so that a run that was stopped early has complete rows."""
        return [
            {"task": task, "dataset": name, "family": family, "method": method, "split": split}
            for (task, name), table in ((key.split("/"), table) for key, table in self.tables.items())
            for family in FAMILIES[task]
            for method in self.methods
            for split in range(len(table.splits))
        ]

    def dataset_of(self, unit: Unit) -> str:
        """The name with its folder."""
        return f"{unit['task']}/{unit['dataset']}"
