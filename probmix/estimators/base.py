"""What the density estimators share: validation and training."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import Tags
from sklearn.utils.validation import check_consistent_length, check_is_fitted
from torch import Tensor

from .._numbers import as_numpy
from ..columns import Columns
from ..families import Family, TargetScaler
from ..mixup import Mixup, as_mixup
from ..mixup.objectives import objective
from ..networks import DensityNetwork, MemberNetwork, NetworkLike, NetworkSpec
from ..random import member_keys
from ..training import (
    Schedule,
    Task,
    TrainingResult,
    Unlabelled,
    train,
)
from ..training.rescaling import rescaling_of
from ..training.threads import limited_to
from .building import build_network
from .checks import (
    check_device,
    check_pool,
    check_seed,
    warn_beyond_bounds,
)
from .given import Given, check_held_out, in_units_of_exposure
from .graph_rows import over_training_rows
from .parameters import checked_parameters, options_for
from .parts import Parts
from .persistence import save_estimator
from .presets import Settings, settings_of
from .rows import as_tensor, check_row_count, check_rows, learn_columns, shape_of
from .single_fit import fit_single
from .stack_fit import fit_stack
from .stacked import StackedPredictions
from .validation import held_out_data, judged_parts


class DensityEstimator(StackedPredictions, BaseEstimator, ABC):
    """Base of `DensityRegressor` and `DensityClassifier`; not for use by itself."""

    columns_: Columns | None

    def __init__(
        self,
        mixup: str | Mixup | Sequence[str | Mixup] | None = None,
        network: NetworkLike | NetworkSpec | None = None,
        hidden_layer_sizes: Sequence[int] | None = None,
        n_members: int | None = None,
        pool: str = "linear",
        max_epochs: int | None = None,
        batch_size: int | str | None = "auto",
        learning_rate: float | Schedule | None = None,
        weight_decay: float | Schedule | None = None,
        validation: Any = None,
        validation_fraction: float = 0.2,
        patience: int | str | None = "auto",
        device: str | torch.device = "auto",
        random_state: int | np.random.RandomState | np.random.Generator | None = None,
        verbose: bool = False,
        checkpoint: str | Path | None = None,
        n_draws: int = 64,
        categorical_features: Any = "from_dtype",
        preset: str = "default",
        time_limit: float | None = None,
    ) -> None:
        self.mixup = mixup
        self.network = network
        self.hidden_layer_sizes = hidden_layer_sizes
        self.n_members = n_members
        self.pool = pool
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.validation = validation
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.device = device
        self.random_state = random_state
        self.verbose = verbose
        self.checkpoint = checkpoint
        self.n_draws = n_draws
        self.categorical_features = categorical_features
        self.preset = preset
        self.time_limit = time_limit

    @property
    def _settings(self) -> Settings:
        """How it is trained: what its parameters say, and for those left unset its preset."""
        return settings_of(self)

    # -- what a subclass adds ------------------------------------------------------------------------------------------

    @abstractmethod
    def _validate_fit(self, y: Any) -> tuple[NDArray[Any], Family]:
        """Numerical targets and the family, both checked; sets what describes the targets."""

    # -- fitting -------------------------------------------------------------------------------------------------------

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
        *,
        groups: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
        X_unlabelled: ArrayLike | None = None,
    ) -> Self:
        """Fit the conditional density of y given X.

        Parameters
        ----------
        X : array-like, DataFrame or sparse, (n, F), or (n, ...) for a `network` of your own
            A table as it is: numbers, booleans, text, categories, dates, with gaps; see `categorical_features`. A
            sparse one is made dense, up to 4 GiB. Rows that are no table hold numbers without gaps.
        y : array-like, (n,); for a regressor also (n, d)
        sample_weight : array-like, (n,), optional
            Non-negative, in any unit. A row of weight two counts exactly like the row twice, a row of weight zero not
            at all, and neither does one below 1e-12 of the largest. Rows that are equal in X, y and exposure are one
            row with the sum of their weights, which trains a member or judges it, but not both; see Notes.
        X_val, y_val : array-like, optional
            Rows that judge every member, in place of a part of X. The steps of a pipeline do not transform them.
        groups : array-like, (n,), optional
            Labels of groups, such as subjects with several measurements: rows of a group either train a member or judge
            it. Searches pass them on by metadata routing, ``set_fit_request(groups=True)``.
        sample_weight_val : array-like, (m,), optional
            Of the rows of `X_val`, which weigh one each without it, also where those of X have weights.
        X_unlabelled : array-like, DataFrame or sparse, (k, ...), optional
            Rows whose targets are not known, with the columns of X. Predictions for mixtures of them are drawn to what
            a moving average of the network says of each: unsupervised mixup, see `probmix.mixup.Consistency`. Units
            come from X, and counts are over the mean exposure. The steps of a pipeline do not transform them.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For infinite features, targets that are missing or outside the support of the family, unknown names,
            parameters out of range, or too few rows; before any work is done.
        RuntimeError
            If training diverged.

        Notes
        -----
        A fit that fails leaves the estimator unfitted, also if it was fitted before.

        Tables of a few categories are an exception to equal rows being one: where most rows share their X with many
        others, of which some are equal, these are observations of their own, and some train while others judge.
        """
        held_out = Given(X_val, y_val, sample_weight_val)
        return self._fit(Given(X, y, sample_weight, groups=groups), held_out, X_unlabelled)

    def _fit(self, given: Given, held_out: Given, X_unlabelled: Any) -> Self:
        self._forget()
        try:
            # what is worth more threads takes them
            with limited_to(1):
                if self._is_stack:
                    self._take_over_stack(*fit_stack(self, given, held_out, X_unlabelled))
                else:
                    fit_single(self, given, held_out, X_unlabelled)
        except BaseException:
            self._forget()
            raise
        return self

    def _forget(self) -> None:
        for name in [name for name in vars(self) if name.endswith("_") and not name.startswith("_")]:
            delattr(self, name)

    def _prepare(self, given: Given, held_out: Given, X_unlabelled: Any = None) -> tuple[Task, Parts | None]:
        """Everything that training needs, checked, and the parts of the rows unless other rows judge."""
        if torch.is_inference_mode_enabled():
            raise RuntimeError("`fit` needs gradients, and torch.inference_mode() has none; call it outside.")
        settings = self._settings.judged_by(held_out)
        mixup, options = checked_parameters(self)
        check_held_out(settings.validation, given, held_out)
        X: Any = as_numpy(given.X)
        if isinstance(settings.network, NetworkSpec) and len(shape_of(X)) > 2:
            raise ValueError(
                f"X must be a table (n, F) for a built-in network; got shape {shape_of(X)}. Pass a `network` that "
                "takes such rows, or flatten them."
            )
        check_row_count(self, X)
        targets, family = self._validate_fit(as_numpy(given.y))
        check_consistent_length(X, targets)
        given = given.with_checked_weights(len(targets))
        x = learn_columns(self, X, given.sample_weight)
        check_pool(self.pool, family)
        rows = given.rows(x, targets, family)
        family = family.for_targets(rows.y, rows.weight)
        goal = objective(self._loss, family)
        goal.check(mixup)
        family.check_targets(rows.counted_targets())
        warn_beyond_bounds(family, rows.y, rows.weight)
        judges = None
        if held_out.X is not None:
            of_judges = self._validate_held_out(held_out.X, held_out.y, x, targets, family)
            judges = held_out.rows(*of_judges, family, "_val")
            if (judges.log_exposure is None) != (rows.log_exposure is None):
                raise ValueError("`exposure` and `exposure_val`: pass both or none with `X_val`.")

        self.seed_ = check_seed(self.random_state)
        settings = settings if judges is not None else settings.for_rows(rows)
        keys = member_keys(self.seed_, settings.n_members)
        if judges is not None:
            data, parts = held_out_data(rows, judges, len(keys), self._strata), None
        else:
            parts = judged_parts(rows, settings.validation, self.validation_fraction, keys, self._strata)
            data = parts.data()
        if X_unlabelled is not None:
            further = check_rows(self, X_unlabelled, x.shape[1:], "X_unlabelled")
            data = replace(data, unlabelled=Unlabelled(x=as_tensor(further)))
        mixup = over_training_rows(mixup, rows, data.rows)
        data, self.log_exposure_unit_ = in_units_of_exposure(data)
        options = options_for(options, self, settings, data.train_rows.shape[1])
        return Task(goal, data, mixup, options, keys), parts

    @property
    def _loss(self) -> str:
        """Name of the loss."""
        return "nll"

    def _build(self, task: Task) -> MemberNetwork:
        """The untrained network of a task."""
        rows, family = task.data.rows, task.objective.family
        # a family of vectors has all targets in one set of parameters
        num_targets = rows.y.shape[1] if rows.y.ndim == 2 and not family.event_dim else None
        layout = None if self.columns_ is None else self.columns_.layout
        return build_network(
            self._settings.network, family, tuple(rows.x.shape[1:]), num_targets, task.keys, task.mixup, layout
        )

    def _train(self, task: Task) -> tuple[MemberNetwork, TargetScaler, TrainingResult]:
        device = check_device(self.device)
        network = self._build(task).to(device)
        # autocast would go on with the weights of the first step, which it keeps until it ends
        with torch.enable_grad(), torch.autocast(device.type, enabled=False):
            scaler, result = train(network, task.to(device))
        return network, scaler, result

    def _take_over(
        self, task: Task, parts: Parts | None, network: MemberNetwork, scaler: TargetScaler, result: TrainingResult
    ) -> None:
        """Become fitted: set what the training of a task gave."""
        self.family_ = task.objective.family
        self.mixup_ = as_mixup(self._settings.mixup)
        self.scaler_ = scaler
        self.validation_curve_, self.training_curve_ = result.validation_curve, result.training_curve
        self.best_epoch_, self.n_epochs_, self.mixup_until_ = result.best_epoch, result.n_epochs, result.mixup_until
        chosen = self._settings.chosen()
        if parts is None:
            # other rows than those of the fit judge
            chosen.pop("validation", None)
        if "n_members" in chosen:
            chosen |= {"n_members": len(task.keys)}
        if "max_epochs" in chosen or task.options.max_epochs != self.max_epochs:
            chosen |= {"max_epochs": task.options.max_epochs}
        self.params_ = chosen | {
            "batch_size": task.options.batch_size,
            "patience": task.options.patience,
            "n_threads": result.n_threads,
        }
        if isinstance(network, DensityNetwork):
            # In float64 the prediction for a row does not depend, to the digits shown, on the rows it comes with.
            network = network.double()
        self.network_ = network.eval()
        self.network_.settle(self._has_draws)
        if task.mixup.rescale:
            self.rescaling_ = rescaling_of(self.network_, self.family_, task.mixup, task.data, scaler)
        if parts is not None and parts.is_out_of_fold:
            self._judge_out_of_fold(parts)

    def _validate_held_out(
        self, X_val: Any, y_val: Any, x: NDArray[Any], targets: NDArray[Any], family: Family
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        x_val = check_rows(self, X_val, x.shape[1:], "X_val")
        y_val = self._validate_targets(as_numpy(y_val), "y_val")
        expected = (len(x_val), *targets.shape[1:])
        if y_val.shape != expected:
            raise ValueError(f"y_val must have shape {expected}, as y and X_val say; got {y_val.shape}.")
        try:
            family.check_targets(torch.tensor(y_val))
        except ValueError as error:
            raise ValueError(f"y_val: {error}") from None
        return x_val, y_val

    def _strata(self, y: Tensor) -> Tensor | None:
        """Classes that have their share of the validation rows each; raises if there is just one."""
        return None

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
            for name in {"scaler_", "rescaling_"} & state.keys():
                state[name] = state[name].to(torch.device("cpu"))
        return state

    def __sklearn_tags__(self) -> Tags:
        tags: Tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = tags.input_tags.string = tags.input_tags.categorical = True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return "network_" in vars(self) or self._is_fitted_stack
