"""What the density estimators share: validation, training, and prediction in the user's units."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyro.distributions as dist
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
from torch import Tensor

from ..distributions import Independent
from ..families import ExponentialFamily
from ..mixup import Mixup, as_mixup
from ..networks import DensityNetwork
from ..pooling import linear_pool, log_linear_pool
from ..random import KeyedRandom, member_keys
from ..training import TrainingData, TrainingOptions, train
from .checks import check_device, check_integer, check_layer_sizes, check_pool, check_real, check_seed
from .persistence import save_estimator
from .rows import as_numpy, canonical_rows, split_rows

# Rows and members per forward pass in prediction: bounds the activations.
_ROWS_AT_ONCE = 1 << 16


class DensityEstimator(BaseEstimator, ABC):
    """Base of `DensityRegressor` and `DensityClassifier`; not for use by itself."""

    def __init__(
        self,
        mixup: str | Mixup = "probmix",
        hidden_layer_sizes: Sequence[int] = (128, 64),
        n_members: int = 1,
        pool: str = "linear",
        max_epochs: int = 200,
        batch_size: int | None = 64,
        learning_rate: float = 5e-3,
        weight_decay: float = 1e-4,
        validation_fraction: float = 0.2,
        patience: int | None = 30,
        device: str | torch.device = "auto",
        random_state: int | np.random.RandomState | np.random.Generator | None = None,
        verbose: bool = False,
        checkpoint: str | Path | None = None,
    ) -> None:
        self.mixup = mixup
        self.hidden_layer_sizes = hidden_layer_sizes
        self.n_members = n_members
        self.pool = pool
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.device = device
        self.random_state = random_state
        self.verbose = verbose
        self.checkpoint = checkpoint

    # -- what a subclass adds ------------------------------------------------------------------------------------------

    @abstractmethod
    def _validate_fit(self, X: Any, y: Any) -> tuple[NDArray[Any], NDArray[Any], ExponentialFamily]:
        """Features, numerical targets and the family, all checked; sets what describes the targets."""

    @abstractmethod
    def _validate_targets(self, y: Any) -> NDArray[Any]:
        """Numerical targets for scoring."""

    # -- fitting -------------------------------------------------------------------------------------------------------

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the conditional density of y given X.

        Parameters
        ----------
        X : array-like, (n, F)
        y : array-like, (n,); for a regressor also (n, d)
        sample_weight : array-like, (n,), optional
            Non-negative. A row of weight two counts exactly like the row twice, a row of weight zero not at all.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For NaN or infinite features, targets outside the support of the family, unknown names, parameters out of
            range, or too few rows; before any work is done.
        RuntimeError
            If training diverged.

        Notes
        -----
        A fit that fails leaves the estimator unfitted, also if it was fitted before.
        """
        self._forget()
        try:
            self._fit(X, y, sample_weight)
        except BaseException:
            self._forget()
            raise
        return self

    def _forget(self) -> None:
        for name in [name for name in vars(self) if name.endswith("_") and not name.startswith("_")]:
            delattr(self, name)

    def _fit(self, X: Any, y: Any, sample_weight: Any) -> None:
        mixup, options, device = self._check_parameters()
        x, targets, family = self._validate_fit(as_numpy(X), as_numpy(y))
        if sample_weight is not None:
            sample_weight = _check_sample_weight(as_numpy(sample_weight), x, dtype=np.float64, ensure_non_negative=True)
        family.check_targets(torch.tensor(targets))
        x, targets, sample_weight = canonical_rows(x, targets, sample_weight)
        classes = self._strata(targets)

        keys = member_keys(check_seed(self.random_state), self.n_members)
        train_rows, validation_rows = split_rows(len(x), self.validation_fraction, KeyedRandom(keys), classes)
        data = TrainingData(
            x=torch.from_numpy(x).to(device),
            y=torch.from_numpy(targets).to(device),
            sample_weight=None if sample_weight is None else torch.from_numpy(sample_weight).to(device),
            train_rows=train_rows.to(device),
            validation_rows=validation_rows.to(device),
        )
        num_targets = targets.shape[1] if targets.ndim == 2 else None
        sizes = check_layer_sizes(self.hidden_layer_sizes)
        network = DensityNetwork(family, x.shape[1], sizes, num_targets, self.n_members).to(device)
        with torch.enable_grad():
            scaler, result = train(network, family, data, mixup, options, keys.to(device))

        self.family_ = family
        self.scaler_ = scaler
        self.validation_curve_ = result.validation_curve
        self.best_epoch_ = result.best_epoch
        # In float64 the prediction for a row does not depend, to the digits shown, on the rows it comes with.
        self.network_ = network.double().eval()

    def _strata(self, y: NDArray[Any]) -> Tensor | None:
        """Classes that have their share of the validation rows each; raises if there is just one."""
        return None

    def _check_parameters(self) -> tuple[Mixup, TrainingOptions, torch.device]:
        check_integer("n_members", self.n_members, 1)
        check_pool(self.pool)
        check_layer_sizes(self.hidden_layer_sizes)
        check_integer("max_epochs", self.max_epochs, 1)
        if self.batch_size is not None:
            check_integer("batch_size", self.batch_size, 1)
        mixup = as_mixup(self.mixup)
        if mixup.at is not None and self.batch_size == 1:
            raise ValueError(
                "`batch_size` must be at least 2 for rows to meet; got 1. Use mixup='erm' for single rows."
            )
        if self.patience is not None:
            check_integer("patience", self.patience, 1)
        check_real("learning_rate", self.learning_rate, 0.0, open_low=True)
        check_real("weight_decay", self.weight_decay, 0.0)
        check_real("validation_fraction", self.validation_fraction, 0.0, 1.0)
        if self.checkpoint is not None and self.random_state is None:
            raise ValueError("`checkpoint` needs a fixed `random_state`: another seed is another run. Pass an integer.")
        options = TrainingOptions(
            max_epochs=self.max_epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            patience=self.patience,
            verbose=bool(self.verbose),
            checkpoint=None if self.checkpoint is None else Path(self.checkpoint),
        )
        return mixup, options, check_device(self.device)

    # -- prediction ----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def _member_params(self, X: Any) -> Tensor:
        """Natural parameters of the members in the user's units, float64, (M, n, [d,] K)."""
        check_is_fitted(self)
        x = torch.tensor(validate_data(self, as_numpy(X), dtype=np.float64, reset=False))
        device = check_device(self.device)
        network = self.network_.to(device)
        step = max(1, _ROWS_AT_ONCE // self.n_members_)
        parts = [network(rows.to(device)) for rows in x.split(step)]
        rescaled: Tensor = self.family_.rescale(torch.cat(parts, 1), self.scaler_.to(device))
        return rescaled

    @property
    def n_members_(self) -> int:
        """Number of fitted members."""
        members: int = self.network_.loc.shape[0]
        return members

    def predict_natural_params(self, X: ArrayLike) -> Tensor:
        """Natural parameters in the user's units.

        Parameters
        ----------
        X : array-like, (n, F)

        Returns
        -------
        Tensor, (n, [d,] K), float64
            Of the one member, or of the log-linear pool of several; with ``pool="linear"`` those of each member,
            (n_members, n, [d,] K), since their mixture has none of its own.
        """
        eta = self._member_params(X)
        if self.n_members_ == 1:
            return eta[0]
        return self._log_linear(eta) if self.pool == "log-linear" else eta

    def predict_dist(self, X: ArrayLike) -> dist.TorchDistribution:
        """The predicted distribution of each row, in the user's units.

        Parameters
        ----------
        X : array-like, (n, F)

        Returns
        -------
        Pyro distribution, float64, batch shape (n,)
            Event shape (d,) with several targets. For several members their linear pool (a mixture) or log-linear pool.
        """
        check_pool(self.pool)
        eta = self._member_params(X)
        if self.n_members_ == 1:
            return self._distribution(eta[0])
        if self.pool == "log-linear":
            return self._distribution(self._log_linear(eta))
        members = self._distribution(eta.movedim(0, 1))
        weights = torch.full(members.batch_shape, 1 / self.n_members_, dtype=eta.dtype, device=eta.device)
        return linear_pool(members, weights)

    def _distribution(self, eta: Tensor) -> dist.TorchDistribution:
        distribution = self.family_.distribution(eta)
        return distribution if self.network_.num_targets is None else Independent(distribution, 1)

    def _log_linear(self, eta: Tensor) -> Tensor:
        weights = torch.full((self.n_members_,), 1 / self.n_members_, dtype=eta.dtype, device=eta.device)
        return log_linear_pool(eta.movedim(0, -2), weights)

    def log_prob(self, X: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
        """Log-density or log-probability of each target, in the user's units: (n, F), (n,) or (n, d) -> (n,)."""
        distribution = self.predict_dist(X)
        targets = torch.tensor(self._validate_targets(as_numpy(y)))
        expected = distribution.batch_shape + distribution.event_shape
        if targets.shape != expected:
            raise ValueError(f"y must have shape {tuple(expected)}, as X and the fit say; got {tuple(targets.shape)}.")
        self.family_.check_targets(targets)
        device = check_device(self.device)
        log_prob: NDArray[np.float64] = distribution.log_prob(targets.to(device)).cpu().numpy()
        return log_prob

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Mean log-likelihood in the user's units; larger is better.

        Parameters
        ----------
        X : array-like, (n, F)
        y : array-like, (n,) or (n, d)
        sample_weight : array-like, (n,), optional
        """
        weights = None if sample_weight is None else np.asarray(as_numpy(sample_weight), dtype=np.float64)
        return float(np.average(self.log_prob(X, y), weights=weights))

    def _sample(self, X: ArrayLike, n_samples: int, random_state: Any) -> Tensor:
        """Draws from the predicted distributions, (n_samples, n[, d]); torch's own generator is left as it was."""
        check_integer("n_samples", n_samples, 1)
        distribution = self.predict_dist(X)
        device = check_device(self.device)
        on_cuda = device.type == "cuda"
        with torch.random.fork_rng([device] if on_cuda else []):
            # torch.manual_seed would reach the generators of all devices, forked or not
            index = device.index or 0
            generator = torch.cuda.default_generators[index] if on_cuda else torch.default_generator
            generator.manual_seed(check_seed(random_state))
            draws: Tensor = distribution.sample(torch.Size([n_samples]))
        return draws

    # -- bookkeeping ---------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write the fitted estimator to one safetensors file, settings as JSON in its header; see `probmix.load`."""
        check_is_fitted(self)
        save_estimator(self, Path(path))

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: everything on the CPU, so that a machine without a GPU can read it."""
        state: dict[str, Any] = super().__getstate__()
        if "network_" in state and state["network_"].loc.device.type != "cpu":
            state["network_"] = copy.deepcopy(state["network_"]).cpu()
            state["scaler_"] = state["scaler_"].to(torch.device("cpu"))
        return state

    def __sklearn_is_fitted__(self) -> bool:
        return "network_" in vars(self)
