"""Rows without labels are worth something: two moons, of which thirty rows have labels."""

import numpy as np
from sklearn.datasets import make_moons

from probmix import DensityRegressor
from probmix.mixup import BetaWeights, Consistency, Mixup

MIXUP = Mixup(at=None, weights=BetaWeights(1.0), unlabelled=Consistency(5.0, ema=0.99, pool="linear"))


def test_rows_without_labels_lower_the_loss_of_new_rows():
    gains = []
    for seed in range(4):
        random = np.random.default_rng(seed)
        x, moon = make_moons(2030, noise=0.15, random_state=int(random.integers(2**31)))
        y = 2.0 * moon + 0.3 * random.normal(size=2030)
        found = []
        for further in (None, x[30:1030]):
            model = DensityRegressor(
                "gaussian", mixup=MIXUP, n_members=2, max_epochs=150, random_state=seed, preset="plain"
            )
            model.fit(x[:30], y[:30], X_unlabelled=further)
            found.append(-np.mean(model.log_prob(x[1030:], y[1030:])))
        gains.append(found[1] - found[0])
    assert np.mean(gains) < 0
    assert np.sum(np.less(gains, 0)) >= 3, gains
