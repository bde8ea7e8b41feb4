"""All scores take all kinds of numbers and of distributions, by one door and with one text for what is wrong."""

import inspect
import re

import numpy as np
import pandas as pd
import pyro.distributions as dist
import pytest
import scipy.stats as st
import torch

from probmix import DensityClassifier, DensityRegressor, scores
from probmix.distributions import Empirical

LOC, SCALE = np.array([0.0, 1.0, -1.0, 2.0, 0.5, 3.0]), np.array([1.0, 0.5, 2.0, 1.0, 1.5, 1.0])
Y, WEIGHTS = np.array([1.0, 1.0, 0.0, 2.0, -1.0, 4.0]), np.array([1.0, 2.0, 0.0, 1.0, 1.0, 3.0])
EVENTS = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 0.0])
RNG = np.random.default_rng(0)
DRAWS = LOC[:, None] + SCALE[:, None] * RNG.normal(size=(6, 9))
PAIRS = RNG.normal(size=(6, 9, 2))
PROBS = RNG.dirichlet([1.0, 2.0], 6)
LEVELS = np.array([0.1, 0.5, 0.9])
QUANTILES = st.norm(LOC[:, None], SCALE[:, None]).ppf(LEVELS)

NORMAL = dist.Normal(torch.tensor(LOC), torch.tensor(SCALE))
CATEGORICAL = dist.Categorical(torch.tensor(PROBS))

# every score with its arguments as arrays; "distribution" stands for one of numbers, "classes" for one of classes
CALLS = {
    "brier": ("classes", EVENTS),
    "calibration_error": ("distribution", Y),
    "corp_decomposition": ("distribution", Y, "crps"),
    "coverage": ("distribution", Y, 0.8),
    "coverage_curve": ("distribution", Y, LEVELS),
    "crps": ("distribution", Y),
    "crps_quantiles": (QUANTILES, Y, LEVELS),
    "crps_samples": (DRAWS, Y),
    "crps_with_bound": ("distribution", Y),
    "dawid_sebastiani": ("distribution", Y),
    "energy_score": (PAIRS, np.stack([Y, EVENTS], 1)),
    "expected_calibration_error": ("classes", EVENTS),
    "interval_score": (QUANTILES[:, 0], QUANTILES[:, 2], Y, 0.8),
    "interval_width": ("distribution", 0.8),
    "nll": ("distribution", Y),
    "pit": ("distribution", Y),
    "quantile_score": (QUANTILES, Y, LEVELS),
    "ranked_probability_score": ("classes", EVENTS),
    "reliability_curve": ("classes", EVENTS),
    "threshold_weighted_crps": ("distribution", Y, LOC - 1, LOC + 1),
    "threshold_weighted_crps_samples": (DRAWS, Y, LOC - 1, LOC + 1),
    "weighted_interval_score": (QUANTILES[:, 1], QUANTILES[:, :1], QUANTILES[:, 2:], Y, LEVELS[2:]),
}
OF_NUMBERS, OF_CLASSES = (
    [name for name, given in CALLS.items() if isinstance(given[0], str) and given[0] == kind]
    for kind in ("distribution", "classes")
)
# tables of several models, and scorers, which have tests of their own
OTHERS = {"compare_rows", "cross_val_predict_dist", "evaluate", "neg_crps_scorer", "neg_nll_scorer", "score_rows"}


def series(values):
    # an index that says something else: rows count by their place
    index = np.arange(len(values))[::-1]
    return pd.Series(values, index=index) if values.ndim == 1 else pd.DataFrame(values, index=index)


def masked(values):
    return np.ma.masked_array(values, mask=np.zeros(values.shape, dtype=bool))


KINDS = {
    "array": lambda values: values,
    "float32": lambda values: values.astype(np.float32),
    "big-endian": lambda values: values.astype(">f8"),
    "reversed twice": lambda values: values[::-1].copy()[::-1],
    "read-only": lambda values: np.broadcast_to(values, values.shape),
    "object": lambda values: values.astype(object),
    "masked": masked,
    "list": lambda values: values.tolist(),
    "tuple": lambda values: tuple(values.tolist()),
    "Series": lambda values: series(values) if values.ndim < 3 else values,
    "nullable Series": lambda values: series(values).astype("Float64") if values.ndim < 3 else values,
    "float32 tensor": lambda values: torch.tensor(values, dtype=torch.float32),
}


def call(name, change, distribution=NORMAL, classes=CATEGORICAL, **keywords):
    given = [
        {"distribution": distribution, "classes": classes}.get(one, one)
        if isinstance(one, str)
        else change(one)
        if isinstance(one, np.ndarray)
        else one
        for one in CALLS[name]
    ]
    return flat(getattr(scores, name)(*given, **keywords))


def flat(found):
    """What a score gives as a list of tensors; a decomposition is floats."""
    values = list(found) if isinstance(found, tuple) else [found]
    return [one for one in values if one is not None]


def test_every_public_score_is_here():
    functions = {name for name in scores.__all__ if not inspect.isclass(getattr(scores, name))}
    assert functions == set(CALLS) | OTHERS


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CALLS)
def test_every_score_takes_every_kind_of_numbers(name, kind):
    expected, found = call(name, torch.tensor), call(name, KINDS[kind])
    single = "float32" in kind
    for ours, theirs in zip(found, expected, strict=True):
        if name == "corp_decomposition":
            assert ours == pytest.approx(theirs, abs=1e-6 if single else 1e-12)
            continue
        assert isinstance(ours, torch.Tensor)
        # of draws and quantiles it is theirs, else that of the distribution
        assert ours.dtype in ((torch.float32, torch.float64) if single else (torch.float64,))
        assert np.asarray(ours).shape == tuple(theirs.shape)
        torch.testing.assert_close(
            ours.double(), theirs.double(), rtol=1e-5 if single else 1e-12, atol=1e-5 if single else 1e-12
        )


@pytest.mark.parametrize("name", CALLS)
def test_whole_numbers_are_numbers(name):
    def rounded(values):
        return values if values is LEVELS or values.base is LEVELS else np.round(2 * values)

    def whole(values):
        return rounded(values).astype(np.int8) if values is not LEVELS and values.base is not LEVELS else values

    if name == "crps_quantiles" or name in OF_CLASSES:
        return
    for ours, theirs in zip(call(name, whole), call(name, rounded), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_arrays_are_probabilities_to_the_nll_for_draws_have_none():
    y = np.array([1, 0, 2])
    probs = np.array([[0.2, 0.5, 0.3], [0.9, 0.1, 0.0], [0.5, 0.25, 0.25]])
    for given in (probs, torch.tensor(probs), pd.DataFrame(probs), probs.tolist()):
        np.testing.assert_allclose(scores.nll(given, y), -np.log([0.5, 0.9, 0.25]))
    with pytest.raises(ValueError, match=r"^`y` must be a class index 0 \.\. 2; got 3 at row 1"):
        scores.nll(probs, [1, 3, 0])
    with pytest.raises(NotImplementedError, match="class probabilities have rows with the sum 1, and are"):
        scores.nll(100 * probs, y)


@pytest.mark.parametrize("name", OF_CLASSES)
def test_events_may_be_truth_values(name):
    expected = call(name, torch.tensor)
    for change in (lambda values: values.astype(bool), lambda values: torch.tensor(values) > 0, list):
        for one, other in zip(call(name, change), expected, strict=True):
            torch.testing.assert_close(one, other)


DISTRIBUTIONS = {
    "torch": torch.distributions.Normal(torch.tensor(LOC), torch.tensor(SCALE)),
    "SciPy": st.norm(LOC, SCALE),
    "SciPy's own functions": st.t(df=1e9, loc=LOC, scale=SCALE),
}


@pytest.mark.parametrize("kind", DISTRIBUTIONS)
@pytest.mark.parametrize("name", OF_NUMBERS)
def test_every_score_takes_every_kind_of_distribution(name, kind):
    for ours, theirs in zip(call(name, list, DISTRIBUTIONS[kind]), call(name, list), strict=True):
        close = torch.testing.assert_close if isinstance(ours, torch.Tensor) else np.testing.assert_allclose
        close(ours, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", sorted(set(OF_NUMBERS) - {"nll"}))
def test_arrays_are_draws_where_numbers_are_predicted(name):
    for draws in (DRAWS, torch.tensor(DRAWS), pd.DataFrame(DRAWS)):
        for ours, theirs in zip(call(name, list, draws), call(name, list, Empirical(torch.tensor(DRAWS))), strict=True):
            assert np.array_equal(ours, theirs)
    with pytest.raises(NotImplementedError, match="draws have no density"):
        call("nll", list, DRAWS)


@pytest.mark.parametrize("name", OF_CLASSES)
def test_arrays_are_probabilities_where_classes_are_predicted(name):
    for probs in (PROBS, torch.tensor(PROBS), pd.DataFrame(PROBS), PROBS.tolist()):
        for ours, theirs in zip(call(name, list, classes=probs), call(name, list), strict=True):
            torch.testing.assert_close(ours, theirs)
    with pytest.raises(ValueError, match=r"^`probs` must have the sum 1 in each row; got 2 at row 0"):
        call(name, list, classes=2 * PROBS)


@pytest.mark.parametrize("name", [*OF_NUMBERS, *OF_CLASSES])
def test_weights_are_of_every_kind(name):
    if "sample_weight" not in inspect.signature(getattr(scores, name)).parameters:
        return
    expected = call(name, list, sample_weight=torch.tensor(WEIGHTS))
    for kind, change in KINDS.items():
        for ours, theirs in zip(call(name, list, sample_weight=change(WEIGHTS)), expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, err_msg=kind)


def test_numbers_are_scored_as_they_are_met():
    assert scores.nll(st.norm(0.0, 1.0), 0.0).item() == pytest.approx(np.log(2 * np.pi) / 2)
    assert scores.crps(st.norm([0.0, 0.0], 1.0), 1).shape == (2,)
    assert scores.interval_score(-1, 1.0, 0, 0.9).item() == 2
    assert float(scores.crps(st.norm(LOC, SCALE), Y).mean()) == np.mean(np.asarray(scores.crps(NORMAL, Y)))


def test_gradients_flow_through_tensors():
    loc = torch.tensor(LOC, requires_grad=True)
    scores.crps(torch.distributions.Normal(loc, 1.0), Y).sum().backward()
    assert loc.grad.abs().max() > 0
    draws = torch.tensor(DRAWS, requires_grad=True)
    scores.crps_samples(draws, pd.Series(Y)).sum().backward()
    assert draws.grad.abs().max() > 0


# -- the estimators' own outputs ---------------------------------------------------------------------------------------


def test_outputs_of_a_regressor():
    X = RNG.normal(size=(60, 2))
    y = X[:, 0] + RNG.normal(size=60)
    model = DensityRegressor(max_epochs=2, hidden_layer_sizes=(4,), random_state=0, preset="plain").fit(X, y)
    predicted, target = model.predict_dist(X), torch.tensor(y)
    assert torch.equal(scores.crps(predicted, y), scores.crps(predicted, target))
    lower, upper = (torch.tensor(end) for end in model.predict_interval(X, 0.9).T)
    ours = scores.interval_score(*model.predict_interval(X, 0.9).T, y, 0.9)
    torch.testing.assert_close(ours, scores.interval_score(lower, upper, target, 0.9))
    draws = model.sample(X, 20, random_state=0)
    torch.testing.assert_close(scores.crps_samples(draws.T, y), scores.crps_samples(torch.tensor(draws).T, target))
    quantiles = model.predict_quantile(X, [0.1, 0.5, 0.9])
    assert scores.crps_quantiles(quantiles, pd.Series(y), [0.1, 0.5, 0.9]).shape == (60,)
    message = (
        "`y` must broadcast to the shape of `samples` without the last axis, (20,); got shape (60,). Rows come first: "
        "pass the transpose of the forecasts, as in crps_samples(model.sample(X, 20).T, y)."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        scores.crps_samples(draws, y)


def test_outputs_of_a_classifier():
    X = RNG.normal(size=(60, 2))
    y = (X[:, 0] > 0).astype(int)
    model = DensityClassifier(max_epochs=2, hidden_layer_sizes=(4,), random_state=0, preset="plain").fit(X, y)
    for score in (scores.brier, scores.ranked_probability_score, scores.expected_calibration_error):
        torch.testing.assert_close(score(model.predict_proba(X), y), score(model.predict_dist(X), y))


# -- what is wrong -----------------------------------------------------------------------------------------------------

NAN = np.where(np.arange(6) == 3, np.nan, Y)
WRONG = {
    "text": (["1", *Y[1:].tolist()], "`y` must hold numbers; got the text '1' at row 0. "),
    "times": (pd.Series(pd.date_range("2020", periods=6)), "`y` must hold numbers; got the time 2020-01-01 00:00:00 "),
    "NaN": (NAN, "`y` must be finite; got nan at row 3. Drop or impute these rows."),
    "None": ([None if np.isnan(one) else one for one in NAN], "`y` must be finite; got nan at row 3. Drop or impute"),
    "NA": (pd.Series(NAN).astype("Float64"), "`y` must be finite; got nan at row 3. Drop or impute these rows."),
    "masked": (np.ma.masked_equal(Y, 2.0), "`y` must be finite; got nan at row 3. Drop or impute these rows."),
    "infinite": (
        np.where(np.isnan(NAN), np.inf, Y),
        "`y` must be finite; got inf at row 3. Drop or impute these rows.",
    ),
    "short": (Y[:4], "`y` must broadcast to "),
    "complex": (Y + 1j, "`y` must hold numbers; got the complex number 1+1j (complex128) at row 0. Complex data not"),
    "a complex tensor": (
        torch.tensor(Y) + 1j,
        "`y` must hold numbers; got the complex number 1+1j (complex128) at row 0",
    ),
    "ragged": ([[1.0], [2.0, 3.0]], "`y` must hold numbers"),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("name", [name for name, given in CALLS.items() if any(one is Y for one in given)])
def test_what_is_wrong_with_targets_is_said_by_every_score(name, wrong):
    values, message = WRONG[wrong]
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        call(name, lambda one: values if one is Y else one)


@pytest.mark.parametrize(
    "name", ["crps_samples", "quantile_score", "crps_quantiles", "threshold_weighted_crps_samples"]
)
def test_what_is_wrong_with_forecasts_is_named(name):
    argument = next(iter(inspect.signature(getattr(scores, name)).parameters))
    first, *rest = CALLS[name]
    with pytest.raises(ValueError, match=rf"^`{argument}` must hold numbers; got the text 'a' at row 0 of column 0\. "):
        getattr(scores, name)(np.full(first.shape, "a"), *rest)
    missing = first.copy()
    missing[2, 1] = np.nan
    with pytest.raises(ValueError, match=rf"^`{argument}` must be finite; got nan at index \(2, 1\)\. "):
        getattr(scores, name)(missing, *rest)
    with pytest.raises(TypeError, match=rf"^`{argument}` must be float32 or float64, got torch.float16\. "):
        getattr(scores, name)(torch.tensor(first).half(), *rest)


@pytest.mark.parametrize("name", OF_NUMBERS)
def test_what_is_no_prediction_is_said(name):
    with pytest.raises(TypeError, match=r"^a prediction must be a torch, Pyro or frozen SciPy distribution"):
        call(name, list, "normal")
    with pytest.raises(ValueError, match=r"^an array of predictions must hold draws"):
        call(name, list, LOC)
