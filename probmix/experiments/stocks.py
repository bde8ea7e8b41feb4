"""Stock forecasting: the close 21 trading days ahead, from 42 days of open, high, low and close.

The paper fixes the stocks and the years, the lengths 42 and 21, the encoders, Adam at a rate of 0.0005 and 2000
epochs. It leaves open how time is split, what is scaled, the batch size, alpha, beta and the number of runs. Here, for
all methods alike:

Split: in time. Of the windows of a stock the first 60 % are training, the next 20 % validation, the last 20 % test.
Windows whose target lies across a boundary are dropped: the last target of training is observed at the first forecast
origin of validation, and the last target of validation at the first origin of the test.

Scaling: each input channel by its mean and standard deviation over the rows that training windows see. Inputs, once
more, and targets are then standardised by the estimator, which takes the units from the training windows too. Scores
and pictures are in US dollars per share, adjusted for splits as the file is.

Training: full batches, AdamW without decay, which is Adam. The validation part chooses the epoch, by its mean NLL;
nothing else is chosen by any data, and no run stops early. Mixing weights are Beta(alpha, alpha), beta is the variance
of the label kernel in units of the scaled target, and local methods take one of the 5 nearest windows.

Encoders: an LSTM with one layer of 64 units, and a transformer encoder with 2 layers of 64 units and 2 heads. The
outputs of all steps are compressed linearly to an embedding of 64 numbers, where the manifold methods and M-ProbMix
meet. The head is Gaussian; M-ProbMix predicts a mixture over draws of the embedding.

Seeds: 0, 1, ...; a seed gives the initial weights and all draws of a fit. The data are the same for all seeds, so that
standard errors are those of training, not of other years.
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from .. import __version__
from .._names import unknown_name
from ..datasets import load_series, windows
from ..estimators import DensityRegressor
from ..mixup import preset, preset_names
from ..networks import LSTMEncoder, TransformerEncoder
from .base import Outcome
from .scoring import forecast_quantiles, forecast_scores
from .stock_figures import LEVELS, draw_forecasts
from .store import Result, Unit

PROTOCOL = (__doc__ or "").strip()
SERIES = "series/stocks_2019_2020"
STOCKS = ("GOOG", "GME", "NVDA", "RCL")
METHODS = (
    "erm",
    "mixup",
    "local-mixup",
    "manifold-mixup",
    "local-manifold-mixup",
    "probmix",
    "local-probmix",
    "m-probmix",
    "local-m-probmix",
)
ENCODERS = {"lstm": LSTMEncoder, "transformer": TransformerEncoder}

_CHANNELS = ("Open", "High", "Low", "Close")
_TARGET = "Close"
_INPUT_LENGTH, _HORIZON = 42, 21
_LEARNING_RATE = 5e-4
_N_DRAWS = 64


class StockExperiment:
    """The stock tables of the paper, under the protocol that this module describes.

    Parameters
    ----------
    stocks, encoders, methods : sequence of str
        Tickers in the file, names in `ENCODERS`, and names of presets of `probmix.mixup`.
    n_seeds : int
    epochs : int
    alpha, beta : float
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

    def __init__(
        self,
        stocks: Sequence[str] = STOCKS,
        encoders: Sequence[str] = tuple(ENCODERS),
        methods: Sequence[str] = METHODS,
        n_seeds: int = 5,
        epochs: int = 2000,
        alpha: float = 0.2,
        beta: float = 0.0,
        device: str = "auto",
        data: str | Path | None = None,
    ) -> None:
        for name, number in (("n_seeds", n_seeds), ("epochs", epochs)):
            if number < 1:
                raise ValueError(f"`{name}` must be an integer of at least 1; got {number}.")
        self.encoders = _known("encoder", encoders, ENCODERS)
        self.methods = _known("mixup preset", methods, preset_names())
        self.n_seeds = n_seeds
        self._mixups = {name: preset(name, alpha=alpha, label_spread=beta) for name in self.methods}
        table = _prices(data)
        self.stocks = _known("stock", stocks, table["Ticker"].unique().tolist())
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
            "learning_rate": _LEARNING_RATE,
            "alpha": alpha,
            "beta": beta,
            "n_draws": _N_DRAWS,
            "device": _device(device),
            "data": hashlib.sha256(table.to_csv().encode()).hexdigest()[:16],
            "probmix": __version__,
            "torch": torch.__version__,
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

    def work(self, unit: Unit) -> Outcome:
        """Fit one method to one stock, and score it on the test part."""
        parts = self.parts[str(unit["dataset"])]
        model = self.estimator(unit).fit(
            parts.train.X, parts.train.y, X_val=parts.validation.X, y_val=parts.validation.y
        )
        distribution = model.predict_dist(parts.test.X)
        details = {
            "day": [day.isoformat() for day in parts.test.target_labels],
            "truth": parts.test.y.tolist(),
            "mean": distribution.mean.tolist(),
            "quantiles": forecast_quantiles(distribution, LEVELS),
        }
        scores = {**forecast_scores(distribution, parts.test.y), "best_epoch": int(model.best_epoch_[0])}
        return Outcome(scores, details)

    def estimator(self, unit: Unit) -> DensityRegressor:
        """The unfitted estimator of a unit."""
        return DensityRegressor(
            "gaussian",
            self._mixups[str(unit["method"])],
            network=ENCODERS[str(unit["encoder"])],
            n_draws=_N_DRAWS,
            max_epochs=self.settings["epochs"],
            batch_size=None,
            learning_rate=_LEARNING_RATE,
            weight_decay=0.0,
            patience=None,
            device=self.settings["device"],
            random_state=int(unit["seed"]),
        )

    def draw(self, results: Sequence[Result], folder: Path) -> None:
        """A fan chart of the test period for every stock and encoder."""
        draw_forecasts(results, folder)


def _known(kind: str, names: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    """The names, each once; a name twice would be the same work twice."""
    known, names = list(known), tuple(dict.fromkeys(names))
    if not names:
        raise ValueError(f"at least one {kind} must be named; known are {', '.join(map(repr, known))}.")
    for name in names:
        if name not in known:
            raise unknown_name(kind, name, known)
    return names


def _prices(data: str | Path | None) -> pd.DataFrame:
    table = load_series(SERIES, data)
    missing = [name for name in ("Ticker", *_CHANNELS) if name not in table]
    if missing:
        raise ValueError(
            f"the series {SERIES!r} must have the columns Ticker, {', '.join(_CHANNELS)}; it lacks "
            f"{', '.join(missing)}. Mend the header of the file."
        )
    return table


def _device(device: str) -> str:
    """Where to train: results of a GPU and of a CPU differ in their last digits, and are not mixed."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device
