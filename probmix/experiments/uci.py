"""UCI regression: nine data sets, eleven methods, the published splits.

The paper fixes the data sets but for protein-tertiary-structure, the network, Adam at a rate of 0.005, 1000 epochs
and the choice of the epoch by 20 % of the training rows. It leaves open batch size, activation, variance link, alpha
and beta. Here, for all methods alike:

Splits: the published ones, 90 % of the rows for training and 10 % for testing; 20 of them, and 5 of
protein-tertiary-structure. The number of a split is the seed of its fit.

Training: a perceptron with layers of 128 and 32 ReLU units and a Gaussian head; full batches unless a batch size is
given; AdamW without decay, which is Adam; features and targets standardised by the training rows. Of these 20 % are
held out, and their mean NLL chooses the epoch. No run stops early.

Mixing: weights are Beta(alpha, alpha), beta is the variance of the label kernel for standardised targets, and local
methods take one of the 5 nearest neighbours.

Scores: means over the test rows, in the units of the data. M-ProbMix predicts a mixture over 64 draws of the first
layer.
"""

from collections.abc import Sequence
from pathlib import Path

from ..datasets import load, names, uci_splits
from .methods import AUTO, METHODS, Strength
from .published import UCI
from .store import Unit
from .tabular import Table, TabularExperiment

PROTOCOL = f"{(__doc__ or '').strip()}\n\n{AUTO}"
# From the smallest to the largest.
DATASETS = (
    "yacht",
    "bostonHousing",
    "energy",
    "concrete",
    "wine-quality-red",
    "kin8nm",
    "power-plant",
    "naval-propulsion-plant",
    "protein-tertiary-structure",
)

_FOLDER = "uci/"
_MOST_SPLITS = 20
# Of the data sets with fewer splits than 20.
_SPLITS = {"protein-tertiary-structure": 5}


class UCIExperiment(TabularExperiment):
    """Tables 1 and 6 of the paper, under the protocol that this module describes.

    Parameters
    ----------
    datasets, methods, n_splits, epochs, alpha, beta, batch_size, device, data
        As in `TabularExperiment`. Data sets are named by the files of the folder ``uci``; there are 20 published splits
        at most, and 5 of protein-tertiary-structure.

    References
    ----------
    El-Laham et al. (2025), Mixup Regularization: A Probabilistic Perspective, UAI, tables 1 and 6.
    """

    title = "UCI regression"
    protocol = PROTOCOL
    rows = ("dataset",)
    hidden_layer_sizes = (128, 32)
    published = UCI

    def __init__(
        self,
        datasets: Sequence[str] = DATASETS,
        methods: Sequence[str] = METHODS,
        n_splits: int = 20,
        epochs: int = 1000,
        alpha: Strength = "auto",
        beta: Strength = "auto",
        batch_size: int | None = None,
        device: str = "auto",
        data: str | Path | None = None,
    ) -> None:
        if n_splits > _MOST_SPLITS:
            raise ValueError(
                f"`n_splits` must be at most {_MOST_SPLITS}, the number of published splits; got {n_splits}."
            )
        super().__init__(datasets, methods, n_splits, epochs, alpha, beta, batch_size, device, data)

    def known_datasets(self, data: str | Path | None) -> list[str]:
        """Names of the data sets that there are in the folder."""
        return [name.removeprefix(_FOLDER) for name in names(data) if name.startswith(_FOLDER)]

    def load_table(self, name: str, n_splits: int, data: str | Path | None) -> Table:
        """A data set by its name, with its splits."""
        found = load(_FOLDER + name, data)
        splits = list(uci_splits(len(found.y), min(n_splits, _SPLITS.get(name, n_splits))))
        return Table(found.X.to_numpy(), found.y.astype(float), splits)

    def units(self) -> list[Unit]:
        """Data sets one after the other, so that a run that was stopped early has complete rows."""
        return [
            {"dataset": name, "method": method, "split": split}
            for name, table in self.tables.items()
            for method in self.methods
            for split in range(len(table.splits))
        ]
