"""Rows far out: predicted means and the worst log scores of every preset on two tables of house prices.

    python benchmarks/far_out.py --data DATA --out out/far_out [--presets erm,probmix] [--seeds 5]
        [--families student-t] [--members 5]

Text is one-hot encoded and missing numbers are imputed by hand, which leaves rare indicators and columns that are
almost constant. Each line of the table is a data set, a family and a preset over all seeds (80/20 splits): mean test
NLL, the largest predicted mean in multiples of the largest training target, the worst NLL of a test row, rows above 30
nats, all in the user's units. Several members are judged on folds, so that every row trains, and mixed. Results go to
``results.csv`` as they come; lines that are there are not computed again.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.base import clone
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import OneHotEncoder

from probmix import DensityRegressor, fit_together
from probmix.mixup import preset_names

SETS = ("positive/ames_housing", "regression/california_housing")
FAMILIES = ("gaussian", "lognormal")
LIMIT = 30.0


def load(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Features as numbers, and targets, the last column."""
    table = pd.read_csv(folder / f"{name}.csv")
    X, y = table.iloc[:, :-1], table.iloc[:, -1].to_numpy(float)
    numbers, text = make_column_selector(dtype_include="number"), make_column_selector(dtype_exclude="number")
    encoder = make_column_transformer(
        (SimpleImputer(strategy="median"), numbers), (OneHotEncoder(sparse_output=False), text)
    )
    return encoder.fit_transform(X.fillna(dict.fromkeys(text(X), "missing"))), y


def line(
    X: np.ndarray, y: np.ndarray, family: str, preset: str, members: int, seeds: int, dump: Path | None
) -> dict[str, float]:
    """One preset over all seeds, which are trained as one, or one after the other where there are members."""
    start = time.perf_counter()
    splits = [train_test_split(np.arange(len(X)), test_size=0.2, random_state=seed) for seed in range(seeds)]
    model = DensityRegressor(family, mixup=preset, device="cpu", preset="plain")
    if members == 1:
        fits = fit_together(model, X, y, [train for train, _ in splits], range(seeds))
    else:
        model.set_params(n_members=members, validation="folds")
        fits = [
            clone(model).set_params(random_state=seed).fit(X[train], y[train]) for seed, (train, _) in enumerate(splits)
        ]
    nll, ratios = [], []
    for fit, (train, test) in zip(fits, splits, strict=True):
        nll.append(-fit.log_prob(X[test], y[test]))
        ratios.append((fit.predict(X[test]) / y[train].max()).max())
        if dump is not None:
            eta = fit.predict_natural_params(X).float().numpy()
            np.savez(f"{dump}-{fit.random_state}.npz", eta=eta, train=train, test=test)
    scores = np.stack(nll)
    return {
        "nll": scores.mean(),
        "mean_over_max": max(ratios),
        "worst_nll": scores.max(),
        "rows_over_30": int((scores > LIMIT).sum()),
        "epochs": float(np.mean([fit.best_epoch_.mean() for fit in fits])),
        "seconds": time.perf_counter() - start,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("PROBMIX_DATA"))
    parser.add_argument("--out", type=Path, default=Path("out/far_out"))
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--families", default=",".join(FAMILIES))
    parser.add_argument("--presets", default=",".join(preset_names()))
    parser.add_argument("--members", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--dump", action="store_true", help="keep the natural parameters of all rows")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "results.csv"
    done = pd.read_csv(path) if path.exists() else pd.DataFrame()
    if len(done) and "members" not in done:
        done["members"] = 1
    for name in options.sets.split(","):
        X, y = load(options.data, name)
        for family in options.families.split(","):
            for preset in options.presets.split(","):
                key = {"set": name, "family": family, "preset": preset, "members": options.members}
                key |= {"seeds": options.seeds}
                if len(done) and (done[list(key)] == list(key.values())).all(axis=1).any():
                    continue
                dump = options.out / f"{Path(name).name}-{family}-{preset}" if options.dump else None
                found = line(X, y, family, preset, options.members, options.seeds, dump)
                done = pd.concat([done, pd.DataFrame([key | found])], ignore_index=True)
                done.to_csv(path, index=False)
                print(done.tail(1).to_string(header=len(done) == 1), flush=True)
    print(done.to_string(float_format=lambda value: f"{value:.3f}"))


if __name__ == "__main__":
    main()
