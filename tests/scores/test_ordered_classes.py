"""The ranked probability score where y is an ordered category whose order is not that of the sorted classes."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from sklearn.linear_model import LogisticRegression

from probmix.plots import ImportanceDisplay
from probmix.scores import crps, evaluate, neg_crps_scorer, ranked_probability_score

LEVELS = ["low", "middle", "high"]
RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 1))
CODES = np.digitize(X[:, 0] + 0.5 * RNG.normal(size=60), [-0.5, 0.5])
Y = pd.Series(pd.Categorical.from_codes(CODES, LEVELS, ordered=True))
REASON = "goes by the order of `classes_`, high, low, middle, and the categories of y are ordered low < middle < high"


def test_there_is_none_in_the_order_of_the_alphabet() -> None:
    model = LogisticRegression().fit(X, Y)
    table = evaluate({"logit": model}, X, Y)
    assert np.isnan(table.loc[("rps", "logit"), "mean"])
    assert REASON in table.attrs["missing"]["rps", "logit"]
    assert np.isfinite(table.drop(index="rps", level="score")["mean"]).all()
    with pytest.raises(ValueError, match=REASON):
        neg_crps_scorer(model, X, Y)
    for score in ("rps", crps, ranked_probability_score):
        with pytest.raises(ValueError, match=REASON):
            ImportanceDisplay.from_estimator(model, X, Y, score=score, ax=Figure().subplots())


def test_numbers_in_their_order_have_it() -> None:
    model = LogisticRegression().fit(X, Y.cat.codes)
    # the definition, by cumulative probabilities
    below = model.predict_proba(X).cumsum(1)[:, :-1]
    expected = ((below - (CODES[:, None] <= np.arange(2))) ** 2).sum(1).mean()
    assert np.isclose(ranked_probability_score(model.predict_proba(X), CODES).mean().item(), expected)
    assert np.isclose(evaluate({"logit": model}, X, Y.cat.codes, scores="rps")["mean"].item(), expected)
    assert np.isclose(neg_crps_scorer(model, X, Y.cat.codes), -expected)


@pytest.mark.parametrize(
    "y",
    [
        Y.cat.rename_categories({"low": "a", "middle": "b", "high": "c"}),
        Y.cat.rename_categories({"low": "a", "middle": "b", "high": "c"}).cat.add_categories(["aa"]),
        Y.cat.rename_categories({"low": "c", "middle": "b", "high": "a"}),
        Y[CODES < 2].cat.remove_unused_categories().cat.rename_categories({"middle": "high"}),
    ],
    ids=["sorted", "with one that does not occur", "from the other end", "two"],
)
def test_categories_that_are_sorted_have_it_from_either_end(y: pd.Series) -> None:
    rows = X[y.index]
    model = LogisticRegression().fit(rows, y)
    codes = LogisticRegression().fit(rows, CODES[y.index])
    expected = evaluate({"logit": codes}, rows, CODES[y.index], scores="rps")["mean"].item()
    assert np.isclose(evaluate({"logit": model}, rows, y, scores="rps")["mean"].item(), expected, rtol=1e-4)
    assert np.isclose(neg_crps_scorer(model, rows, y), -expected, rtol=1e-4)


def test_categories_without_an_order_are_taken_as_they_are_sorted() -> None:
    y = Y.cat.as_unordered()
    model = LogisticRegression().fit(X, y)
    places = np.searchsorted(sorted(LEVELS), y)
    expected = ranked_probability_score(model.predict_proba(X), places).mean().item()
    assert np.isclose(evaluate({"logit": model}, X, y, scores="rps")["mean"].item(), expected)
