"""Predictions of a stack: the mixture of what its candidates predict, each a fitted estimator of its own."""

from typing import Any

import numpy as np
import pandas as pd
import pyro.distributions as dist
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from ..distributions import blend
from ..distributions.parts import device_of
from .candidates import is_several
from .checks import check_device, check_pool
from .marginal_share import MarginalShare
from .out_of_fold import OutOfFoldPredictions
from .presets import settings_of
from .stack_table import StackTable

# What all candidates have in common, and the stack with them.
_SHARED = ("n_features_in_", "feature_names_in_", "classes_", "columns_", "log_exposure_unit_", "seed_")


class StackedPredictions(OutOfFoldPredictions):
    """An estimator that may be a stack: with `candidates_` it predicts their mixture, without what it has learned."""

    mixup: Any
    candidates_: list[Any]
    stack_: pd.DataFrame
    search_: pd.DataFrame
    marginal_: MarginalShare | None = None

    @property
    def _is_stack(self) -> bool:
        """Whether a fit is to be one of several candidates."""
        settings = settings_of(self)
        several = is_several(settings.mixup) or is_several(settings.network)
        return several or ("family" in vars(self) and is_several(settings.family))

    @property
    def _is_fitted_stack(self) -> bool:
        return "candidates_" in vars(self)

    def _take_over_stack(
        self, candidates: list[Any], table: pd.DataFrame, runs: pd.DataFrame, marginal: MarginalShare | None
    ) -> None:
        """Become the stack of fitted candidates with the weights of a table, whose lines they are, of all runs."""
        self.candidates_, self.stack_, self.search_ = candidates, StackTable(table), StackTable(runs)
        self.marginal_ = marginal
        for name in _SHARED:
            if name in vars(candidates[0]):
                setattr(self, name, getattr(candidates[0], name))
        # what differs between them the tables say
        told = {"family", "mixup", "network", "max_epochs"}
        self.params_ = {name: value for name, value in candidates[-1].params_.items() if name not in told}

    def _used(self) -> tuple[NDArray[np.float64], list[Any]]:
        """Weights and candidates of the mixture, by the settings of the stack, such as `n_draws`, as they are now."""
        own = {name: getattr(self, name) for name in ("pool", "n_draws", "device")}
        weights, used = self.stack_["weight"].to_numpy(dtype=np.float64), []
        for candidate, weight in zip(self.candidates_, weights, strict=True):
            if weight > 0:
                check_pool(self.pool, candidate.family_)
                # of its own, and sharing all that is large: predicting changes nothing
                one = object.__new__(type(candidate))
                vars(one).update(vars(candidate) | own)
                used.append(one)
        return weights[weights > 0], used

    def _predict_dist(self, X: Any, exposure: Any = None) -> dist.TorchDistribution:
        if not self._is_fitted_stack:
            return super()._predict_dist(X, exposure)
        weights, used = self._used()
        x, log_exposure = used[0]._checked_rows(X, exposure)
        parts = [one._pooled(one._params_of(x, log_exposure)) for one in used]
        if self.marginal_ is None:
            return self._mixture(weights, parts, None)
        of_device = self.marginal_.to(check_device(self.device))
        return self._mixture(weights, parts, of_device.dist(len(x), used[0]._in_mean_exposures(log_exposure)))

    def _natural_params(self, X: Any, exposure: Any = None) -> Tensor:
        if not self._is_fitted_stack:
            return super()._natural_params(X, exposure)
        used = self._used()[1]
        if len(used) == 1 and self.marginal_ is None:
            params: Tensor = used[0]._natural_params(X, exposure)
            return params
        raise ValueError(
            "a stack is a mixture of several densities and has no natural parameters of its own (where the preset "
            "chooses the family, that of the targets without features is one of them). Take those of a candidate, "
            "`candidates_[k].predict_natural_params`, or `predict_dist`, or set `family`."
        )

    @property
    def oof_log_prob_(self) -> NDArray[np.float64]:
        """Log-density of every row of the fit, in its order, by what was not trained by it, (n,)."""
        if not self._is_fitted_stack:
            return super().oof_log_prob_
        weights, used = self._used()
        log_prob = np.stack([one.oof_log_prob_ for one in used])
        with np.errstate(invalid="ignore"):
            # rows of weight zero have none
            total: NDArray[np.float64] = np.logaddexp.reduce(np.log(weights)[:, None] + log_prob, axis=0)
            if (marginal := self.marginal_) is not None and marginal.out_of_fold is not None:
                # as in `_mixture`
                own = np.log(marginal.share) + marginal.out_of_fold.log_prob
                total = np.logaddexp(np.log1p(-marginal.share) + total, own)
        return total

    def oof_dist(self) -> dist.TorchDistribution:
        if not self._is_fitted_stack:
            return super().oof_dist()
        weights, used = self._used()
        parts, marginal = [one.oof_dist() for one in used], None
        if self.marginal_ is not None and (judged := self.marginal_.out_of_fold) is not None:
            # by the candidate that has its family
            marginal = used[int(weights.argmax())]._pooled(judged.params(check_device(self.device)))
        return self._mixture(weights, parts, marginal)

    oof_dist.__doc__ = OutOfFoldPredictions.oof_dist.__doc__

    def _mixture(
        self,
        weights: NDArray[np.float64],
        parts: list[dist.TorchDistribution],
        marginal: dist.TorchDistribution | None,
    ) -> dist.TorchDistribution:
        """What the used candidates say with their weights, and the marginal, if there is one, with its share."""
        shares = torch.from_numpy(weights / weights.sum()).to(device_of(parts[0]))
        if self.marginal_ is not None and marginal is not None:
            parts = [*parts, marginal]
            shares = torch.cat([shares * (1 - self.marginal_.share), shares.new_full((1,), self.marginal_.share)])
        blended: Any = blend(shares, parts)
        mixture: dist.TorchDistribution = blended
        return mixture

    def _check_targets(self, targets: Tensor) -> None:
        if not self._is_fitted_stack:
            super()._check_targets(targets)
            return
        errors = []
        for one in self._used()[1]:
            try:
                one._check_targets(targets)
            except ValueError as error:
                errors.append(error)
            else:
                # what one of them allows has a density, be it zero under the others
                return
        raise errors[0]

    @property
    def input_shape_(self) -> tuple[int, ...]:
        """Shape of a row of X."""
        shape: tuple[int, ...] = self.candidates_[0].input_shape_ if self._is_fitted_stack else super().input_shape_
        return shape

    @property
    def n_members_(self) -> int:
        """Number of fitted members; of a stack those of each candidate."""
        members: int = self.candidates_[0].n_members_ if self._is_fitted_stack else super().n_members_
        return members


def check_single(model: Any, what: str) -> None:
    """Raise if a fitted estimator is a stack, where one of its candidates is needed."""
    check_is_fitted(model)
    if hasattr(model, "candidates_"):
        raise ValueError(
            f"{what} takes one family and one mixup, and the model is a stack of {len(model.candidates_)} candidates. "
            "Pass one of them, `model.candidates_[k]`; `model.stack_` lists them."
        )
