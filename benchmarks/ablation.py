"""What each ingredient of the default is worth: one out, or another in, at a time, paired over many data sets.

    python benchmarks/ablation.py --data DATA --out out/ablation [--sets regression,positive,count] [--cap 1000]
        [--epochs 60] [--variants default,erm]
    python benchmarks/ablation.py --data DATA --out out/best --epochs 0 --baseline best
        --variants "default,best,best with perceptrons"

Nothing here sees a test row of the board, of any of its splits, which overlap: of each set at most `cap` of the rows
that no split tests by are split again, four fifths to fit and one fifth to judge. The preset "default" is fitted as it
is, but for at most so many epochs (of 0, as many as the preset says), and with one change at a time; where that is a
list of families, all of it is trained to the end. Sets of fewer than 200 such rows are split, and fitted, five times.
Every line of ``results.csv`` is a set and a variant; lines that are there are not computed again. The table has for
each variant the mean over sets of the difference of its NLL to that of the default, positive where the default is
better, its standard error over sets, the median, on how many sets the default is better, and the mean of the relative
difference of the CRPS. (Calibrated labels are for exponential families, and mixtures are none.)
"""

import argparse
import os
import time
import warnings
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch
from common import names
from sklearn.model_selection import train_test_split

from probmix import DensityRegressor
from probmix.calibration import RecalibratedRegressor
from probmix.estimators.presets import PRESETS, Settings
from probmix.experiments.leaderboard.sets import (
    Rows,
    kind_of,
    known_sets,
    load_rows,
    number_of_splits,
    rows_without_test,
)
from probmix.mixup import Mixup
from probmix.networks import MLP, Periodic, PiecewiseLinear, SharedMLP
from probmix.scores import crps
from probmix.training import units

# Of the committed board: at most so many rows of a set, split so many times, and so many times if it is of uci/.
BOARD_CAP, BOARD_SPLITS = 10_000, (3, 20)
# Sets of fewer rows than this are split so many times: a fifth of 30 rows judges by luck.
SMALL, SMALL_SEEDS = 200, 5
_ONE_DENSITY = {"real": ["gaussian"], "positive": ["lognormal", "gaussian"], "count": ["negative-binomial", "poisson"]}
_HISTOGRAM = {
    "real": ["gaussian-mixture", "histogram"],
    "positive": ["lognormal-mixture", "gaussian-mixture", "histogram"],
}


def _probmix(**changes: Any) -> dict[str, Any]:
    return {"mixup": Mixup(**{"at": "output", "label_pool": "linear", "clean": 0.5} | changes)}


def changes(variant: str, kind: str) -> dict[str, Any] | None:
    """The parameters that a variant sets, for real, positive or count targets; None where it is the default."""
    both: tuple[MLP, ...] = PRESETS["default"].network
    variants: dict[str, dict[str, Any] | None] = {
        "default": {},
        "one member": {"n_members": 1},
        "four members": {"n_members": 4},
        "random parts": {"validation": "random"},
        "no embeddings": {"network": [MLP((128, 64))]},
        "first network": {"network": [both[0]]},
        "periodic": {"network": [both[1]]},
        "piecewise": {"network": [MLP((128, 64), embedding=PiecewiseLinear())]},
        "constant rate": {"learning_rate": 5e-3},
        "one density": {"family": _ONE_DENSITY[kind], "network": list(both)},
        "histogram too": {"family": _HISTOGRAM[kind], "network": list(both)} if kind in _HISTOGRAM else None,
        "erm": {"mixup": "erm"},
        "erm too": {"mixup": [_probmix()["mixup"], "erm"]},
        "no clean share": _probmix(clean=0.0),
        "M-ProbMix": _probmix(at="embedding"),
        "weight decay": {"weight_decay": 0.05},
        "no clipping": {},
        **{name: {} for name in CHANGED_PRESETS},
    }
    for name in ("histogram in the search", "recalibrated"):
        variants[name] = {} if kind in _HISTOGRAM else None
    return variants[variant]


def _changed_presets() -> dict[str, Settings]:
    """What the preset is in variants of it."""
    default = PRESETS["default"]
    shared = tuple(SharedMLP(one.sizes, k=4, embedding=one.embedding) for one in default.network)
    lists = default.family
    searched = replace(lists, real=(*lists.real, "histogram"), positive=(*lists.positive, "histogram"))
    best = PRESETS["best"]
    perceptrons = (
        default.network[0],
        MLP((128, 64), embedding=PiecewiseLinear()),
        MLP((256, 128), embedding=Periodic()),
    )
    return {
        "best": best,
        "best with perceptrons": replace(best, network=perceptrons, search=replace(best.search, kept=(6, 3))),
        "dropout": replace(default, network=tuple(replace(one, dropout=0.1) for one in default.network)),
        "shared weights": replace(default, network=shared),
        "four members with shared weights": replace(default, network=shared, n_members=4),
        "histogram in the search": replace(default, family=searched),
        "every family with both networks": replace(default, search=replace(default.search, by_network=False)),
    }


CHANGED_PRESETS = _changed_presets()


VARIANTS = (
    "default", "erm", "first network", "periodic", "piecewise", "no embeddings", "one density",
    "one member", "random parts", "constant rate", "no clean share", "erm too", "histogram too", "M-ProbMix",
    "four members", "weight decay", "no clipping", "recalibrated",
    *(one for one in CHANGED_PRESETS if not one.startswith("best")),
)  # fmt: skip


def line(variant: str, name: str, rows: Rows, epochs: int, seed: int) -> dict[str, Any] | None:
    """Scores of a variant on rows of a set."""
    own = changes(variant, kind_of(name))
    if own is None:
        return None
    fitted, judging = train_test_split(np.arange(len(rows.y)), test_size=0.2, random_state=1000 + seed)
    fit, judge = rows.take(fitted), rows.take(judging)
    start = time.process_time()
    preset = CHANGED_PRESETS.get(variant, PRESETS["default"])
    limit = 1e6 if variant == "no clipping" else units.CLIP_LIMIT
    with (
        patch.dict(PRESETS, {"default": preset}),
        patch.object(units, "CLIP_LIMIT", limit),
        warnings.catch_warnings(),
    ):
        # of members that learned nothing, and of rows far out
        warnings.simplefilter("ignore")
        model = DensityRegressor(**own, max_epochs=epochs or None, random_state=seed, device="cpu")
        if variant == "recalibrated":
            model = RecalibratedRegressor(model, random_state=seed)
        model.fit(fit.X, fit.y, exposure=fit.exposure)
        nll = -model.log_prob(judge.X, judge.y, exposure=judge.exposure)
        distribution = model.predict_dist(judge.X, exposure=judge.exposure)
        scores = crps(distribution, judge.y).numpy()
    return {
        "nll": nll.mean(),
        "crps": scores.mean(),
        "worst_nll": nll.max(),
        "seconds": time.process_time() - start,
    }


def free_rows(name: str, cap: int, data: Path | None) -> Rows:
    """At most `cap` rows of a set, which no split of the board tests by."""
    n_splits = number_of_splits(name, *BOARD_SPLITS)
    rows = rows_without_test(name, load_rows(name, BOARD_CAP, data), n_splits)
    return rows.take(np.arange(min(cap, len(rows.y))))


def table_of(done: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """A line for each variant but the baseline, of means over the splits of a set."""
    by_set = done.pivot_table(index="set", columns="variant", values=["nll", "crps"], aggfunc="mean")
    rows = []
    for variant in [one for one in done["variant"].unique() if one != baseline]:
        difference = (by_set["nll"][variant] - by_set["nll"][baseline]).dropna()
        relative = (by_set["crps"][variant] / by_set["crps"][baseline] - 1).dropna()
        rows.append(
            {
                "variant": variant,
                "sets": len(difference),
                "nll": difference.mean(),
                "se": difference.sem(),
                "median": difference.median(),
                f"{baseline} better": int((difference > 0).sum()),
                "crps, %": 100 * relative.mean(),
            }
        )
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("PROBMIX_DATA"))
    parser.add_argument("--out", type=Path, default=Path("out/ablation"))
    parser.add_argument("--sets", type=names, default=["regression", "positive", "count"])
    parser.add_argument("--variants", type=names, default=list(VARIANTS))
    parser.add_argument("--baseline", default="default")
    parser.add_argument("--cap", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=60)
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "results.csv"
    done = pd.read_csv(path).to_dict("records") if path.exists() else []
    known = [one for one in known_sets(options.data) if one in options.sets or one.split("/")[0] in options.sets]
    for name in known:
        rows = free_rows(name, options.cap, options.data)
        for seed, variant in product(range(SMALL_SEEDS if len(rows.y) < SMALL else 1), options.variants):
            settings = {"set": name, "variant": variant, "seed": seed, "cap": options.cap, "epochs": options.epochs}
            if any(settings.items() <= one.items() for one in done):
                continue
            scores = line(variant, name, rows, options.epochs, seed)
            if scores is not None:
                done.append(settings | {"rows": len(rows.y)} | scores)
                pd.DataFrame(done).to_csv(path, index=False)
    print(table_of(pd.DataFrame(done), options.baseline).round(4).to_string(index=False))


if __name__ == "__main__":
    main()
