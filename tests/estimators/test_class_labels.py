"""Classes of every type: predicted as they came, saved and loaded, or refused in words."""

from datetime import date, datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import torch

import probmix
from probmix import DensityClassifier
from probmix.estimators import base

X = np.random.default_rng(0).normal(size=(40, 2))
FIRST = (X[:, 0] > 0).astype(int)
FAST = {"max_epochs": 3, "hidden_layer_sizes": (4,), "random_state": 0}


def objects(*two):
    both = np.empty(2, dtype=object)
    both[:] = two
    return both[FIRST]


def typed(two, kind):
    return np.array(two, dtype=kind)[FIRST]


DAYS = typed(["2020-01-01", "2021-06-30"], "M8[D]")
# labels, and the type of the classes that are predicted for them
LABELS = {
    "int64": (typed([3, 7], "int64"), "int64"),
    "int8": (typed([-3, 7], "int8"), "int8"),
    "uint64": (typed([3, 2**64 - 1], "uint64"), "uint64"),
    "bool": (FIRST > 0, "bool"),
    "float64": (typed([-1.0, 2.0], "float64"), "float64"),
    "float32": (typed([-1.0, 2.0], "float32"), "float32"),
    "text": (typed(["no", "yes"], None), "<U3"),
    "objects of text": (objects("no", "yes"), "object"),
    "objects of NumPy's text": (objects(np.str_("no"), np.str_("yes")), "object"),
    "objects of integers": (objects(1, 2), "int64"),
    "objects of booleans": (objects(False, True), "bool"),
    "days": (DAYS, "M8[D]"),
    "months": (DAYS.astype("M8[M]"), "M8[M]"),
    "nanoseconds": (typed(["2020-01-01T00:00:00.123456789", "1677-09-22"], "M8[ns]"), "M8[ns]"),
    "spans": (typed([1, -2], "m8[s]"), "m8[s]"),
    "Timestamps": (objects(pd.Timestamp("2020-01-01 12:30"), pd.Timestamp("2021-01-01")), "times"),
    "datetimes": (objects(datetime(2020, 1, 1), datetime(2021, 1, 1)), "times"),
    "a series of times": (pd.Series(pd.DatetimeIndex(DAYS.astype("M8[ns]"))), "M8[ns]"),
    "a series of text": (pd.Series(objects("no", "yes"), dtype="string"), "object"),
    "a series of categories": (pd.Series(objects("no", "yes"), dtype="category"), "object"),
    "a series of integers": (pd.Series(FIRST, dtype="Int64"), "int64"),
    "a series of whole floats": (pd.Series(typed([-1.0, 2.0], "float64"), dtype="Float64"), "float64"),
    "objects of whole floats": (objects(-1.0, 2.0), "float64"),
    "a series of booleans": (pd.Series(FIRST > 0, dtype="boolean"), "bool"),
    "a list": (objects("no", "yes").tolist(), "<U3"),
    "a tensor": (torch.from_numpy(FIRST), "int64"),
    "nothing that is masked": (np.ma.masked_array(FIRST, mask=np.zeros(len(FIRST), dtype=bool)), "int64"),
}
if hasattr(np.dtypes, "StringDType"):
    LABELS["text of any length"] = (typed(["no", "yes"], np.dtypes.StringDType()), "object")


@pytest.mark.parametrize("name", LABELS)
def test_classes_of_any_type_are_predicted_saved_and_loaded(tmp_path, name):
    labels, kind = LABELS[name]
    model = DensityClassifier(**FAST, preset="plain").fit(X, labels, X_val=X, y_val=labels)
    # in which unit pandas keeps times differs from version to version
    assert model.classes_.dtype == kind or (kind == "times" and model.classes_.dtype.kind == "M")
    again = model.classes_[model._validate_targets(labels).astype(int)]
    assert (pd.Series(again) == pd.Series(np.asarray(labels))).all()
    assert model.predict(X).dtype == model.sample(X, 2, random_state=0).dtype == model.classes_.dtype
    model.save(tmp_path / "model")
    loaded = probmix.load(tmp_path / "model")
    assert loaded.classes_.dtype == model.classes_.dtype
    np.testing.assert_array_equal(loaded.classes_, model.classes_)
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    assert loaded.score(X, labels) == model.score(X, labels)


MISSING = "`{}` must have a class in every row; got {} at row {}. Drop such rows, or give them a class of their own."
KINDS = (
    "`y` must hold classes that are all text, or all integers, whole floats, booleans or times without a zone; got {} "
    "objects, the first is {}. Convert them, say by astype(str)."
)
# the first row is of the second class
FIRST_MISSING = int(np.argmin(FIRST))
BAD_LABELS = {
    "NaN": (typed([np.nan, 1.0], float), MISSING.format("y", "nan", FIRST_MISSING)),
    "None": (objects(None, "yes"), MISSING.format("y", None, FIRST_MISSING)),
    "NaT": (typed(["NaT", "2021-01-01"], "M8[D]"), MISSING.format("y", "NaT", FIRST_MISSING)),
    "NA of text": (pd.Series(objects(None, "yes"), dtype="string"), MISSING.format("y", "<NA>", FIRST_MISSING)),
    "NA of integers": (pd.Series(objects(None, 1), dtype="Int64"), MISSING.format("y", "<NA>", FIRST_MISSING)),
    "NA of floats": (pd.Series(objects(None, 1.0), dtype="Float64"), MISSING.format("y", "<NA>", FIRST_MISSING)),
    "a masked cell": (np.ma.masked_less(FIRST, 1), MISSING.format("y", "nan", FIRST_MISSING)),
    "a masked text": (
        np.ma.masked_array(typed(["no", "yes"], None), mask=FIRST == 0), MISSING.format("y", None, FIRST_MISSING)
    ),
    "text and integers": (objects(1, "yes"), KINDS.format("mixed-integer", "'yes'")),
    "dates": (DAYS.astype(object), KINDS.format("date", repr(date(2021, 6, 30)))),
    "decimals": (objects(Decimal(1), Decimal(2)), KINDS.format("decimal", "Decimal('2')")),
    "times with a zone": (
        pd.Series(pd.DatetimeIndex(DAYS).tz_localize("UTC")),
        KINDS.format("datetime", repr(pd.Timestamp("2021-06-30", tz="UTC"))),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_LABELS)
def test_labels_that_are_no_classes_are_refused_before_training(monkeypatch, name):
    def train(*args):
        pytest.fail("training started")

    monkeypatch.setattr(base, "train", train)
    labels, message = BAD_LABELS[name]
    with pytest.raises(ValueError, match=r".") as caught:
        DensityClassifier(preset="plain").fit(X, labels)
    assert str(caught.value) == message


def test_labels_that_are_missing_are_named_in_scores():
    labels = objects("no", "yes")
    model = DensityClassifier(**FAST, preset="plain").fit(X, labels)
    labels[5] = None
    with pytest.raises(ValueError, match=r".") as caught:
        model.score(X, labels)
    assert str(caught.value) == MISSING.format("y", None, 5)


@pytest.mark.parametrize("kind", ["float64", "Float64"])
def test_floats_that_are_not_whole_are_no_classes(kind):
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        DensityClassifier(preset="plain").fit(X, pd.Series(FIRST + 0.5, dtype=kind))
