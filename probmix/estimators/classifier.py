"""Probabilistic classification in scikit-learn's manner."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data
from torch import Tensor

from .._answers import draws_of
from ..families import Categorical, Family
from .base import DensityEstimator
from .labels import class_labels


class DensityClassifier(ClassifierMixin, DensityEstimator):
    r"""Conditional class probabilities p(y | x) with a neural network.

    The categorical sibling of `DensityRegressor`: natural parameters are logits, and ProbMix pools them.

    Parameters
    ----------
    mixup : str or Mixup, a list of these, or "auto", optional
        The name of a preset, such as "erm", "mixup", "manifold-mixup", "probmix", "m-probmix" or "local-probmix", or a
        `Mixup`; see `probmix.mixup.preset`. Several are the candidates of a stack, as in `DensityRegressor`.
    network, hidden_layer_sizes, n_members, pool, max_epochs, batch_size, learning_rate, weight_decay, \
    validation, validation_fraction, patience, device, random_state, verbose, checkpoint, n_draws, \
    categorical_features, preset, time_limit
        As in `DensityRegressor`.

    Attributes
    ----------
    classes_ : ndarray, (n_classes,)
        Sorted; class k of the predicted distribution is ``classes_[k]``.
    family_, mixup_, network_, seed_, validation_curve_, training_curve_, best_epoch_, oof_log_prob_, columns_, \
    n_features_in_, feature_names_in_
        As in `DensityRegressor`.
    params_, candidates_, stack_, search_
        As there; in place of the CRPS there is the Brier score, :math:`\sum_k (p_k - 1[y = k])^2`.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from probmix import DensityClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = DensityClassifier(max_epochs=20, random_state=0).fit(X, y)
    >>> model.predict_proba(X[:2]).shape
    (2, 3)
    """

    # the mixin would bring the accuracy, which says nothing of a density
    score = DensityEstimator.score

    def _validate_fit(self, y: Any) -> tuple[NDArray[Any], Family]:
        # without y there is an error in scikit-learn's own words
        labels = validate_data(self, y=y if y is None else class_labels(y))
        check_classification_targets(labels)
        self.classes_, indices = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"a classifier needs at least 2 classes in y; got one class, {self.classes_[0]!r}.")
        return indices.astype(np.float64), Categorical(len(self.classes_))

    def _strata(self, y: Tensor) -> Tensor:
        present = y.unique().long().numpy()
        if len(present) < 2:
            raise ValueError(
                "a classifier needs at least 2 classes in y among the rows of positive weight; "
                f"got one class, {self.classes_[present[0]]!r}."
            )
        return y.long()

    def _validate_targets(self, y: Any, name: str = "y") -> NDArray[Any]:
        labels = class_labels(y, name)
        unknown = ~np.isin(labels, self.classes_)
        if unknown.any():
            first = labels[unknown][0]
            shown = repr(str(first)) if isinstance(first, str) else str(first)
            raise ValueError(f"{name} has the class {shown}, which the fit did not see; classes are {self.classes_}.")
        indices: NDArray[np.float64] = np.searchsorted(self.classes_, labels).astype(np.float64)
        return indices

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Class probabilities in the order of `classes_`: (n, F) -> (n, n_classes)."""
        probs: NDArray[np.float64] = self.predict_dist(X).probs.cpu().numpy()
        return probs

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The most probable class: (n, F) -> (n,)."""
        most_probable = self.predict_proba(X).argmax(1)
        classes: NDArray[Any] = self.classes_[most_probable]
        return classes

    def sample(self, X: ArrayLike, n_samples: int = 1, random_state: Any = None) -> NDArray[Any]:
        """Classes drawn from the predicted distribution: (n, F) -> (n_samples, n)."""
        indices = draws_of(self.predict_dist(X), n_samples, random_state).cpu().numpy()
        draws: NDArray[Any] = self.classes_[indices]
        return draws
