"""Toy regression: a cubic, in and out of distribution.

The paper fixes the data, the network, full batches, 500 epochs at a rate of 0.01, 10 runs and the values of alpha. It
leaves open activation, variance link and the number of test points. Here, for all methods alike:

Data: 100 training points with x uniform on (-4, 4) and y = x^3 + N(0, 9). 1000 test points have x uniform on (4, 6),
out of distribution ("outside"), and 1000 on (-4, 4) ("inside"). A seed gives the data and the fit. Targets are
standardised by the training points, and scores are in these units.

Training: a perceptron with layers of 128 and 64 ReLU units and a Gaussian head; full batches unless a batch size is
given; AdamW without decay, which is Adam. 20 % of the training points are held out, and their mean NLL chooses the
epoch. No run stops early.

Mixing: weights are Beta(alpha, alpha), beta is the variance of the label kernel, and local methods take one of the 5
nearest neighbours. The method erm has no alpha: its figures are the same in all rows. M-ProbMix predicts a mixture
over 64 draws of the first layer.

Single seeds dominate the means out of distribution: summary.csv has the medians.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ..datasets import toy_cubic
from ..estimators import DensityRegressor
from .bands import forecast_bands
from .base import Outcome, Picture
from .fitting import Fit
from .methods import AUTO, METHODS, Strength
from .published import TOY_REGRESSION
from .scoring import forecast_scores
from .store import Result, Unit
from .toy_figures import band_pictures
from .toys import Rows, ToyExperiment

PROTOCOL = f"{(__doc__ or '').strip()}\n\n{AUTO}"
ALPHAS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0)

_TRAINING_ROWS, _TEST_ROWS = 100, 1000
# Where test points lie, and what is added to the seed of the training points.
_REGIONS = {"outside": (4.0, 6.0, 1000), "inside": (-4.0, 4.0, 2000)}
_DRAWN = np.linspace(-6.0, 6.0, 121)


class ToyRegressionExperiment(ToyExperiment):
    """Table 5 and figure 4 of the paper, under the protocol that this module describes.

    Parameters
    ----------
    methods, n_seeds, epochs, alphas, betas, batch_size, device
        As in `ToyExperiment`.

    References
    ----------
    El-Laham et al. (2025), Mixup Regularization: A Probabilistic Perspective, UAI, table 5 and figure 4.
    """

    title = "Toy regression"
    protocol = PROTOCOL
    model = DensityRegressor
    rows = ("region", "alpha", "beta")
    published = TOY_REGRESSION
    tests = tuple({"region": region} for region in _REGIONS)

    def __init__(
        self,
        methods: Sequence[str] = METHODS[:9],
        n_seeds: int = 10,
        epochs: int = 500,
        alphas: Sequence[Strength] = ALPHAS,
        betas: Sequence[Strength] = (0.0,),
        batch_size: int | None = None,
        device: str = "auto",
    ) -> None:
        super().__init__(methods, n_seeds, epochs, alphas, betas, batch_size, device)

    def training_rows(self, seed: int) -> Rows:
        """Standardised by themselves."""
        return self._simulated(seed, _TRAINING_ROWS)

    def outcome(self, unit: Unit, fit: Fit) -> Outcome:
        """Scores in the region of the unit; what is to be drawn is stored once, with the first seed."""
        low, high, offset = _REGIONS[str(unit["region"])]
        seed = int(unit["seed"])
        X, y = self._simulated(seed, _TEST_ROWS, low, high, offset)
        details = {}
        if seed == 0 and unit["region"] == "outside":
            points, targets = self.training_rows(seed)
            _, truth = self._standardised(seed, _DRAWN[:, np.newaxis], _DRAWN**3)
            details = {
                "x": _DRAWN.tolist(),
                "truth": truth.tolist(),
                "points": [points[:, 0].tolist(), targets.tolist()],
                **forecast_bands(fit.model.predict_dist(_DRAWN[:, np.newaxis])),
            }
        return Outcome(forecast_scores(fit.model.predict_dist(X), y), details)

    def pictures(self, results: Sequence[Result]) -> Iterator[Picture]:
        """Predictive bands of all methods, for every strength."""
        return band_pictures(results)

    def _simulated(self, seed: int, n: int, low: float = -4.0, high: float = 4.0, offset: int = 0) -> Rows:
        return self._standardised(seed, *toy_cubic(n, low, high, random_state=offset + seed))

    def _standardised(self, seed: int, X: NDArray[np.float64], y: NDArray[np.float64]) -> Rows:
        _, training = toy_cubic(_TRAINING_ROWS, random_state=seed)
        return X, (y - training.mean()) / training.std()
