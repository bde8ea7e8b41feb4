"""Stacks against their candidates: test NLL of family "auto" with mixup "auto" beside each candidate alone, paired.

    python benchmarks/stacks.py --data DATA --out out/stacks [--datasets regression,positive,count] [--cap 2000]
        [--splits 3] [--epochs 200] [--members 8] [--families auto] [--mixups auto]

For every data set of regression/ and positive/, five of count/, or single ones ("count/abalone"), and 80/20 splits of
at most `cap` rows: the stack is fitted with members that are judged on folds, and its candidates, fits of their own,
are scored on the test rows as it is. A unit, a data set and a split, is a line of JSON in ``units.jsonl``; units that
are there are not computed again. Each line of the table is a data set: mean test NLL over the splits of the stack, and
of the candidate for which that is smallest, which nobody knows beforehand; the mean difference, with its standard error
over test rows; the same difference to the candidate that is best on the folds; and the mean weights.
"""

import argparse
import json
import os
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from common import names
from sklearn.model_selection import train_test_split

from probmix import DensityRegressor
from probmix.datasets import load

COUNTS = ("abalone", "bike_hour", "doctor_visits_aus", "rwm5yr", "fremtpl2freq")
# What a stack may lose against its best candidate.
MARGIN = 0.03


def data_sets(folder: Path, wanted: list[str]) -> list[str]:
    """Names such as "regression/no2" of all sets in the folders that are named, and of sets that are."""
    found = []
    for name in wanted:
        if name == "count":
            found += [f"count/{one}" for one in COUNTS]
        elif "/" in name:
            found.append(name)
        else:
            found += sorted(f"{name}/{path.name.split('.')[0]}" for path in (folder / name).glob("*.csv*"))
    return found


def drawn(folder: Path, name: str, cap: int) -> tuple[pd.DataFrame, np.ndarray, np.ndarray | None]:
    """Features, targets and exposures of at most so many rows, drawn at random."""
    table = load(name, folder, as_is=True)
    rows = np.random.RandomState(0).permutation(len(table.y))[:cap]
    exposure = None if table.exposure is None else table.exposure[rows]
    return table.X.iloc[rows], table.y[rows].astype(float), exposure


def unit(
    model: DensityRegressor, X: pd.DataFrame, y: np.ndarray, exposure: np.ndarray | None, split: int
) -> dict[str, Any]:
    """The stack and its candidates on one split."""
    start = time.perf_counter()
    train, test = train_test_split(np.arange(len(y)), test_size=0.2, random_state=split)
    taken = [{} if exposure is None else {"exposure": exposure[rows]} for rows in (train, test)]
    with warnings.catch_warnings():
        # of members that were best in the last epoch, and of rows far out
        warnings.simplefilter("ignore")
        model.set_params(random_state=split).fit(X.iloc[train], y[train], **taken[0])
        scores = -model.log_prob(X.iloc[test], y[test], **taken[1])
        candidates = []
        for one, line in zip(model.candidates_, model.stack_.to_dict("records"), strict=True):
            difference = scores + one.log_prob(X.iloc[test], y[test], **taken[1])
            error = difference.std(ddof=1) / np.sqrt(len(test))
            test_scores = {"test": (scores - difference).mean(), "difference": difference.mean(), "error": error}
            candidates.append(line | test_scores)
    seconds = time.perf_counter() - start
    return {"rows": len(y), "nll": scores.mean(), "seconds": seconds, "candidates": candidates}


def table(units: list[dict[str, Any]]) -> pd.DataFrame:
    """A line for each data set."""
    lines = {}
    for name, group in pd.Series(units).groupby([one["set"] for one in units]):
        splits = pd.concat([pd.DataFrame(one["candidates"]).assign(split=one["split"]) for one in group])
        # those that diverged in a split are no candidates
        means = splits.groupby(["family", "mixup"]).agg(
            test=("test", "mean"),
            difference=("difference", "mean"),
            error=("error", lambda errors: np.sqrt(np.square(errors).sum()) / len(errors)),
            weight=("weight", "mean"),
            splits=("split", "count"),
        )
        in_all = means[means["splits"] == len(group)]
        if in_all.empty:
            # the support of the rows differs from split to split, and so do families: the best of each split
            of_splits = splits.loc[splits.groupby("split")["test"].idxmin()]
            best = of_splits[["test", "difference"]].mean()
            best["error"], label = np.sqrt(np.square(of_splits["error"]).sum()) / len(group), "of each split"
        else:
            means, best = in_all, in_all.loc[in_all["test"].idxmin()]
            label = " ".join(in_all["test"].idxmin())
        chosen = splits.sort_values("nll").groupby("split").first()
        used = means[means["weight"] > 0].sort_values("weight", ascending=False)
        lines[name] = {
            "rows": group.iloc[0]["rows"],
            "stack": np.mean([one["nll"] for one in group]),
            "best": best["test"],
            "difference": best["difference"],
            "±": best["error"],
            "to chosen": chosen["difference"].mean(),
            "seconds": np.mean([one["seconds"] for one in group]),
            "best candidate": label,
            "weights": ", ".join(f"{weight:.2f} {' '.join(name)}" for name, weight in used["weight"].items()),
        }
    return pd.DataFrame.from_dict(lines, orient="index")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("PROBMIX_DATA"))
    parser.add_argument("--out", type=Path, default=Path("out/stacks"))
    parser.add_argument("--datasets", type=names, default=["regression", "positive", "count"])
    parser.add_argument("--cap", type=int, default=2000)
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--members", type=int, default=8)
    parser.add_argument("--families", type=names, default=["auto"])
    parser.add_argument("--mixups", type=names, default=["auto"])
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "units.jsonl"
    settings = {name: getattr(options, name) for name in ("cap", "epochs", "members", "families", "mixups")}
    done = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = [one for one in done if one["settings"] == settings]
    family, mixup = ("auto" if one == ["auto"] else one for one in (options.families, options.mixups))
    model = DensityRegressor(
        family,
        mixup,
        n_members=options.members,
        validation="folds",
        max_epochs=options.epochs,
        device="cpu",
        preset="plain",
    )
    wanted = data_sets(Path(options.data), options.datasets)
    for name in wanted:
        X, y, exposure = drawn(Path(options.data), name, options.cap)
        for split in range(options.splits):
            key = {"set": name, "split": split, "settings": settings}
            if any(key.items() <= one.items() for one in done):
                continue
            done.append(key | unit(model, X, y, exposure, split))
            with path.open("a") as file:
                file.write(json.dumps(done[-1]) + "\n")
            print(f"{name} split {split}: {done[-1]['seconds']:.0f} s\n{model.stack_}", flush=True)
    shown = [one for one in done if one["set"] in wanted and one["split"] < options.splits]
    found = table(shown)
    print(found.to_string(float_format=lambda value: f"{value:.3f}"))
    print(
        f"within {MARGIN} nats of the best candidate: {(found['difference'] <= MARGIN).sum()} of {len(found)} sets; "
        f"better: {(found['difference'] < 0).sum()}; better than the candidate that is best on the folds: "
        f"{(found['to chosen'] < 0).sum()}"
    )


if __name__ == "__main__":
    main()
