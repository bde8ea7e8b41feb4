"""Prediction and scoring in the user's units, which the density estimators share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import Any

import numpy as np
import pyro.distributions as dist
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from .._answers import check_shape
from .._given import mean_over_rows
from .._models import check_exposure_is_given
from .._numbers import as_numpy
from ..columns import Columns
from ..distributions import Independent
from ..families import Family, TargetScaler
from ..mixup import Mixup
from ..mixup.losses import with_exposure
from ..mixup.rescaling import Rescaling
from ..networks import MemberNetwork
from ..pooling import linear_pool
from ..random import member_keys
from .checks import check_device, check_exposure, check_integer, check_pool
from .far_out import warn_far_out
from .rows import as_tensor, check_rows


class Predictions(ABC):
    """What a fitted density estimator says of new rows."""

    pool: str
    n_draws: int
    device: str | torch.device
    network: Any
    family_: Family
    mixup_: Mixup
    network_: MemberNetwork
    columns_: Columns | None
    scaler_: TargetScaler
    rescaling_: Rescaling | None = None
    seed_: int
    log_exposure_unit_: float | None

    @abstractmethod
    def _validate_targets(self, y: Any, name: str = "y") -> NDArray[Any]:
        """Numerical targets for scoring."""

    @torch.no_grad()
    def _component_params(self, X: Any, exposure: Any = None) -> Tensor:
        """Natural parameters in the user's units, float64, (M, S, n, [d,] K): of the members, S of each.

        They are at draws of an embedding, of the predictions that a member makes, or both.
        """
        return self._params_of(*self._checked_rows(X, exposure))

    def _checked_rows(self, X: Any, exposure: Any = None) -> tuple[Tensor, Tensor | None]:
        """Rows, (n, *F), and logarithms of exposures, (n,), if there are any."""
        check_is_fitted(self)
        check_pool(self.pool, self.family_)
        check_integer("n_draws", self.n_draws, 1)
        table = check_rows(self, X, self.input_shape_, "X")
        warn_far_out(table, self.network_, self.columns_)
        return as_tensor(table), check_exposure(exposure, len(table))

    @torch.no_grad()
    def _params_of(self, x: Tensor, log_exposure: Tensor | None, members: Tensor | None = None) -> Tensor:
        """Those of checked rows, (n, *F), and of logarithms of exposures, (n,); of all members, or some by number."""
        device = check_device(self.device)
        network, scaler = self.network_.on(device), self.scaler_.to(device)
        rescaling = None if self.rescaling_ is None else self.rescaling_.to(device)
        draws = self.n_draws if self._has_draws else 1
        noise = network.draw_noise(member_keys(self.seed_, self.n_members_).to(device), draws)
        if members is not None:
            members = members.to(device)
            network, noise = network.members(members).eval(), noise[members]
            scaler = TargetScaler(scaler.loc[members], scaler.scale[members])
            rescaling = None if rescaling is None else rescaling.members(members)
        parts = []
        with network.drawing(self.seed_):
            for rows in x.split(network.rows_at_once(draws)):
                rows = rows.to(device)
                if rescaling is not None:
                    eta = rescaling.params(network.family, partial(_in_a_row, network), network.standardize(rows))
                    eta = eta.unflatten(1, (network.n_predictions, len(rows)))
                else:
                    eta = network.draws(rows, noise if self._has_draws else None)
                # the scaler has one entry per member: a draw is to it what a row is
                parts.append(self.family_.rescale(eta.flatten(1, 2), scaler).reshape(eta.shape))
        eta = torch.cat(parts, 2)
        units = self._in_mean_exposures(log_exposure)
        return eta if units is None else with_exposure(self.family_, eta, units.to(eta).expand(eta.shape[:3]))

    def _in_mean_exposures(self, log_exposure: Tensor | None) -> Tensor | None:
        """Logarithms of exposures, (n,) or (1,), in the unit of which the rates were learned; None for that unit."""
        if log_exposure is None and not self.log_exposure_unit_:
            return None
        given = torch.zeros(1, dtype=torch.float64) if log_exposure is None else log_exposure
        return given - (self.log_exposure_unit_ or 0.0)

    @property
    def _has_draws(self) -> bool:
        """Whether a prediction is a mixture over draws of an embedding."""
        return self.network_.density_place is not None and self.mixup_.draws > 0

    @property
    def input_shape_(self) -> tuple[int, ...]:
        """Shape of a row of X."""
        return self.network_.input_shape

    @property
    def fitted_with_exposure_(self) -> bool:
        """Whether there were exposures in the fit, so that the network has learned a rate per exposure."""
        return self.log_exposure_unit_ is not None

    @property
    def n_members_(self) -> int:
        """Number of fitted members."""
        return self.network_.n_members

    def predict_natural_params(self, X: ArrayLike) -> Tensor:
        """Natural parameters in the user's units.

        Parameters
        ----------
        X : array-like, (n, F)

        Returns
        -------
        Tensor, (n, [d,] K), float64
            Of the one member, or of the log-linear pool of several; with ``pool="linear"`` those of each member,
            (n_members, n, [d,] K), since their mixture has none of its own. After M-ProbMix those at each draw of the
            embedding, with an axis of length `n_draws` before that of the rows; of a `SharedMLP` those of its k
            predictions, at each draw, along the same axis.
        """
        return self._natural_params(X)

    def _natural_params(self, X: Any, exposure: Any = None) -> Tensor:
        eta = self._component_params(X, exposure)
        if not self._has_draws and self.network_.n_predictions == 1:
            eta = eta.squeeze(1)
        if self.n_members_ == 1:
            return eta.squeeze(0)
        return self.family_.pool_params(eta.movedim(0, -2)) if self.pool == "log-linear" else eta

    def predict_dist(self, X: ArrayLike) -> dist.TorchDistribution:
        """The predicted distribution of each row, in the user's units.

        Parameters
        ----------
        X : array-like, (n, F)

        Returns
        -------
        Pyro distribution, float64, batch shape (n,)
            Event shape (d,) with several targets. For several members their linear pool (a mixture) or log-linear pool.
            After M-ProbMix the mixture over `n_draws` draws of the embedding, from the density of the row by itself;
            members that are pooled log-linearly are so draw by draw. The draws follow from `random_state`. Of a
            `SharedMLP` the mixture of its k predictions likewise.
        """
        return self._predict_dist(X)

    def _predict_dist(self, X: Any, exposure: Any = None) -> dist.TorchDistribution:
        return self._pooled(self._component_params(X, exposure))

    def _pooled(self, eta: Tensor) -> dist.TorchDistribution:
        """The distribution of each row from what members say at their draws, (M, S, n, [d,] K)."""
        members = self.family_.pool_params(eta.movedim(0, -2)) if self.pool == "log-linear" else eta.flatten(0, 1)
        components = members.movedim(0, 1)
        if components.shape[1] == 1:
            return self._distribution(components.squeeze(1))
        return linear_pool(self._distribution(components))

    def _distribution(self, eta: Tensor) -> dist.TorchDistribution:
        distribution = self.family_.distribution(eta)
        return distribution if self.network_.num_targets is None else Independent(distribution, 1)

    def log_prob(self, X: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
        """Log-density or log-probability of each target, in the user's units: (n, F), (n,) or (n, d) -> (n,)."""
        return self._log_prob(X, y)

    def _log_prob(self, X: Any, y: Any, exposure: Any = None) -> NDArray[np.float64]:
        check_exposure_is_given(self, exposure)
        distribution = self._predict_dist(X, exposure)
        checked = self._validate_targets(as_numpy(y))
        check_shape(checked, distribution)
        targets = torch.tensor(checked)
        self._check_targets(targets)
        device = check_device(self.device)
        log_prob: NDArray[np.float64] = distribution.log_prob(targets.to(device)).cpu().numpy()
        return log_prob

    def _check_targets(self, targets: Tensor) -> None:
        """Raise unless targets, (n,) or (n, d), have a density."""
        self.family_.check_targets(targets)

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Mean log-likelihood in the user's units; larger is better.

        Parameters
        ----------
        X : array-like, (n, F)
        y : array-like, (n,) or (n, d)
        sample_weight : array-like, (n,), optional
        """
        return self._score(X, y, sample_weight)

    def _score(self, X: Any, y: Any, sample_weight: Any, exposure: Any = None) -> float:
        return mean_over_rows(self._log_prob(X, y, exposure), sample_weight)


def _in_a_row(network: MemberNetwork, z: Tensor) -> Tensor:
    """Natural parameters of standardised rows, the predictions of a member one after the other: (M, k N, [d,] K)."""
    eta = network.on_standardized(z)
    return eta.view(network.n_members, network.n_predictions * eta.shape[1], *eta.shape[2:])
