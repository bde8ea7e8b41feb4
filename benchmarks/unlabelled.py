"""What rows without labels are worth: two moons, or a coiled line, of 30 rows with labels and 1,000 without.

    python benchmarks/unlabelled.py [--seeds 10] [--problems classes,gaussian,poisson,noise,coil] [--weight 5]
        [--pool linear] [--ema 0.99] [--members 5] [--probmix]

The moon decides the class, the mean of a Gaussian target, or the rate of a count; "noise" is the class among ten more
features that say nothing, and "coil" a Gaussian target that grows along the line. Printed are the mean negative
log-likelihoods of 2,000 new rows, of the same estimator fitted without the rows and with them, and the mean difference
with its standard error over seeds; negative is better. A fifth of the rows with labels judges each member in both.
The settings were chosen on the seeds from 100 on.
"""

import argparse
import time
import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import make_moons

from probmix import DensityClassifier, DensityRegressor
from probmix.mixup import BetaWeights, Consistency, Mixup, preset

LABELLED, UNLABELLED, NEW = 30, 1000, 2000
MEMBERS, EPOCHS = 5, 300
PROBLEMS = ("classes", "gaussian", "poisson", "noise", "coil")


def settings(weight: float = 5.0, pool: str = "linear", ema: float = 0.99, probmix: bool = False) -> Mixup:
    """Rows with labels are not mixed, or by ProbMix; those without are, by uniform weights or by those of ProbMix."""
    unlabelled = Consistency(weight, ema=ema, pool=pool)
    if probmix:
        return preset("probmix", unlabelled=unlabelled)
    return Mixup(at=None, weights=BetaWeights(1.0), unlabelled=unlabelled)


def make_rows(problem: str, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows on two moons, or on a line, and their targets."""
    random, n = np.random.default_rng(seed), LABELLED + UNLABELLED + NEW
    if problem == "coil":
        share = random.uniform(size=n)
        angle = 1.5 * np.pi * (1 + 2 * share)
        line = np.stack([angle * np.cos(angle), angle * np.sin(angle)], 1) / 10
        return line + 0.02 * random.normal(size=(n, 2)), 3 * share + 0.1 * random.normal(size=n)
    x, moon = make_moons(n, noise=0.15, random_state=int(random.integers(2**31)))
    match problem:
        case "classes":
            return x, moon
        case "noise":
            return np.hstack([x, 0.5 * random.normal(size=(n, 10))]), moon
        case "gaussian":
            return x, 2.0 * moon + 0.3 * random.normal(size=len(moon))
        case "poisson":
            return x, random.poisson(np.where(moon == 0, 2.0, 12.0)).astype(float)
    raise ValueError(f"unknown problem {problem!r}; the problems are {', '.join(PROBLEMS)}.")


def losses(problem: str, seed: int, mixup: Mixup, members: int = MEMBERS, epochs: int = EPOCHS) -> tuple[float, float]:
    """Mean NLL of new rows, without the rows that have no labels and with them."""
    x, y = make_rows(problem, seed)
    labelled, new = slice(LABELLED), slice(LABELLED + UNLABELLED, None)
    found = []
    for further in (None, x[LABELLED : LABELLED + UNLABELLED]):
        options = {"max_epochs": epochs, "n_members": members, "random_state": seed}
        if problem in ("classes", "noise"):
            model = DensityClassifier(mixup, **options, preset="plain")
        else:
            model = DensityRegressor(
                "gaussian" if problem == "coil" else problem, mixup=mixup, **options, preset="plain"
            )
        model.fit(x[labelled], y[labelled], X_unlabelled=further)
        found.append(-float(np.mean(model.log_prob(x[new], y[new]))))
    return found[0], found[1]


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--problems", default=",".join(PROBLEMS))
    parser.add_argument("--weight", type=float, default=5.0)
    parser.add_argument("--pool", choices=["log-linear", "linear"], default="linear")
    parser.add_argument("--ema", type=float, default=0.99)
    parser.add_argument("--members", type=int, default=MEMBERS)
    parser.add_argument("--probmix", action="store_true", help="mix the rows with labels by the preset probmix")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    # new rows may lie outside of the range of thirty
    warnings.simplefilter("ignore")
    mixup, members = settings(arguments.weight, arguments.pool, arguments.ema, arguments.probmix), arguments.members
    print(f"{arguments.seeds} seeds from {arguments.first_seed}, {members} members, {mixup.unlabelled}")
    print(f"{'':10s}{'without':>10s}{'with':>10s}{'difference':>20s}{'better in':>11s}{'seconds':>9s}")
    for problem in arguments.problems.split(","):
        begin = time.perf_counter()
        seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
        found = np.array([losses(problem, seed, mixup, members) for seed in seeds])
        gains = found[:, 1] - found[:, 0]
        error = gains.std(ddof=1) / np.sqrt(len(gains))
        means = "".join(f"{mean:10.3f}" for mean in found.mean(0))
        took = time.perf_counter() - begin
        print(f"{problem:10s}{means}{gains.mean():+12.3f} ± {error:.3f}{(gains < 0).sum():>11d}{took:9.0f}", flush=True)


if __name__ == "__main__":
    main()
