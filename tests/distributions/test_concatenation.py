"""Parts of a batch as one distribution, and out-of-fold distributions."""

import re

import numpy as np
import pyro.distributions as dist
import pytest
import scipy.stats as st
import torch
from sklearn.linear_model import BayesianRidge, LinearRegression, LogisticRegression
from sklearn.model_selection import GroupKFold, KFold, ShuffleSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from probmix import DensityClassifier, DensityRegressor, RecalibratedRegressor, linear_pool
from probmix.adapters import as_distribution
from probmix.calibration import Recalibrated, fit_pit_map
from probmix.distributions import (
    Beta,
    Categorical,
    Empirical,
    Gamma,
    Hurdle,
    Independent,
    InverseGaussian,
    Joined,
    LogNormal,
    NegativeBinomial,
    Poisson,
    QuantileFunction,
    StudentT,
    ZeroInflated,
    atoms,
    concatenate,
    icdf,
    is_discrete,
)
from probmix.scores import coverage, cross_val_predict_dist, crps, crps_with_bound, nll, pit, threshold_weighted_crps

RNG = np.random.default_rng(0)
A, B = (torch.tensor(RNG.uniform(0.5, 3.0, 5)) for _ in range(2))
PAIRS = torch.tensor(RNG.uniform(0.5, 3.0, (5, 2)))
REAL = torch.tensor([0.3, 1.2, 0.7, 2.0, 0.9]).double()
COUNTS = torch.tensor([0.0, 1.0, 3.0, 2.0, 0.0]).double()

# what makes a distribution of some rows, and targets of all five
KINDS = {
    "Normal": (lambda r: torch.distributions.Normal(A[r], B[r]), REAL),
    "of one scale": (lambda r: dist.Normal(A[r], 2.0), REAL),
    "Student t": (lambda r: StudentT(3 + A[r], A[r], B[r]), REAL),
    "Gamma": (lambda r: Gamma(A[r], B[r]), REAL),
    "Beta": (lambda r: Beta(A[r], B[r]), REAL / 3),
    "LogNormal": (lambda r: LogNormal(A[r], B[r]), REAL),
    "inverse Gaussian": (lambda r: InverseGaussian(A[r], B[r]), REAL),
    "Poisson": (lambda r: Poisson(A[r]), COUNTS),
    "negative binomial": (lambda r: NegativeBinomial(A[r], logits=B[r]), COUNTS),
    "zero-inflated": (lambda r: ZeroInflated(Poisson(A[r]), gate_logits=B[r]), COUNTS),
    "hurdle": (lambda r: Hurdle(Poisson(A[r]), gate_logits=B[r]), COUNTS),
    "Categorical": (lambda r: Categorical(logits=torch.stack([A, B, A * B, B - A], -1)[r]), COUNTS),
    "Empirical": (lambda r: Empirical(PAIRS[r]), REAL),
    "quantiles": (lambda r: QuantileFunction(PAIRS[r].sort(-1).values, [0.2, 0.7]), REAL),
    "mixture": (lambda r: linear_pool(Gamma(PAIRS[r], B[r, None].expand(-1, 2))), REAL),
    "independent": (lambda r: Independent(torch.distributions.Normal(PAIRS[r], 1.0), 1), torch.stack([REAL, REAL], -1)),
    "mixture of pairs": (
        lambda r: linear_pool(Independent(torch.distributions.Normal(PAIRS[r, :, None].expand(-1, 2, 3), 1.0), 1)),
        torch.stack([REAL] * 3, -1),
    ),
    "multivariate": (lambda r: dist.MultivariateNormal(PAIRS[r], torch.eye(2).double()), torch.stack([REAL, REAL], -1)),
    "SciPy": (lambda r: as_distribution(st.genextreme(0.1, A[r].numpy(), B[r].numpy())), REAL),
    "SciPy's counts": (lambda r: as_distribution(st.betabinom(12, A[r].numpy(), B[r].numpy())), COUNTS),
    "recalibrated": (
        lambda r: Recalibrated(
            torch.distributions.Normal(A[r], B[r]), fit_pit_map(np.linspace(0.1, 0.9, 100 + len(r)) ** 1.5)
        ),
        REAL,
    ),
}
JOINED = {"SciPy", "SciPy's counts", "recalibrated"}
PLACES = [torch.tensor([3, 0]), torch.tensor([1, 4, 2])]
# where rows of the parts do not depend on how many there are
ALONE = sorted(set(KINDS) - {"recalibrated"})


def attempt(function):
    try:
        return function()
    except NotImplementedError as error:
        return str(error)


@pytest.mark.parametrize("name", KINDS)
def test_all_that_the_parts_have_the_whole_has(name):
    make, y = KINDS[name]
    parts = [make(rows) for rows in PLACES]
    whole = concatenate(parts, PLACES)
    assert isinstance(whole, Joined) == (name in JOINED)
    assert whole.batch_shape == (5,)
    assert whole.event_shape == parts[0].event_shape
    assert is_discrete(whole) == is_discrete(parts[0])
    if name not in JOINED:
        assert type(whole) is type(parts[0])
    # by parts, put into the order of the rows
    order = torch.cat(PLACES).argsort()
    functions = {
        "nll": nll,
        "crps": crps,
        "bound": lambda d, t: crps_with_bound(d, t)[0],
        "window": lambda d, t: threshold_weighted_crps(d, t, 0.5, 1.5),
        "mean": lambda d, t: d.mean,
        "variance": lambda d, t: d.variance,
        "coverage": lambda d, t: coverage(d, t, 0.6),
        "quantile": lambda d, t: icdf(d, torch.full_like(t, 0.3)),
    }
    if not is_discrete(whole) and not len(atoms(whole)[0]):
        functions["pit"] = pit
    for what, function in functions.items():
        pairs = zip(parts, PLACES, strict=True)
        expected = [attempt(lambda f=function, d=part, r=rows: f(d, y[r])) for part, rows in pairs]
        found = attempt(lambda f=function: f(whole, y))
        if isinstance(expected[0], str):
            assert found == expected[0], what
        else:
            assert found.dtype == expected[0].dtype
            torch.testing.assert_close(found, torch.cat(expected)[order], rtol=1e-8, atol=1e-10, equal_nan=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert whole.sample((7,)).shape == (7, *y.shape)


@pytest.mark.parametrize("name", ALONE)
def test_without_places_rows_follow_each_other(name):
    make, y = KINDS[name]
    whole = concatenate([make(torch.arange(2)), make(torch.arange(2, 5))])
    expected = attempt(lambda: crps(make(torch.arange(5)), y))
    torch.testing.assert_close(attempt(lambda: crps(whole, y)), expected, rtol=1e-8, atol=1e-10)


def test_distributions_of_other_classes_are_joined():
    parts = [torch.distributions.Normal(A[:2], B[:2]), Gamma(A[2:], B[2:]).expand((3,))]
    whole = concatenate(parts)
    assert repr(whole) == "Joined(2 parts of Normal, Gamma, batch_shape=(5,))"
    torch.testing.assert_close(crps(whole, REAL), torch.cat([crps(parts[0], REAL[:2]), crps(parts[1], REAL[2:])]))
    low = torch.distributions.Normal(A[:2].float(), B[:2].float())
    joined = concatenate([low, Gamma(A[2:].float(), B[2:].float())])
    assert crps(joined, REAL).dtype == torch.float32
    torch.testing.assert_close(crps(joined, REAL).double(), crps(whole, REAL), rtol=1e-5, atol=1e-6)


def test_point_masses_of_the_parts():
    parts = [QuantileFunction(PAIRS[:2].sort(-1).values, [0.2, 0.7]), torch.distributions.Normal(A[2:], B[2:])]
    places, masses = atoms(concatenate(parts))
    torch.testing.assert_close(places[:, :2], atoms(parts[0])[0])
    torch.testing.assert_close(masses[:, :2], atoms(parts[0])[1])
    assert (masses[:, 2:] == 0).all()


@pytest.mark.parametrize(
    ("parts", "rows", "message"),
    [
        ([], None, "`distributions` must be at least one, with rows; got the batch and event shapes []."),
        ([dist.Normal(0.0, 1.0)], None, "`distributions` must be at least one, with rows; got the batch and event"),
        (
            [dist.Normal(A, B), dist.Normal(PAIRS, 1.0)],
            None,
            "`distributions` must be alike but for the number of rows, and all discrete or none; got the batch",
        ),
        ([dist.Normal(A, B), Poisson(A)], None, "`distributions` must be alike but for the number of rows, and all"),
        (
            [dist.Normal(A[:2], B[:2])],
            [torch.tensor([0, 2])],
            "`rows` must name each of the places 0 .. 1 once, as many for each part as it has rows, [2]; got 2 places.",
        ),
    ],
    ids=["none", "scalar", "shapes", "kinds", "places"],
)
def test_parts_that_are_no_parts(parts, rows, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        concatenate(parts, rows)


# -- out of fold -------------------------------------------------------------------------------------------------------

X = RNG.uniform(-1, 1, (60, 2))
Y = X[:, 0] + 0.3 * RNG.normal(size=60)
SETTINGS = {"hidden_layer_sizes": (4,), "max_epochs": 2, "random_state": 0, "device": "cpu"}


def test_rows_are_predicted_by_models_of_the_other_folds():
    predicted = cross_val_predict_dist(BayesianRidge(), X, Y, cv=KFold(4, shuffle=True, random_state=0))
    mean = cross_val_predict(BayesianRidge(), X, Y, cv=KFold(4, shuffle=True, random_state=0))
    np.testing.assert_allclose(predicted.mean, mean)
    assert type(predicted) is dist.Normal
    for model in (
        DensityRegressor(**SETTINGS, preset="plain"),
        DensityRegressor(mixup="m-probmix", n_draws=8, n_members=2, **SETTINGS, preset="plain"),
        make_pipeline(StandardScaler(), DensityRegressor("student-t", **SETTINGS, preset="plain")),
        RecalibratedRegressor(DensityRegressor(**SETTINGS, preset="plain"), cv=2, random_state=0),
    ):
        predicted = cross_val_predict_dist(model, X, Y, cv=3)
        np.testing.assert_allclose(predicted.mean, cross_val_predict(model, X, Y, cv=3), rtol=1e-6)
        assert crps(predicted, Y).shape == (60,)
        assert nll(predicted, Y).isfinite().all()


def test_classes_are_in_their_order():
    labels = np.array(["no", "yes", "maybe"])[np.digitize(Y, [-0.4, 0.4])]
    for model in (LogisticRegression(), DensityClassifier(**SETTINGS, preset="plain")):
        predicted = cross_val_predict_dist(model, X, labels, cv=3)
        proba = cross_val_predict(model, X, labels, cv=3, method="predict_proba")
        np.testing.assert_allclose(predicted.probs, proba, rtol=1e-6)
    ordered = np.sort(labels)
    message = "every fold must be trained on all classes; one lacks 'maybe'. Use StratifiedKFold, or fewer folds."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        cross_val_predict_dist(LogisticRegression(), X, ordered, cv=KFold(3))


@pytest.mark.parametrize("steps", [False, True])
def test_exposures_and_weights_go_along(steps):
    exposure = RNG.uniform(0.1, 5.0, 60)
    counts = RNG.poisson(exposure * np.exp(1 + X[:, 0]))
    model = DensityRegressor("poisson", "erm", **SETTINGS, preset="plain")
    params = {"exposure": exposure, "sample_weight": np.arange(60.0)}
    whole = make_pipeline(StandardScaler(), model) if steps else model
    predicted = cross_val_predict_dist(whole, X, counts, cv=2, params=params)
    train, test = np.arange(30, 60), np.arange(30)
    scaler = StandardScaler().fit(X[train])
    rows = scaler.transform(X) if steps else X
    fitted = DensityRegressor("poisson", "erm", **SETTINGS, preset="plain")
    fitted.fit(rows[train], counts[train], sample_weight=params["sample_weight"][train], exposure=exposure[train])
    expected = fitted.predict(rows[test], exposure=exposure[test])
    np.testing.assert_allclose(predicted.mean[:30], expected, rtol=1e-6)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        cross_val_predict_dist(model, X, counts, params={"exposure": exposure[:3]})


def test_folds_of_groups_and_splits_that_are_no_folds():
    groups = np.repeat(np.arange(6), 10)
    predicted = cross_val_predict_dist(BayesianRidge(), X, Y, groups=groups, cv=GroupKFold(3))
    np.testing.assert_allclose(
        predicted.mean, cross_val_predict(BayesianRidge(), X, Y, groups=groups, cv=GroupKFold(3))
    )
    with pytest.raises(ValueError, match=r"^`cv` must put each row into one test part, as KFold does; row \d+ is in"):
        cross_val_predict_dist(BayesianRidge(), X, Y, cv=ShuffleSplit(2, random_state=0))
    with pytest.raises(TypeError, match="the estimator must predict distributions"):
        cross_val_predict_dist(LinearRegression(), X, Y)
    with pytest.raises(TypeError, match=r"^`fit` of BayesianRidge has no argument `exposure`"):
        cross_val_predict_dist(BayesianRidge(), X, Y, params={"exposure": np.ones(60)})
