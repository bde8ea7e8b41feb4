"""Scores as scikit-learn scorers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Self

import numpy.typing as npt
from sklearn.utils._metadata_requests import MetadataRequest
from torch import Tensor
from torch.distributions import Distribution

from .._given import mean_over_rows
from .._models import check_exposure_is_given
from .._targets import encoded_targets
from ..distributions.parts import device_of
from ._classes import other_order
from .crps import crps
from .nll import nll
from .prediction import predicted_distribution

_METADATA = ("sample_weight", "exposure")


class DensityScorer:
    """Minus the mean of a score, as scikit-learn's searches and validations take it; larger is better.

    There are two, `neg_nll_scorer` and `neg_crps_scorer`, to be passed as ``scoring=neg_crps_scorer``. Under metadata
    routing say which metadata they get by `set_score_request`, as with scikit-learn's own scorers.

    Parameters
    ----------
    name : str
    score : callable
        Distribution and targets to one value per row; smaller is better.

    Examples
    --------
    >>> import torch
    >>> from probmix.scores import neg_crps_scorer, neg_nll_scorer
    >>> class Standard:
    ...     def predict_dist(self, X):
    ...         return torch.distributions.Normal(torch.zeros(len(X)), torch.ones(len(X)))
    >>> round(neg_nll_scorer(Standard(), [[1.0], [2.0]], [0.0, 2.0]), 4)
    -1.9189
    >>> round(neg_crps_scorer(Standard(), [[1.0], [2.0]], [0.0, 3.0]), 4)
    -1.3351
    """

    def __init__(self, name: str, score: Callable[[Distribution, Tensor], Tensor]) -> None:
        self.__name__ = name
        self._score = score
        self._request = MetadataRequest(owner=name)
        for one in _METADATA:
            self._request.score.add_request(param=one, alias=None)

    def __reduce__(self) -> Any:
        # the two of this module are themselves again after a pickle, as functions would be
        return self.__name__ if globals().get(self.__name__) is self else super().__reduce__()

    def __repr__(self) -> str:
        return self.__name__

    def __call__(
        self,
        estimator: Any,
        X: Any,
        y: npt.ArrayLike,
        sample_weight: npt.ArrayLike | None = None,
        exposure: npt.ArrayLike | None = None,
    ) -> float:
        """Score a fitted model.

        Parameters
        ----------
        estimator : fitted model that predicts distributions
            By `predict_dist`, or of another library: a classifier of scikit-learn, a model of NGBoost or skpro, see
            `probmix.adapters.adapt`. Also at the end of a `Pipeline`, or found by a search.
        X : array-like, (n, features)
        y : array-like, (n,) or (n, targets)
            Class labels as in `estimator.classes_` if the estimator has them. The CRPS of classes is the ranked
            probability score, in the order of `classes_`.
        sample_weight : array-like, (n,), optional
        exposure : array-like, (n,), optional
            Passed on to `predict_dist`. A model that was fitted with exposures is not scored without.

        Returns
        -------
        float

        Raises
        ------
        TypeError
            If the model predicts no distributions.
        NotImplementedError
            If what it predicts has no such score, as draws have no NLL.
        ValueError
            If `y` holds a class that the estimator has not seen, or does not match the predictions; for the CRPS of
            ordered categories whose order is not that of `classes_`; for weights that are negative or all zero; if
            there are no exposures, but were in the fit.
        """
        check_exposure_is_given(estimator, exposure)
        params = {} if exposure is None else {"exposure": exposure}
        distribution = predicted_distribution(estimator, X, **params)
        classes = getattr(estimator, "classes_", None)
        if self._score is crps and (reason := other_order(y, classes)):
            raise ValueError(f"these classes have no CRPS: {reason}")
        target = encoded_targets(y, classes)
        values = self._score(distribution, target.to(device_of(distribution)))
        return -mean_over_rows(values.double().cpu().numpy(), sample_weight)

    def get_metadata_routing(self) -> MetadataRequest:
        """What scikit-learn asks to know where `sample_weight` and `exposure` go."""
        return self._request

    def set_score_request(self, **requests: bool | str | None) -> Self:
        """A copy that gets metadata: ``neg_nll_scorer.set_score_request(exposure=True)``.

        Parameters
        ----------
        **requests
            For `sample_weight` and `exposure`: True, False, None (an error if it is passed), or the name it has.
        """
        unknown = sorted(requests.keys() - set(_METADATA))
        if unknown:
            raise TypeError(f"{self.__name__} takes the metadata {', '.join(_METADATA)}; got {', '.join(unknown)}.")
        # not by copy.copy, which goes by `__reduce__` and gives the scorer of this module itself
        other = type(self)(self.__name__, self._score)
        other._request = copy.deepcopy(self._request)
        for name, alias in requests.items():
            other._request.score.add_request(param=name, alias=alias)
        return other


neg_nll_scorer = DensityScorer("neg_nll_scorer", nll)
neg_crps_scorer = DensityScorer("neg_crps_scorer", crps)
