"""Columns whose names are no text, such as years, are found by them too."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from probmix import DensityRegressor
from probmix.columns.columns import Columns
from probmix.plots import EffectDisplay

CELLS = np.array([[1.0, 5.0], [2.0, 6.0], [4.0, 9.0]])
LABELS = {
    "years": [2020, 2021],
    "two levels": [("a", "x"), ("b", "x")],
    "times": list(pd.to_datetime(["2020-01-01", "2021-01-01"])),
    "floats": [2020.5, 2021.0],
    "missing": [pd.NaT, pd.Timestamp("2021-01-01")],
    "turned positions": [1, 0],
    "positions": [0, 1],
}


def _frame(labels: list) -> pd.DataFrame:
    return pd.DataFrame(CELLS, columns=pd.Index(labels))


@pytest.mark.parametrize("kind", LABELS)
def test_columns_are_found_by_labels_that_are_no_text(kind: str) -> None:
    frame = _frame(LABELS[kind])
    columns, stored = Columns.fit(frame)
    turned = frame[frame.columns[::-1]]
    assert not np.array_equal(turned.to_numpy(), stored)
    for one in (columns, Columns.from_state(columns.state())):
        assert one == columns
        assert np.array_equal(one.transform(turned), stored)
    # as in scikit-learn, which knows names that are text alone
    assert columns.feature_names_in_ is None


def test_labels_are_also_found_as_text_that_spells_them() -> None:
    columns, stored = Columns.fit(_frame([2020, 2021]))
    assert np.array_equal(columns.transform(_frame([2020, 2021]).rename(columns=str)[["2021", "2020"]]), stored)
    assert columns.layout.names == ("2020", "2021")


@pytest.mark.parametrize(
    ("fitted", "predicted"),
    [
        ([2020, 2021], [2021.0, 2020.0]),
        ([0, 1], [1.0, 0.0]),
        (pd.to_datetime(["2020-01-01", "2021-01-01"]), ["2021-01-01", "2020-01-01"]),
        (pd.to_datetime(["2020-01-01", "2021-01-01"]).date, pd.to_datetime(["2021-01-01", "2020-01-01"])),
        ([(2020, "a"), (2021, "a")], [(np.int64(2021), "a"), (np.int64(2020), "a")]),
    ],
    ids=["floats", "positions as floats", "text", "dates", "two levels"],
)
def test_equal_labels_of_another_type_are_the_same(fitted: list, predicted: list) -> None:
    columns, stored = Columns.fit(_frame(fitted))
    turned = pd.DataFrame(CELLS[:, ::-1], columns=pd.Index(predicted, tupleize_cols=False))
    assert np.array_equal(columns.transform(turned), stored)


def test_labels_may_be_missing() -> None:
    frame = pd.DataFrame(np.ones((2, 3)), columns=pd.Index([1, 2, pd.NA], dtype="Int64"))
    frame.iloc[1, 2] = np.inf
    with pytest.raises(ValueError, match=r"infinity at row 1 of column <NA> \(2\)"):
        Columns.fit(frame)


def test_other_labels_are_an_error_that_names_them() -> None:
    columns, _ = Columns.fit(_frame([2020, 2021]))
    with pytest.raises(ValueError, match=r"unseen at fit time:\n- 2022\n.*now missing:\n- 2021\n"):
        columns.transform(_frame([2020, 2022]))


def test_a_further_label_is_named() -> None:
    model = DensityRegressor("gaussian", preset="plain", max_epochs=1, random_state=0)
    model.fit(_frame([2020, 2021]).sample(40, replace=True, random_state=0), np.arange(40.0))
    with pytest.raises(ValueError, match="unseen at fit time:\n- 2022"):
        model.predict(_frame([2020, 2021]).assign(**{"2022": 0.0}).rename(columns={"2022": 2022}))


@pytest.mark.parametrize("without", [CELLS, _frame([0, 1])], ids=["array", "positions"])
def test_columns_with_labels_and_such_without_are_taken_in_their_order_with_a_warning(without: object) -> None:
    columns, stored = Columns.fit(_frame([2020, 2021]))
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        assert np.array_equal(columns.transform(without), stored)
    columns, stored = Columns.fit(without)
    with pytest.warns(UserWarning, match="X has feature names, but that of the fit had none"):
        assert np.array_equal(columns.transform(_frame([2020, 2021])), stored)


def test_positions_as_labels_say_nothing() -> None:
    columns, stored = Columns.fit(_frame([0, 1]))
    assert columns.layout.names == ("column 0", "column 1")
    assert np.array_equal(columns.transform(CELLS), stored)
    assert np.array_equal(Columns.fit(CELLS)[0].transform(_frame([0, 1])), stored)


def test_files_without_labels_are_read() -> None:
    columns, _ = Columns.fit(CELLS)
    state = columns.state()
    del state["labels"]
    assert Columns.from_state(state) == columns


def test_a_number_that_is_both_a_position_and_another_label_is_refused() -> None:
    frame = _frame([1, 0])
    with pytest.raises(ValueError, match=r"a column of `X` is called 1 and stands at another\. Pass a mask"):
        Columns.fit(frame, categorical_features=[1])
    assert Columns.fit(frame, categorical_features=[False, True])[0].layout.kinds == ("number", "level")
    assert Columns.fit(_frame([0, 1]), categorical_features=[1])[0].layout.kinds == ("number", "level")
    with pytest.raises(ValueError, match=r"2 columns\. For names that are no text pass a mask"):
        Columns.fit(_frame([2020, 2021]), categorical_features=[2021])
    assert Columns.fit(_frame([2020, 2021]), categorical_features=[1])[0].layout.kinds == ("number", "level")


def test_an_estimator_finds_columns_by_their_labels_and_its_effects_by_their_place() -> None:
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(60, 2)) * [1.0, 3.0], columns=[1, 0])
    y = X[1].to_numpy() + 0.1 * rng.normal(size=60)
    model = DensityRegressor("gaussian", n_members=1, max_epochs=2, random_state=0).fit(X, y)
    assert np.array_equal(model.predict(X), model.predict(X[[0, 1]]))
    # a number is a position, and the axis has the name
    assert EffectDisplay.from_estimator(model, X, feature=1, ax=Figure().subplots()).feature_name == "0"
    with pytest.raises(ValueError, match=r"row 3 of column 0 \(1\)"):
        model.predict(X.mask((X.index == 3)[:, None] & [False, True], np.inf))
