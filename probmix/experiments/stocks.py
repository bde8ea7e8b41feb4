"""Stock forecasting: the close 21 trading days ahead, from 42 days of open, high, low and close.

The paper fixes the stocks and the years, the lengths 42 and 21, the encoders, Adam at a rate of 0.0005 and 2000
epochs. It leaves open how time is split, what is scaled, the batch size, alpha, beta and the number of runs. Here,
for all methods alike:

Split: in time. Of the windows of a stock the first 60 % are training, the next 20 % validation, the last 20 % test.
Windows whose target lies across a boundary are dropped: the last target of training is observed at the first forecast
origin of validation, and the last target of validation at the first origin of the test.

Scaling: each input channel by its mean and standard deviation over the rows that training windows see. Inputs, once
more, and targets are then standardised by the estimator, which takes the units from the training windows too. Scores
and pictures are in US dollars per share, adjusted for splits as the file is.

Training: full batches unless a batch size is given, AdamW without decay, which is Adam. The validation part chooses
the epoch, by its mean NLL; no run stops early. Mixing weights are Beta(alpha, alpha), beta is the variance of the
label kernel in units of the scaled target, and local methods take one of the 5 nearest windows.

Encoders: an LSTM with one layer of 64 units, and a transformer encoder with 2 layers of 64 units and 2 heads. The
outputs of all steps are compressed linearly to an embedding of 64 numbers, where the manifold methods and M-ProbMix
are mixed. The head is Gaussian; M-ProbMix predicts a mixture over draws of the embedding.

Seeds: 0, 1, ...; a seed gives the initial weights and all draws of a fit. The data are the same for all seeds, so
that standard errors are those of training, not of other years.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..datasets import load_series, windows
from ..estimators import DensityRegressor
from ..mixup import Mixup
from ..networks import LSTMEncoder, TransformerEncoder
from .bands import forecast_bands
from .base import Experiment, Outcome, Picture
from .fitting import best_fits, resolved_device, schedule, with_mixup
from .methods import AUTO, Candidate, Strength, candidates, check_methods, check_names, check_positive
from .methods import METHODS as ALL_METHODS
from .published import STOCKS as PUBLISHED
from .scoring import forecast_scores
from .stock_figures import forecast_pictures
from .store import Result, Unit
from .tabular import versions

PROTOCOL = f"{(__doc__ or '').strip()}\n\n{AUTO}"
SERIES = "series/stocks_2019_2020"
STOCKS = ("GOOG", "GME", "NVDA", "RCL")
METHODS = ALL_METHODS[:9]
ENCODERS = {"lstm": LSTMEncoder, "transformer": TransformerEncoder}

_CHANNELS = ("Open", "High", "Low", "Close")
_TARGET = "Close"
_INPUT_LENGTH, _HORIZON = 42, 21
_LEARNING_RATE = 5e-4
_N_DRAWS = 64


class StockExperiment(Experiment):
    """The stock tables of the paper, under the protocol that this module describes.

    Parameters
    ----------
    stocks, encoders, methods : sequence of str
        Tickers in the file, names in `ENCODERS`, and presets of `probmix.mixup`, or with a pool as in
        "m-probmix:linear".
    n_seeds, epochs : int
    alpha, beta : float or "auto"
        As in `candidates`.
    batch_size : int or None
        None for full batches.
    device : {"auto", "cpu", "cuda"}
    data : path, optional
        The folder of data sets, as in `probmix.datasets.load_series`.

    Attributes
    ----------
    parts : dict of str to Windows
        Windows by stock, split in time.

    Raises
    ------
    ValueError
        For unknown names, with the near misses, numbers out of range, and prices that are missing; before any work.
    FileNotFoundError
        If there is no folder to look in.

    References
    ----------
    El-Laham et al. (2025), Mixup Regularization: A Probabilistic Perspective, UAI, tables 2 and 7.
    """

    title = "Stock forecasting"
    protocol = PROTOCOL
    rows = ("dataset", "encoder")
    repeat = "seed"
    ranked_over = "dataset"
    published = PUBLISHED

    def __init__(
        self,
        stocks: Sequence[str] = STOCKS,
        encoders: Sequence[str] = tuple(ENCODERS),
        methods: Sequence[str] = METHODS,
        n_seeds: int = 5,
        epochs: int = 2000,
        alpha: Strength = 0.2,
        beta: Strength = 0.0,
        batch_size: int | None = None,
        device: str = "auto",
        data: str | Path | None = None,
    ) -> None:
        check_positive(n_seeds=n_seeds, epochs=epochs)
        self.encoders = check_names("encoder", encoders, ENCODERS)
        self.methods = check_methods(methods, alpha, beta)
        self.n_seeds = n_seeds
        self._alpha, self._beta = alpha, beta
        table = _prices(data)
        self.stocks = check_names("stock", stocks, table["Ticker"].unique().tolist())
        self.parts = {
            stock: windows(
                table.loc[table["Ticker"] == stock, list(_CHANNELS)], _INPUT_LENGTH, _HORIZON, target=_TARGET
            )
            for stock in self.stocks
        }
        self.settings: dict[str, Any] = {
            "experiment": "stocks",
            "input_length": _INPUT_LENGTH,
            "horizon": _HORIZON,
            "epochs": epochs,
            "batch_size": batch_size,
            "learning_rate": _LEARNING_RATE,
            "alpha": alpha,
            "beta": beta,
            "n_draws": _N_DRAWS,
            "device": resolved_device(device),
            "data": hashlib.sha256(table.to_csv().encode()).hexdigest()[:16],
            **versions(),
        }

    def units(self) -> list[Unit]:
        """Seeds are outermost, so that a run that was stopped early has something of every row."""
        return [
            {"dataset": stock, "encoder": encoder, "method": method, "seed": seed}
            for seed in range(self.n_seeds)
            for stock in self.stocks
            for encoder in self.encoders
            for method in self.methods
        ]

    def cost(self, unit: Unit) -> float:
        """The number of mixups that are tried."""
        return float(len(self._candidates(unit)))

    def work(self, units: Sequence[Unit]) -> list[Outcome]:
        """Fit one method to one stock, and score it on the test part."""
        return [self._outcome(unit) for unit in units]

    def _outcome(self, unit: Unit) -> Outcome:
        parts = self.parts[str(unit["dataset"])]
        held_out = {"X_val": parts.validation.X, "y_val": parts.validation.y}
        (fit,) = best_fits(
            self._candidates(unit),
            lambda mixup: [
                with_mixup(self.estimator(unit, mixup), mixup).fit(parts.train.X, parts.train.y, **held_out)
            ],
        )
        distribution = fit.model.predict_dist(parts.test.X)
        details = {
            "day": [day.isoformat() for day in parts.test.target_labels],
            "truth": parts.test.y.tolist(),
            **forecast_bands(distribution),
        }
        return Outcome({**forecast_scores(distribution, parts.test.y), **fit.chosen()}, details)

    def _candidates(self, unit: Unit) -> list[Candidate]:
        return candidates(str(unit["method"]), self._alpha, self._beta)

    def estimator(self, unit: Unit, mixup: Mixup) -> DensityRegressor:
        """The unfitted estimator of a unit."""
        return DensityRegressor(
            "gaussian",
            mixup,
            network=ENCODERS[str(unit["encoder"])],
            n_draws=_N_DRAWS,
            **schedule(self.settings, _LEARNING_RATE),
            random_state=int(unit["seed"]),
            preset="plain",
        )

    def pictures(self, results: Sequence[Result]) -> Iterator[Picture]:
        """A fan chart of the test period for every stock and encoder."""
        return forecast_pictures(results)


def _prices(data: str | Path | None) -> pd.DataFrame:
    table = load_series(SERIES, data)
    missing = [name for name in ("Ticker", *_CHANNELS) if name not in table]
    if missing:
        raise ValueError(
            f"the series {SERIES!r} must have the columns Ticker, {', '.join(_CHANNELS)}; it lacks "
            f"{', '.join(missing)}. Mend the header of the file."
        )
    return table
