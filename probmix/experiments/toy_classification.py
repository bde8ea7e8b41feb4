"""Toy classification: three noisy rings.

The paper fixes the radii, the noise and the number of training points. It leaves open how points are shared among
rings, and what alpha and beta its picture has. Here, for all methods alike:

Data: 100 training points on rings of radius 0.5, 1.5 and 2.5, as many on each as can be, at uniform angles, with
noise N(0, 0.09 I); 3000 test points like them. A seed gives the data and the fit.

Training: a perceptron with layers of 128 and 64 ReLU units and a categorical head; full batches unless a batch size
is given; AdamW without decay, which is Adam, at a rate of 0.01; 500 epochs. 20 % of the training points are held out,
and their mean NLL chooses the epoch. No run stops early.

Mixing: weights are Beta(alpha, alpha), beta is what the label kernel adds to the probability of every class, and
local methods take one of the 5 nearest neighbours. The method erm has neither: its figures are the same in all rows.
M-ProbMix predicts the mean over 64 draws of the first layer.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from ..datasets import three_rings
from ..estimators import DensityClassifier
from .base import Outcome, Picture
from .fitting import Fit
from .methods import ALPHAS, AUTO, BETAS, METHODS, Strength
from .scoring import class_scores
from .store import Result, Unit
from .toy_figures import class_pictures
from .toys import Rows, ToyExperiment

PROTOCOL = f"{(__doc__ or '').strip()}\n\n{AUTO}"

_TRAINING_ROWS, _TEST_ROWS = 100, 3000
# What is added to the seed of the training points.
_TEST_SEEDS = 1000
_DRAWN = np.linspace(-4.5, 4.5, 46)


class ToyClassificationExperiment(ToyExperiment):
    """Figure 15 of the paper, under the protocol that this module describes.

    Parameters
    ----------
    methods, n_seeds, epochs, alphas, betas, batch_size, device
        As in `ToyExperiment`.

    References
    ----------
    El-Laham et al. (2025), Mixup Regularization: A Probabilistic Perspective, UAI, figure 15.
    """

    title = "Toy classification"
    protocol = PROTOCOL
    model = DensityClassifier
    rows = ("alpha", "beta")

    def __init__(
        self,
        methods: Sequence[str] = METHODS[:9],
        n_seeds: int = 10,
        epochs: int = 500,
        alphas: Sequence[Strength] = ALPHAS,
        betas: Sequence[Strength] = BETAS,
        batch_size: int | None = None,
        device: str = "auto",
    ) -> None:
        super().__init__(methods, n_seeds, epochs, alphas, betas, batch_size, device)

    def training_rows(self, seed: int) -> Rows:
        """Points and rings."""
        return three_rings(_TRAINING_ROWS, random_state=seed)

    def outcome(self, unit: Unit, fit: Fit) -> Outcome:
        """Scores on new points; what is to be drawn is stored with the first seed."""
        seed = int(unit["seed"])
        X, classes = three_rings(_TEST_ROWS, random_state=_TEST_SEEDS + seed)
        details = {}
        if seed == 0:
            points, rings = self.training_rows(seed)
            plane = np.stack(np.meshgrid(_DRAWN, _DRAWN), -1)
            probabilities = fit.model.predict_proba(plane.reshape(-1, 2)).reshape(*plane.shape[:2], -1)
            details = {
                "limits": [float(_DRAWN[0]), float(_DRAWN[-1])],
                "probabilities": probabilities.round(4).tolist(),
                "points": points.T.tolist(),
                "rings": rings.tolist(),
            }
        return Outcome(class_scores(fit.model.predict_dist(X), classes), details)

    def pictures(self, results: Sequence[Result]) -> Iterator[Picture]:
        """Class probabilities and their entropy in the plane, of all methods, for every strength."""
        return class_pictures(results)
