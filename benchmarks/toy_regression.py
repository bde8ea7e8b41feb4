"""Out-of-distribution NLL on the cubic toy regression, the setting of Table 5 of the ProbMix paper.

    python benchmarks/toy_regression.py [--methods erm,mixup,m-probmix,local-m-probmix] [--seeds 10] [--alpha 0.25]

100 training points with x uniform on (-4, 4), y = x^3 + N(0, 9); test points with x uniform on (4, 6), and others on
(-4, 4). MLP of 128 and 64 hidden units, full batches, AdamW without decay at a rate of 0.01, 500 epochs, 20 % of the
training part for choosing the epoch, label variance 1e-32. A seed gives data and training. NLL in the units of
standardised targets, means with standard errors over seeds, and the medians, since single seeds dominate such means.
A method may carry its pool, as in m-probmix:linear.
"""

import argparse

import numpy as np
from tqdm import tqdm

from probmix import DensityRegressor
from probmix.datasets import toy_cubic
from probmix.mixup import preset

METHODS = "erm,mixup,local-mixup,manifold-mixup,local-manifold-mixup,probmix,local-probmix,m-probmix,local-m-probmix"
TEST_ROWS = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--alpha", type=float, default=0.25)
    arguments = parser.parse_args()
    print(f"{'method':28s}{'out of distribution':>24s}{'median':>10s}{'in distribution':>22s}")
    for method in arguments.methods.split(","):
        scores = [nll(method, arguments.alpha, seed) for seed in tqdm(range(arguments.seeds), desc=method, leave=False)]
        outside, inside = np.array(scores).T
        print(f"{method:28s}{described(outside):>24s}{np.median(outside):10.2f}{described(inside):>22s}", flush=True)


def nll(method: str, alpha: float, seed: int) -> tuple[float, float]:
    """Mean NLL on (4, 6) and on (-4, 4)."""
    name, _, pool = method.partition(":")
    changes = {"pool": pool} if pool else {}
    mixup = preset(name) if name == "erm" else preset(name, alpha=alpha, label_spread=1e-32, **changes)
    model = DensityRegressor(
        "gaussian", mixup, hidden_layer_sizes=(128, 64), batch_size=None, learning_rate=0.01, weight_decay=0.0,
        max_epochs=500, patience=None, random_state=seed,
    ).fit(*toy_cubic(100, random_state=seed))  # fmt: skip
    unit = np.log(model.scaler_.scale.item())
    outside = toy_cubic(TEST_ROWS, 4.0, 6.0, random_state=1000 + seed)
    inside = toy_cubic(TEST_ROWS, random_state=2000 + seed)
    return -model.score(*outside) - unit, -model.score(*inside) - unit


def described(values: np.ndarray) -> str:
    return f"{values.mean():.2f} +- {values.std(ddof=1) / len(values) ** 0.5:.2f}"


if __name__ == "__main__":
    main()
