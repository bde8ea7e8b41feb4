"""What can be no feature, target or weight is named by its place, in every container."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.frozen import FrozenEstimator

from probmix import DensityClassifier, DensityRegressor, RecalibratedRegressor
from probmix.estimators import base

RNG = np.random.default_rng(0)
DENSE = np.where(RNG.random((60, 4)) < 0.6, 0.0, np.round(RNG.normal(size=(60, 4)), 2)).astype(np.float32)
Y = DENSE[:, 0] + RNG.normal(size=60)
FAST = {"max_epochs": 3, "hidden_layer_sizes": (8,), "random_state": 0}
FRAME = pd.DataFrame(DENSE, columns=["age", "income", "debt", "dogs"]).astype("float64")


def put(X, row, column, value):
    """The same with another value at a place."""
    if isinstance(X, pd.DataFrame):
        return X.assign(**{X.columns[column]: [value if i == row else old for i, old in enumerate(X.iloc[:, column])]})
    other = np.array(X, dtype=object if isinstance(value, str) else None)
    other[row, column] = value
    return other


NUMBERS = "Pass numbers instead, such as days since the first of them."
REPLACE = "Replace it by a finite number, or drop such rows."
COMPLEX = "Complex data not supported: take the real parts, or pass both parts as numbers."
DAYS = pd.to_datetime(["2020-01-01"] * 60)
INTEGERS = pd.array([1] * 60, dtype="Int64")
INTEGERS[9] = pd.NA

# What a fit learns to take.
TAKEN = {
    "text in a list": np.column_stack([DENSE.astype(object), np.repeat(["a", "b"], 30)]).tolist(),
    "an array of text": np.array([[f"a{number % 7}"] * 4 for number in range(60)]),
    "a column of pandas' own text": FRAME.assign(debt=pd.array([None] * 3 + ["x"] * 57, dtype="string")),
    "categories": FRAME.assign(debt=pd.Categorical(["none"] * 30 + ["some"] * 30)),
    "times in a frame": FRAME.assign(debt=DAYS + pd.to_timedelta(np.arange(60), unit="D")),
    "times with a zone": FRAME.assign(debt=(DAYS + pd.to_timedelta(np.arange(60), unit="h")).tz_localize("UTC")),
    "spans of time": FRAME.assign(dogs=pd.to_timedelta(np.arange(60), unit="h")),
    "times alone": np.datetime64("2020-01-01", "D") + np.arange(240).reshape(60, 4),
    "NaN in a frame": put(FRAME, 17, 1, np.nan),
    "NaN in an array": put(DENSE, 17, 1, np.nan),
    "NaN in a sparse table": sparse.csc_array(put(DENSE, 17, 1, np.nan)),
    "NA of integers": FRAME.assign(debt=INTEGERS),
    "NA of booleans": FRAME.assign(debt=pd.array([True, None] * 30, dtype="boolean")),
    "NA of anything": FRAME.assign(debt=np.array([1.0, pd.NA] * 30, dtype=object)),
    "None": FRAME.assign(debt=np.array([1.0, None] * 30, dtype=object)),
}

REAL = "must hold real numbers, text or times; got the complex number {} at row {}. " + COMPLEX
BAD_X = {
    "complex numbers": (
        put(DENSE.astype(np.complex64), 17, 1, 2 + 1j), REAL.format(f"{DENSE[0, 0]}+0j", "0 of column 0"),
    ),
    "a complex column": (
        FRAME.assign(debt=FRAME["debt"] + 1j * (FRAME.index == 9)), REAL.format("0j", "0 of column 'debt' (2)"),
    ),
    "a complex sparse table": (
        sparse.csr_array(put(np.zeros((60, 4), complex), 17, 1, 2 + 1j)), REAL.format("0j", "0 of column 0"),
    ),
    "infinity": (
        put(put(DENSE, 20, 0, np.nan), 17, 1, -np.inf),
        f"must be finite; got -infinity at row 17 of column 1. {REPLACE}",
    ),
    "infinity in a frame": (
        put(put(FRAME, 20, 1, np.inf), 17, 1, np.inf),
        f"must be finite; got infinity at row 17 of column 'income' (1) (2 such values in all). {REPLACE}",
    ),
    "infinity in a row with a label": (
        put(FRAME, 17, 1, np.inf).set_axis(range(100, 160)),
        f"must be finite; got infinity at row 17, label 117, of column 'income' (1). {REPLACE}",
    ),
    "infinity in a sparse table": (
        sparse.csc_array(put(DENSE, 17, 1, np.inf)), f"must be finite; got infinity at row 17 of column 1. {REPLACE}",
    ),
}  # fmt: skip

# Of columns that held numbers in the fit.
AS_IN_THE_FIT = "must hold numbers, as in the fit; got {}."
SPELT = "Text that spells numbers becomes such by astype(float)."
DATES = "Pass numbers, such as days since the first date."
OTHER_X = {
    "text": (
        put(FRAME, 17, 1, "high"),
        AS_IN_THE_FIT.format("the text 'high' at row 17 of column 'income' (1)") + f" {SPELT}",
    ),
    "text in an array": (
        put(DENSE, 17, 1, "high"), AS_IN_THE_FIT.format("the text 'high' at row 17 of column 1") + f" {SPELT}",
    ),
    "numbers in text": (
        FRAME.assign(debt="7"), AS_IN_THE_FIT.format("the text '7' at row 0 of column 'debt' (2)") + f" {SPELT}",
    ),
    "times": (
        FRAME.assign(debt=DAYS),
        AS_IN_THE_FIT.format("the date 2020-01-01 00:00:00 at row 0 of column 'debt' (2)") + f" {DATES}",
    ),
    "spans of time": (
        FRAME.assign(dogs=DAYS - DAYS),
        AS_IN_THE_FIT.format("the span of time 0 days 00:00:00 at row 0 of column 'dogs' (3)"),
    ),
}  # fmt: skip


@pytest.fixture
def _no_training(monkeypatch):
    def train(*args):
        pytest.fail("training started")

    monkeypatch.setattr(base, "train", train)


@pytest.mark.parametrize("case", TAKEN)
def test_text_times_and_gaps_are_taken_as_they_are(case):
    for kind, y in ((DensityRegressor, Y), (DensityClassifier, Y > 0)):
        model = kind(**FAST, preset="plain").fit(TAKEN[case], y)
        assert np.isfinite(model.log_prob(TAKEN[case], y)).all()


@pytest.mark.parametrize("case", BAD_X)
@pytest.mark.usefixtures("_no_training")
def test_what_no_column_may_hold_is_named_by_its_place(case):
    X, message = BAD_X[case]
    good = FRAME if isinstance(X, pd.DataFrame) else DENSE
    for name, rows in {"X": {"X": X}, "X_val": {"X": good, "X_val": X, "y_val": Y}}.items():
        for model, y in ((DensityRegressor(preset="plain"), Y), (DensityClassifier(preset="plain"), Y > 0)):
            given = {**rows, "y": y} | ({"y_val": y} if "y_val" in rows else {})
            with pytest.raises(ValueError, match=r".") as caught:
                model.fit(**given)
            assert str(caught.value) == f"`{name}` {message}"


@pytest.mark.parametrize("case", BAD_X | OTHER_X)
def test_what_a_column_did_not_hold_in_the_fit_is_named_in_predictions(case):
    X, message = (BAD_X | OTHER_X)[case]
    model = DensityRegressor(**FAST, preset="plain").fit(FRAME if isinstance(X, pd.DataFrame) else DENSE, Y)
    for call in (model.predict, model.predict_dist, lambda X: model.score(X, Y)):
        with pytest.raises(ValueError, match=r".") as caught:
            call(X)
        assert str(caught.value) == f"`X` {message}"


def test_numbers_of_any_type_are_numbers():
    debt = (10 * FRAME["debt"]).round()
    frame = FRAME.assign(dogs=(FRAME["dogs"] > 0).astype("boolean"), debt=debt.astype("Int64"))
    plain = np.column_stack([FRAME[["age", "income"]], debt, FRAME["dogs"] > 0])
    expected = DensityRegressor(**FAST, preset="plain").fit(plain, Y).predict(plain)
    for X in (frame, plain.astype(object), plain.tolist()):
        np.testing.assert_array_equal(
            DensityRegressor(**FAST, preset="plain").fit(X, pd.Series(Y)).predict(X), expected
        )


def with_value(value, kind=object):
    y = np.array(Y, dtype=kind)
    y[5] = value
    return y


ROW_5 = np.arange(60) == 5
FINITE = "must be finite; got {} at row 5. Drop such rows."
TEXT = "must hold numbers; got the text {!r} at row {}. "
TARGETS = (
    "Classes are for DensityClassifier, and for scores their places in its `classes_`; text that spells numbers "
    "becomes such by astype(float)."
)
UNIT = (
    "must be in a unit in which its largest value lies between 1e-140 and 1e+140, for variances are squares; got {} at "
    "{}. Divide `y` by its own size."
)
FARTHEST = Y[np.abs(Y).argmax()]
VALIDATION = {"y": Y, "X_val": DENSE}
BAD_VECTORS = {
    "text": ("y", with_value("many"), {}, TEXT.format("many", 5) + TARGETS),
    "numbers in text": ("y", Y.astype(str), {}, TEXT.format(str(Y[0]), 0) + TARGETS),
    "times": ("y", pd.Series(DAYS), {}, f"must hold numbers; got the time 2020-01-01 00:00:00 at row 0. {NUMBERS}"),
    "complex numbers": (
        "y", with_value(2 + 1j, complex), {},
        f"must hold numbers; got the complex number 2+1j (complex128) at row 5. {COMPLEX}",
    ),
    "complex weights": (
        "sample_weight", np.ones(60) + 1j, {"y": Y},
        f"must hold numbers; got the complex number 1+1j (complex128) at row 0. {COMPLEX}",
    ),
    "huge": ("y", 1e160 * Y, {}, UNIT.format(f"{1e160 * FARTHEST:g}", f"row {np.abs(Y).argmax()}")),
    "tiny": ("y", 1e-160 * Y, {}, UNIT.format(f"{1e-160 * FARTHEST:g}", f"row {np.abs(Y).argmax()}")),
    "a tiny column": (
        "y", np.column_stack([Y, 1e-160 * Y]), {},
        UNIT.format(f"{1e-160 * FARTHEST:g}", f"row {np.abs(Y).argmax()} of column 1"),
    ),
    "NaN": ("y", with_value(np.nan, float), {}, FINITE.format("NaN")),
    "NA": ("y", pd.Series(INTEGERS), {}, "must be finite; got NaN at row 9. Drop such rows."),
    "a part of a series": (
        "y", pd.Series(DAYS, index=range(100, 160)), {},
        f"must hold numbers; got the time 2020-01-01 00:00:00 at row 0, label 100. {NUMBERS}",
    ),
    "a frame": (
        "y", pd.DataFrame({"price": Y, "rent": with_value(np.inf, float)}), {},
        "must be finite; got infinity at row 5 of column 'rent' (1). Drop such rows.",
    ),
    "text in y_val": ("y_val", with_value("many"), VALIDATION, TEXT.format("many", 5) + TARGETS),
    "NaN in y_val": ("y_val", with_value(np.nan, float), VALIDATION, FINITE.format("NaN")),
    "text in weights": ("sample_weight", ["1"] * 60, {"y": Y}, TEXT.format("1", 0) + SPELT),
    "NaN in weights": ("sample_weight", with_value(np.nan, float), {"y": Y}, FINITE.format("NaN")),
    "text in exposures": ("exposure", ["1"] * 60, {"y": Y}, TEXT.format("1", 0) + SPELT),
    "masked": ("y", np.ma.masked_array(with_value(1e6, float), mask=ROW_5), {}, FINITE.format("NaN")),
    "masked integers": ("y", np.ma.masked_array(np.arange(60), mask=ROW_5), {}, FINITE.format("NaN")),
    "None": ("y", with_value(None), {}, FINITE.format("NaN")),
    "None in a list": ("y", with_value(None).tolist(), {}, FINITE.format("NaN")),
    "a row without a label": (
        "y", pd.Series(with_value(np.nan, float), index=[pd.NA] * 60), {},
        "must be finite; got NaN at row 5, label <NA>. Drop such rows.",
    ),
    "masked weights": ("sample_weight", np.ma.masked_array(np.ones(60), mask=ROW_5), {"y": Y}, FINITE.format("NaN")),
    "masked exposures": (
        "exposure", np.ma.masked_array(np.ones(60), mask=ROW_5), {"y": Y},
        "must be positive and finite; got nan at row 5. Drop rows that were not exposed.",
    ),
    "masked groups": (
        "groups", np.ma.masked_array(np.arange(60), mask=ROW_5), {"y": Y},
        "must have a label in every row; got nan at row 5.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_VECTORS)
@pytest.mark.usefixtures("_no_training")
def test_what_is_no_number_in_targets_weights_and_exposures_is_named(case):
    name, values, rest, message = BAD_VECTORS[case]
    with pytest.raises(ValueError, match=r".") as caught:
        DensityRegressor(preset="plain").fit(DENSE, **rest | {name: values})
    assert str(caught.value) == f"`{name}` {message}"


@pytest.mark.parametrize("size", [1e139, 1e-139])
@pytest.mark.parametrize("family", ["gaussian", "student-t"])
def test_any_unit_whose_squares_are_numbers_gives_the_same_fit(family, size):
    y = Y / np.abs(Y).max()
    plain, scaled = (DensityRegressor(family, **FAST, preset="plain").fit(DENSE, unit * y) for unit in (1.0, size))
    np.testing.assert_allclose(scaled.predict(DENSE) / size, plain.predict(DENSE), rtol=1e-6)
    deviations = [model.predict_dist(DENSE).stddev.numpy() for model in (scaled, plain)]
    np.testing.assert_allclose(deviations[0] / size, deviations[1], rtol=1e-6)


def test_targets_of_zero_have_no_size():
    assert DensityRegressor(**FAST, preset="plain").fit(DENSE, np.zeros(60)).predict(DENSE).shape == (60,)


def test_targets_of_scores_are_named():
    model = DensityRegressor(**FAST, preset="plain").fit(DENSE, Y)
    calibrated = RecalibratedRegressor(FrozenEstimator(model)).fit(DENSE, Y)
    for one in (model, calibrated):
        with pytest.raises(ValueError, match=r"^`y` must be finite; got NaN at row 5\. Drop such rows\.$"):
            one.log_prob(DENSE, with_value(np.nan, float))
    with pytest.raises(ValueError, match=r"^`y` must hold numbers; got the text 'many' at row 5\."):
        RecalibratedRegressor(model, cv=2).fit(DENSE, with_value("many"))
    with pytest.raises(ValueError, match=r"^`y` must be finite; got NaN at row 5\."):
        RecalibratedRegressor(model, cv=2).fit(DENSE, with_value(np.nan, float))


def test_rows_of_a_network_of_ones_own_are_named_by_their_index():
    X = np.zeros((60, 3, 2))
    X[4, 1, 0] = np.nan
    with pytest.raises(ValueError, match=r"^`X` must be finite; got NaN at index \(4, 1, 0\)\. "):
        DensityRegressor(network=lambda shape: torch.nn.Flatten(), preset="plain").fit(X, Y)


def test_weights_that_are_nothing_beside_the_largest_are_zero():
    weight = np.where(np.arange(60) < 20, 1e-13, 1.0)
    model = DensityRegressor("gaussian", **FAST, preset="plain")
    found = model.fit(DENSE, Y, sample_weight=weight).predict(DENSE)
    np.testing.assert_array_equal(model.fit(DENSE, Y, sample_weight=np.round(weight)).predict(DENSE), found)
    # by itself a single heavy row is no table; it was told as training that diverged
    with pytest.raises(ValueError, match=r"^rows must differ .* got 1 sample of positive weight"):
        model.fit(DENSE, Y, sample_weight=np.where(np.arange(60) == 7, 1e15, 1.0))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_weights_whose_sum_is_no_number_are_weights():
    model = DensityRegressor("gaussian", **FAST, preset="plain").fit(DENSE, Y)
    assert model.score(DENSE, Y, sample_weight=np.full(60, 1e308)) == pytest.approx(model.score(DENSE, Y), rel=1e-12)
    # a stack counts its rows by whole weights, and these count nothing
    stack = DensityRegressor(**FAST, preset="fast").fit(DENSE, Y, sample_weight=np.full(60, 1e308))
    assert stack.marginal_.n_rows == 60
