"""Heads of one hump and of several, each with and without ProbMix, on real tables: one setting for all of them.

    python benchmarks/heads.py --data DATA --out out/heads [--sets uci/yacht,positive/insurance_charges]
        [--heads gaussian,mixture,mixture+probmix] [--splits 5] [--epochs 100]

Eight members, each judged by a fold of its own; periodic embeddings of the numbers, 128-64, AdamW at a rate of 0.005
that falls to zero as a cosine, 100 epochs, batches of 64. "mixture" is one of five Gaussians; "+probmix" pools rows in
closed form, with the labels of both rows, for half of the loss, the other half being that of rows as they are. The sets
of uci/ have their standard splits, others 80/20 splits by ``train_test_split(random_state=0, 1, ...)``, of at most
5,000 rows that ``RandomState(7)`` picks. Every line is a set, a split and a head, with mean test NLL and CRPS; lines
that are in ``results.csv`` are not computed again. The table has means over splits, their standard errors, and by how
much ProbMix lowers the NLL of a head, paired.
"""

import argparse
import os
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from probmix import DensityRegressor
from probmix.datasets import load, uci_splits
from probmix.families import Family, Gaussian, Histogram, LogNormal, Mixture, StudentT
from probmix.mixup import BetaWeights, Mixup
from probmix.networks import MLP, Periodic
from probmix.scores import crps
from probmix.training import Cosine

SETS = (
    "positive/insurance_charges",
    "regression/parkinsons_updrs",
    "uci/yacht",
    "uci/energy",
    "uci/bostonHousing",
    "uci/concrete",
)
FAMILIES: dict[str, Family] = {
    "gaussian": Gaussian(),
    "mixture": Mixture(Gaussian(), 5),
    "lognormal-mixture": Mixture(LogNormal(), 5),
    "student-t": StudentT(),
    "histogram": Histogram(),
}
PROBMIX = Mixup(at="output", weights=BetaWeights(0.2), label_pool="linear", clean=0.5)
LARGEST = 5_000


def model_of(head: str, epochs: int, seed: int) -> DensityRegressor:
    """The estimator of a head, such as "mixture" or "mixture+probmix"."""
    family, _, mixed = head.partition("+")
    return DensityRegressor(
        FAMILIES[family],
        PROBMIX if mixed else "erm",
        network=MLP((128, 64), embedding=Periodic()),
        n_members=8,
        validation="folds",
        learning_rate=Cosine(5e-3),
        max_epochs=epochs,
        batch_size=64,
        random_state=seed,
        device="cpu",
        preset="plain",
    )


def splits_of(name: str, count: int, data: Path) -> tuple[np.ndarray, np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
    """Features, targets, and the training and test rows of each split."""
    table = load(name, data)
    X, y = table.X.to_numpy(), np.asarray(table.y, dtype=float)
    if name.startswith("uci/"):
        return X, y, [*uci_splits(len(X), count)]
    if len(X) > LARGEST:
        kept = np.random.RandomState(7).permutation(len(X))[:LARGEST]
        X, y = X[kept], y[kept]
    return X, y, [train_test_split(np.arange(len(X)), test_size=0.2, random_state=seed) for seed in range(count)]


def line(head: str, epochs: int, seed: int, train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]):
    """Test scores of one head on one split."""
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = model_of(head, epochs, seed).fit(*train)
    fitted = time.perf_counter() - start
    nll = -model.log_prob(*test)
    scores = crps(model.predict_dist(test[0]), test[1]).numpy()
    return {"nll": nll.mean(), "crps": scores.mean(), "worst_nll": nll.max(), "fit_seconds": fitted,
            "seconds": time.perf_counter() - start}  # fmt: skip


def table_of(done: pd.DataFrame) -> pd.DataFrame:
    """Means over splits and their standard errors, with the paired difference that ProbMix makes to a head."""
    rows = []
    for (name, head, epochs), part in done.groupby(["set", "head", "epochs"], sort=False):
        row = {"set": name, "head": head, "epochs": epochs, "splits": len(part)}
        for score in ("nll", "crps"):
            row |= {score: part[score].mean(), f"{score}_se": part[score].sem()}
        plain = done[(done["set"] == name) & (done["head"] == head.partition("+")[0]) & (done["epochs"] == epochs)]
        if "+" in head and len(plain):
            both = part.merge(plain, on="split", suffixes=("", "_plain"))
            difference = both["nll"] - both["nll_plain"]
            row |= {"gain": -difference.mean(), "gain_se": difference.sem()}
        rows.append(row | {"worst_nll": part["worst_nll"].max(), "seconds": part["seconds"].median()})
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("PROBMIX_DATA"))
    parser.add_argument("--out", type=Path, default=Path("out/heads"))
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--heads", default="gaussian,mixture,mixture+probmix")
    parser.add_argument("--splits", type=int, default=5, help="of the sets of uci/; others have at most two")
    parser.add_argument("--epochs", type=int, default=100)
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "results.csv"
    done = pd.read_csv(path) if path.exists() else pd.DataFrame()
    for name in options.sets.split(","):
        count = options.splits if name.startswith("uci/") else min(2, options.splits)
        X, y, splits = splits_of(name, count, options.data)
        for split, (train, test) in enumerate(splits):
            for head in options.heads.split(","):
                key = {"set": name, "split": split, "head": head, "epochs": options.epochs}
                if len(done) and (done[list(key)] == list(key.values())).all(axis=1).any():
                    continue
                found = line(head, options.epochs, split, (X[train], y[train]), (X[test], y[test]))
                done = pd.concat([done, pd.DataFrame([key | found])], ignore_index=True)
                done.to_csv(path, index=False)
                print(done.tail(1).to_string(header=len(done) == 1), flush=True)
    print(table_of(done).to_string(float_format=lambda value: f"{value:.3f}", index=False))


if __name__ == "__main__":
    main()
