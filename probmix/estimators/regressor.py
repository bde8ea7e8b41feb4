"""Density regression in scikit-learn's manner."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyro.distributions as dist
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin
from sklearn.utils import RegressorTags, Tags
from sklearn.utils.validation import validate_data
from torch import Tensor

from .._numbers import as_numbers, cells_named, check_finite, check_size, finite_numbers
from .._predictions import NumberPredictions
from ..families import Family, get
from ..mixup import Mixup
from ..networks import NetworkLike, NetworkSpec
from ..training import Schedule
from .base import DensityEstimator
from .candidates import refuse_classes
from .checks import warn_of_a_column
from .given import Given


class DensityRegressor(RegressorMixin, NumberPredictions, DensityEstimator):
    r"""Conditional density p(y | x) of real, positive or count targets with a neural network.

    The network maps x to the parameters of a family, the natural ones where it is exponential, and is trained by
    maximum likelihood or by the CRPS, with rows that are mixed under a mixup. Inside, targets are scaled, and so are
    inputs: columns of a table by median and a robust range, then smoothly clipped at three such units, channels of
    other inputs by mean and standard deviation; everything that comes out is in the user's units. Predictions stay in
    proportion to the training targets however far out a row is, see `Family.raw_bounds`, and rows far outside the
    training range bring a warning. A predicted standard deviation is never below 0.1 % of that of y (for "gamma": of
    the mean), nor below the rounding error of targets on a lattice, so that no single row can buy an unbounded
    likelihood; and the rows that judge a member raise this floor, up to 30 %, where that lowers their loss.

    Parameters that are left unset, `family`, `mixup`, `network` and others that are None, follow the `preset`; those
    that are set stay as they are. `params_` shows what each became.

    Parameters
    ----------
    family : str or Family, a list of these, or "auto", optional
        Unset it is chosen among several that suit the targets, see Notes.
        "gaussian" for real targets, "student-t" for those with outliers; "gamma", "lognormal", "inverse-gaussian" or
        "exponential" for positive ones, "zero-adjusted-gamma", "zero-adjusted-lognormal" or "tweedie" where zeros are
        among them; "poisson" and "negative-binomial" for counts, "zero-inflated-poisson", "hurdle-poisson" and the same
        of the negative binomial for counts with a zero of their own; "beta" for shares between 0 and 1, "bernoulli" for
        0 and 1, "multivariate-gaussian" for several real targets that depend on each other; or a family of your own.
        Other names of the field do as well, see `probmix.families.get`. Of a list all are fitted and pooled to a stack,
        see Notes; "auto" stands for those that suit the targets.
    mixup : str or Mixup, a list of these, or "auto", optional
        The name of a preset, such as "erm", "mixup", "manifold-mixup", "probmix", "m-probmix" or "local-probmix", or a
        `Mixup`; see `probmix.mixup.preset`. Of a list each is a candidate of a stack, with each family; "auto" stands
        for "erm" and for ProbMix with linear labels and a clean share of one half.
    network : NetworkSpec, nn.Module or callable, or a list of specifications, optional
        A built-in network by its specification, such as ``probmix.networks.MLP((256, 128), "silu", dropout=0.1)``; None
        is that of the preset. Or a network of your own: rows (N, ...) to features (N, d); the head is put on.
        X may then have more than two dimensions. Every member starts from the weights of a module, which itself is left
        alone; a callable is given the shape of a row and builds each member afresh, which ensembles need. Inputs are
        scaled inside: by column, by the last axis of (time, channels), or the first of (channels, height, width).
        Members are called as one by `torch.vmap`, or with a warning one by one where it cannot follow.
    hidden_layer_sizes : sequence of int, optional
        Of the networks of the preset, where `network` is unset; empty for a linear model. A specification has its own.
    n_members : int, optional
        Number of networks in the ensemble; each has a validation part of its own. They are trained as one.
    pool : {"linear", "log-linear"}
        How members are pooled: a mixture, or the mean of the natural parameters.
    max_epochs : int, optional
        Of the longest run: a search of a preset has shorter ones, and may end with one.
    batch_size : int, "auto" or None
        None for full batches. "auto" is 64 up to 1,024 training rows of a member, 128 up to 4,096, 256 up to 16,384,
        512 up to 65,536, and 1,024 above; see `params_`.
    learning_rate, weight_decay : float or Schedule, optional
        Of AdamW. A number is constant; `probmix.training.Cosine`, `CosLog4` and `FlatThenCosine` change from step to
        step. With a learning rate that ends at zero `patience` "auto" is None: the whole budget is used.
    validation : {"random", "folds", "last"} or a splitter, optional
        Which rows judge a member, that is choose its best epoch, and do not train it:

        - "random": a share drawn at random, for each member its own.
        - "folds": member m is judged by fold m and trained by the others, so that all rows train and each has an
          out-of-fold density, see `oof_dist`. Classes have their share of each fold.
        - "last": the last share of the rows as they are given, for rows in order of time.
        - A splitter of scikit-learn, or a list of pairs of row numbers (train, test): member m takes split m, and
          begins again where there are fewer. Rows in neither part of a split are not used. One that draws at random
          needs a `random_state` of its own. Numbers in a list are those of the rows that `fit` is given, in a search of
          the rows of a fold: take a splitter there. `save` leaves a splitter out, and keeps a list.

        Units of inputs and targets, and where a member starts, come from its training rows; with "random" without
        groups from both parts. A row that is equal in X, y and exposure to one that judges a member does not train it,
        and with the first three nor does one of the same group; see `fit`.
    validation_fraction : float in [0, 1)
        The share of "random" and "last"; with 0 no row judges, and the last epoch is taken.
    patience : int, "auto" or None
        Epochs without improvement after which a member stops; None for never. "auto" is 30 up to 1,024 training rows of
        a member, above them the epochs of 600 steps, at least 8.
    device : {"auto", "cpu", "cuda"} or torch.device
    random_state : int, RandomState, Generator or None
        None takes a seed from the operating system.
    verbose : bool
        Show a progress bar.
    checkpoint : path or None
        A file in which the run is kept while it lasts, and from which the same fit goes on after it was killed. Needs a
        fixed `random_state`.
    n_draws : int
        Draws of the embedding in a prediction after M-ProbMix, which is the mixture over them. May be changed after the
        fit.
    loss : {"nll", "crps"}
        What is made small: the negative log-likelihood, or the continuous ranked probability score, which forgives
        outliers. The best epoch is chosen by the same. Mixtures of negative binomials, which they are under ProbMix,
        have a CRPS that costs several times as much as their likelihood.

    categorical_features : "from_dtype", None or array-like of str, int or bool
        Which columns of X are categories, as in scikit-learn's `HistGradientBoostingRegressor`. By their dtype it is
        those of text, categories and other objects, and truth values with gaps. With None, or a list of names, numbers
        or marks, all others must hold numbers, truth values or times.
    preset : {"default", "fast", "best", "plain"}
        What unset parameters stand for; see Notes.
    time_limit : float, optional
        Seconds that a fit may take, about: there are fewer epochs, and fewer candidates, where all would take longer.
        Results then depend on the speed of the machine.

    Attributes
    ----------
    family_ : Family
    mixup_ : Mixup
    network_ : MemberNetwork
        The trained network; its output is in training units. The built-in one is in float64, one of your own in
        float32.
    seed_ : int
        What `random_state` said.
    scaler_ : TargetScaler
    validation_curve_ : ndarray, (epochs, n_members)
        Mean loss of the validation rows in the user's units.
    training_curve_ : ndarray, (epochs, n_members)
        Mean over the steps of an epoch of what was made small, in the user's units: the loss of training rows as they
        were mixed, and before the step. No columns for ``loss="crps"`` of several targets.
    best_epoch_ : ndarray, (n_members,)
        The epoch, from 1, whose weights a member has; 0 where none beat the distribution of y without X, which it then
        predicts. A `ConvergenceWarning` says so, and where members were best in the last epoch that they had.
    n_epochs_ : ndarray, (n_members,)
        Epochs until each member stopped. Ctrl-C stops all: the estimator is fitted with the best weights so far. In a
        search it ends the fit that runs, and a second one the search.
    mixup_until_ : ndarray, (n_members,), or None
        The last epoch in which each member mixed its rows, with ``until`` of a `Mixup`; None without.
    rescaling_ : Rescaling or None
        The means towards which rows and targets were drawn, with ``rescale`` of a `Mixup`; None without.
    params_ : dict
        What parameters that were left unset became, and "batch_size", "patience" and "n_threads", which follow the
        size; threads are one for small networks whose members are all trained as one.
    oof_log_prob_ : ndarray, (n,)
        Log-density of each row of the fit by the member that was not trained by it; with ``validation="folds"``, or a
        splitter whose parts cover the rows. NaN for rows of weight zero.
    candidates_ : list of DensityRegressor
        Of a stack: each a fitted estimator of its own. A stack has `seed_`, `params_`, `oof_log_prob_` and what follows
        in common with them, and none of the others.
    stack_ : DataFrame
        Of a stack: a line of each candidate, in the order of `candidates_`. Its family, mixup, epochs, and network
        where there are several; its weight in the prediction, zero if it is dropped; mean NLL and CRPS of the rows that
        judge, with the standard errors of the paired differences to the best candidate, zero for the best itself; and
        the seconds of its training. Of more than 5,000 rows the CRPS is that of as many, evenly spaced in the order of
        y.
    search_ : DataFrame
        Of a stack: a line of all that was trained, with the loss of the rows that judge at the best epochs.
    marginal_ : object or None
        Of a stack whose families the preset has chosen: the density of the targets without features. It has a
        `family`, natural parameters `eta`, a method ``dist(n)`` for n rows (of counts at the mean exposure), and its
        `share` of every prediction. None of others.
    columns_ : Columns or None
        What the fit has learned of the columns of X: levels, medians, dates; None for rows that are no table.
    n_features_in_ : int
        Length of the second axis of X.
    feature_names_in_ : ndarray of str, where X had names

    Notes
    -----
    **Presets** say what unset parameters stand for.

    - "default", the best for its time, compares families that suit the targets, and the best of them with a second
      network: the first has periodic and piecewise linear embeddings of numbers side by side, the other periodic ones
      alone, which do for smooth functions. Members are eight, on folds, or as many as there are different rows or
      groups. The learning rate falls from 0.005 to zero. All of these are trained for a quarter of the epochs, and
      the best for all of them, if that pays. The epochs are those of 1,200 steps, at least 100 (above 16,384 rows
      fewer, down to 15) and at most 400. ProbMix with the labels of both rows is half of the loss, and rows as they are
      the other half; families that have no pool in closed form take "erm". The families are "gaussian-mixture" of real
      targets; "lognormal-mixture" and "gaussian-mixture" of positive ones, and the zero-adjusted form of the first with
      that of "gamma-mixture" and "tweedie" where zeros are among them; "beta-mixture" and "gaussian-mixture" between 0
      and 1; "negative-binomial" and "poisson-mixture" of counts; "bernoulli" of 0 and 1. The density of the n targets
      without features, `marginal_`, has a share of 1 / (n + 1) of every prediction: no target costs more than log(n +
      1) nats more than under it. With one `family` that is set the fit is no stack: one network, the first, for a
      quarter of the epochs or all of them; of a list each family has the first network, and the marginal has no share.
    - "fast": four members for 250 steps, of the first network.
    - "best" compares more families, "histogram" for one, networks of shared weights, `SharedMLP` with four predictions
      each, and "erm" beside ProbMix: of all candidates that are trained for a sixteenth of the epochs four are for a
      quarter, and two to the end and stacked. It takes four to thirty times as long; see `time_limit`. Families or
      mixups that you list are searched in the same way, and not all of them are stacked.
    - "plain" is one network as in the papers: "gaussian" with "probmix", no embeddings, a learning rate of 0.005, and a
      fifth of the rows that judges it.

    A **stack** is the linear pool of several candidates, all families with all mixups, which are trained and judged by
    the same rows, whatever `validation` says: each row that judges is scored by the members that it judges, pooled. The
    weights maximise the mean log density of these rows, with ``loss="crps"`` they minimise the mean CRPS; a candidate
    that gets less than 1 % is dropped, see `probmix.stacking`. Judging rows have also chosen the epochs of each
    candidate. All families must be of densities, or all of whole numbers, or all of both with a mass at zero. A
    candidate whose training diverges is left out, with a warning. With a `checkpoint` each candidate keeps a file of
    its own beside it, "path.0", "path.1", ..., until the stack is fitted: none is trained twice.

    "auto" stands for "gaussian", "student-t", "gaussian-mixture" and "histogram" of real targets, and of positive ones
    within a decade; "gamma", "lognormal" and their mixtures of other positive ones; "tweedie" and the zero-adjusted
    forms of these four with zeros among them; "beta", "beta-mixture", "gaussian-mixture" and "histogram" between 0 and
    1; "poisson", "negative-binomial", "poisson-mixture" and, with zeros, "zero-inflated-poisson" of counts; "bernoulli"
    of 0 and 1. Whole numbers are amounts, not counts, where the largest is at least 1,000 and the smallest above 1 % of
    the median, or their variance is less than half their mean. Families without an exposure are left out where there
    is one, and so are those that cannot follow the targets, see `Family.beyond_bounds`, and those that have no such
    `loss` with the mixup, as "histogram" has no CRPS of several targets.

    References
    ----------
    El-Laham et al. (2025), Mixup Regularization: A Probabilistic Perspective, UAI.
    Lakshminarayanan, Pritzel & Blundell (2017), Simple and Scalable Predictive Uncertainty Estimation using Deep
    Ensembles, NeurIPS.
    Yao, Vehtari, Simpson & Gelman (2018), Using Stacking to Average Bayesian Predictive Distributions, Bayesian
    Analysis 13(3).

    Examples
    --------
    >>> import numpy as np
    >>> from probmix import DensityRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-1, 1, (200, 1))
    >>> y = rng.poisson(np.exp(1 + X[:, 0]))
    >>> model = DensityRegressor(max_epochs=20, random_state=0).fit(X, y)
    >>> model.predict_dist(X[:3]).mean.shape
    torch.Size([3])
    >>> model.predict_interval(X[:3], coverage=0.9).shape
    (3, 2)

    A stack of two families:

    >>> model = DensityRegressor(["poisson", "negative-binomial"], "erm", max_epochs=30, random_state=0).fit(X, y)
    >>> list(model.stack_["family"]), float(model.stack_["weight"].sum().round(6))
    (['poisson', 'negative-binomial'], 1.0)
    """

    def __init__(
        self,
        family: str | Family | Sequence[str | Family] | None = None,
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
        loss: str = "nll",
        categorical_features: Any = "from_dtype",
        preset: str = "default",
        time_limit: float | None = None,
    ) -> None:
        super().__init__(
            mixup=mixup,
            network=network,
            hidden_layer_sizes=hidden_layer_sizes,
            n_members=n_members,
            pool=pool,
            max_epochs=max_epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            validation=validation,
            validation_fraction=validation_fraction,
            patience=patience,
            device=device,
            random_state=random_state,
            verbose=verbose,
            checkpoint=checkpoint,
            n_draws=n_draws,
            categorical_features=categorical_features,
            preset=preset,
            time_limit=time_limit,
        )
        self.family: Any = family
        self.loss = loss

    @property
    def _loss(self) -> str:
        return self.loss

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
        exposure: ArrayLike | None = None,
        exposure_val: ArrayLike | None = None,
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
        y : array-like, (n,) or (n, d)
        sample_weight : array-like, (n,), optional
            Non-negative, in any unit. A row of weight two counts exactly like the row twice, a row of weight zero not
            at all, and neither does one below 1e-12 of the largest. Rows that are equal in X, y and exposure are one
            row with the sum of their weights, which trains a member or judges it, but not both; see Notes.
        X_val, y_val : array-like, optional
            Rows that judge every member, in place of a part of X. The steps of a pipeline do not transform them.
        exposure, exposure_val : array-like, (n,), optional
            Of counts and totals: over how much of time, area or people each was taken, positive. The mean is the
            exposure times a rate, and the rate is what the network learns; predictions are for an exposure of one
            unless they are told.
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
            parameters out of range, exposures that are not positive, or too few rows; before any work is done.
        RuntimeError
            If training diverged.

        Notes
        -----
        A fit that fails leaves the estimator unfitted, also if it was fitted before.

        Tables of a few categories are an exception to equal rows being one: where most rows share their X with many
        others, of which some are equal, these are observations of their own, and some train while others judge.
        """
        held_out = Given(X_val, y_val, sample_weight_val, exposure_val)
        return self._fit(Given(X, y, sample_weight, exposure, groups), held_out, X_unlabelled)

    def _validate_fit(self, y: Any) -> tuple[NDArray[Any], Family]:
        family = self._settings.family
        refuse_classes(family)
        y = as_numbers(y, "y")
        with cells_named(y=y):
            targets = validate_data(self, y=y, multi_output=True, y_numeric=True)
        targets = targets.astype(np.float64)
        # None among objects has become NaN only now
        check_finite(targets, "y")
        check_size(targets, "y")
        warn_of_a_column(targets)
        return targets, get(family)

    def _validate_targets(self, y: Any, name: str = "y") -> NDArray[Any]:
        return finite_numbers(y, name)

    # -- predictions that all share, with an exposure; those of numbers are inherited ----------------------------------

    def predict_natural_params(self, X: ArrayLike, exposure: ArrayLike | None = None) -> Tensor:
        """Natural parameters in the user's units.

        Parameters
        ----------
        X : array-like, (n, F)
        exposure : array-like, (n,), optional

        Returns
        -------
        Tensor, (n, [d,] K), float64
            Of the one member, or of the log-linear pool of several; with ``pool="linear"`` those of each member,
            (n_members, n, [d,] K), since their mixture has none of its own. After M-ProbMix those at each draw of the
            embedding, with an axis of length `n_draws` before that of the rows. Families that are not exponential have
            parameters of their own, see `family_`.

        Raises
        ------
        ValueError
            If the estimator is a stack, whose candidates have parameters each.
        """
        return self._natural_params(X, exposure)

    def predict_dist(self, X: ArrayLike, exposure: ArrayLike | None = None) -> dist.TorchDistribution:
        """The predicted distribution of each row, in the user's units.

        Parameters
        ----------
        X : array-like, (n, F)
        exposure : array-like, (n,), optional

        Returns
        -------
        Pyro distribution, float64, batch shape (n,)
            Event shape (d,) with several targets. For several members their linear pool (a mixture) or log-linear pool.
            After M-ProbMix the mixture over `n_draws` draws of the embedding, from the density of the row by itself;
            members that are pooled log-linearly are so draw by draw. The draws follow from `random_state`.
        """
        return self._predict_dist(X, exposure)

    def log_prob(self, X: ArrayLike, y: ArrayLike, exposure: ArrayLike | None = None) -> NDArray[np.float64]:
        """Log-density or log-probability of each target, in the user's units: (n, F), (n,) or (n, d) -> (n,)."""
        return self._log_prob(X, y, exposure)

    def score(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        exposure: ArrayLike | None = None,
    ) -> float:
        """Mean log-likelihood in the user's units; larger is better.

        Parameters
        ----------
        X : array-like, (n, F)
        y : array-like, (n,) or (n, d)
        sample_weight, exposure : array-like, (n,), optional
        """
        return self._score(X, y, sample_weight, exposure)

    def __sklearn_tags__(self) -> Tags:
        tags: Tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        # scikit-learn asks for a score above 0.5 and means R^2; ours is a log-likelihood
        tags.regressor_tags = RegressorTags(poor_score=True)
        return tags
