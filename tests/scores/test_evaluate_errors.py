"""What evaluate, score_rows and compare_rows refuse."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats as st
import torch
from evaluate_cases import Y, raises
from sklearn.linear_model import BayesianRidge
from sklearn.preprocessing import StandardScaler

from probmix.scores import (
    compare_rows,
    crps,
    evaluate,
    score_rows,
)

# -- errors ------------------------------------------------------------------------------------------------------------


class Labels:
    def __init__(self, *classes):
        self.classes_ = list(classes)

    def predict_proba(self, X):
        return np.full((len(X), len(self.classes_)), 1 / len(self.classes_))


CATEGORICAL = torch.distributions.Categorical(torch.full((40, 2), 0.5))
NORMAL = st.norm(np.zeros(40), 1.0)


@pytest.mark.parametrize(
    ("arguments", "changes", "kind", "message"),
    [
        ({}, {}, ValueError, "`models` must hold at least one model or prediction. Pass a dict of name to model."),
        (
            NORMAL,
            {},
            TypeError,
            "`models` must be a dict of name to model; got rv_continuous_frozen. Of one model pass {'model': model}.",
        ),
        ([NORMAL], {}, TypeError, "`models` must be a dict of name to model; got list. Of one model pass {'model'"),
        (
            {"a": StandardScaler()},
            {"X": Y[:, None]},
            TypeError,
            "the estimator must predict distributions by a method `predict_dist`; got StandardScaler().",
        ),
        (
            {"a": BayesianRidge()},
            {},
            TypeError,
            "'a' is a model and needs rows to predict, but `X` is None. Pass X, or its predictions.",
        ),
        (
            {"a": NORMAL, "b": CATEGORICAL},
            {},
            ValueError,
            "models must predict all classes or all numbers; 'b' predicts classes, 'a' numbers. Evaluate them apart; "
            "pass class probabilities as a Categorical distribution.",
        ),
        ({"a": NORMAL}, {"scores": ["crsp"]}, ValueError, "unknown score 'crsp'; did you mean 'crps'?"),
        (
            {"a": NORMAL},
            {"scores": ["nll", "brier"]},
            ValueError,
            "the score 'brier' is for predictions of classes; there are 'nll', 'crps', 'rmse', 'mae', 'coverage90', "
            "'interval90', 'quantile90', 'pinball90' for these.",
        ),
        (
            {"a": CATEGORICAL},
            {"scores": ["coverage90"], "y": np.zeros(40, int)},
            ValueError,
            "the score 'coverage90' is for predictions of numbers; there are 'nll', 'brier', 'rps', 'accuracy' for "
            "these.",
        ),
        ({"a": NORMAL}, {"scores": []}, ValueError, "`scores` must name at least one score, such as 'nll'."),
        ({"a": NORMAL}, {"baseline": "b"}, ValueError, "unknown baseline 'b'; known are 'a'."),
        (
            {"a": NORMAL},
            {"y": Y[:3]},
            ValueError,
            "`y` must hold one target, or one row of targets, for each predicted row, at least one; 'a' predicts shape "
            "(40,), `y` has (3,).",
        ),
        (
            {"a": NORMAL, "one": st.norm(0, 1)},
            {},
            ValueError,
            "`y` must hold one target, or one row of targets, for each predicted row, at least one; 'one' predicts "
            "shape (), `y` has (40,).",
        ),
        (
            {"a": st.norm(np.zeros(0), 1.0)},
            {"y": []},
            ValueError,
            "`y` must hold one target, or one row of targets, for each predicted row, at least one; 'a' predicts shape "
            "(0,), `y` has (0,).",
        ),
        ({"a": NORMAL}, {"y": np.where(Y > 1, np.nan, Y)}, ValueError, "`y` must be finite; got nan at row"),
        (
            {"a": NORMAL},
            {"sample_weight": np.ones(3)},
            ValueError,
            "`sample_weight` must hold one weight for each of the 40 rows; got shape (3,).",
        ),
        (
            {"a": NORMAL},
            {"sample_weight": np.arange(40) - 1.0},
            ValueError,
            "`sample_weight` must be finite and not negative; got -1 at row 0. Give dropped rows the weight 0.",
        ),
        (
            {"a": NORMAL},
            {"sample_weight": np.zeros(40)},
            ValueError,
            "`sample_weight` must be positive in at least one row; got zeros only.",
        ),
        (
            {"a": Labels("no", "yes"), "b": Labels("no", "maybe")},
            {"X": Y[:, None], "y": ["no"] * 40},
            ValueError,
            "all models must know the same classes in the same order; 'a' has ['no', 'yes'] and 'b' ['no', 'maybe']. "
            "Fit them on the same labels.",
        ),
        (
            {"a": Labels("no", "yes")},
            {"X": Y[:, None], "y": ["no"] * 39 + ["maybe"]},
            ValueError,
            "`y` must hold classes that the estimator has seen, ['no', 'yes']; got 'maybe'.",
        ),
        (
            {"a": CATEGORICAL},
            {"y": ["no"] * 40},
            ValueError,
            "`y` must hold numbers where no model knows its classes; got np.str_('no'). Pass class indices.",
        ),
    ],
    ids=[
        "none",
        "no-dict",
        "list",
        "no-model",
        "no-X",
        "mixed",
        "misspelt",
        "of-classes",
        "of-numbers",
        "no-score",
        "baseline",
        "short",
        "scalar",
        "empty",
        "nan",
        "weights-short",
        "weights-negative",
        "weights-zero",
        "classes-differ",
        "class-unseen",
        "no-classes",
    ],
)
def test_errors(arguments, changes, kind, message):
    given = {"X": None, "y": Y, **changes}
    with raises(kind, message):
        evaluate(arguments, given.pop("X"), given.pop("y"), **given)


def test_classes_need_not_be_sorted():
    model = Labels("yes", "no", "maybe")
    model.predict_proba = lambda X: np.tile([0.2, 0.3, 0.5], (len(X), 1))
    rows = score_rows({"a": model}, np.zeros((3, 1)), ["maybe", "yes", "no"], scores=["nll"])
    np.testing.assert_allclose(np.exp(-rows["nll", "a"]), [0.5, 0.2, 0.3])


def test_rows_of_any_origin_can_be_compared():
    columns = pd.MultiIndex.from_product([["mae"], ["a", "b"]], names=["score", "model"])
    table = compare_rows(pd.DataFrame([[1.0, 2.0], [3.0, 2.5]], columns=columns))
    assert table.loc[("mae", "b"), "difference"] == 0.25
    with raises(ValueError, "there must be at least one row to compare; got none."):
        compare_rows(pd.DataFrame(np.zeros((0, 2)), columns=columns))


def test_rows_need_their_levels():
    rows = pd.DataFrame({("nll", "one"): [1.0, 2.0]})
    with raises(ValueError, "`rows` must have columns with the levels 'score' and 'model', as from `score_rows`"):
        compare_rows(rows)


# -- arrays that are not draws of the rows -----------------------------------------------------------------------------


def test_draws_with_a_row_for_each_draw_are_to_be_turned():
    draws = np.random.default_rng(0).normal(size=(7, 40))
    with raises(
        ValueError,
        "`y` must hold one target, or one row of targets, for each predicted row, at least one; 'm' predicts shape "
        "(7,), `y` has (40,). Draws have a line for each row: pass their transpose, (40, 7).",
    ):
        evaluate({"m": draws}, None, Y)
    assert np.isfinite(evaluate({"m": draws.T}, None, Y, scores="crps")["mean"].item())
    with pytest.raises(ValueError, match=r"Draws have a line for each row: pass their transpose, \(40, 7\)\."):
        crps(draws, Y)


def test_quantiles_that_are_taken_for_draws_are_told():
    draws = np.random.default_rng(0).normal(size=(40, 2))
    evaluate({"draws": draws, "few": torch.distributions.Normal(torch.zeros(40), 1.0)}, None, Y)
    with pytest.warns(UserWarning, match="'ends' holds 2 numbers for each row, and they rise in all rows"):
        evaluate({"draws": draws, "ends": np.sort(draws)}, None, Y)
    # so few may be in order by chance, and points that are written twice have none
    evaluate({"few": np.sort(draws)[:19]}, None, Y[:19])
    evaluate({"twice": np.repeat(draws[:, :1], 2, 1)}, None, Y)
    rare = np.zeros((40, 2))
    rare[:9, 1] = 1
    evaluate({"rare counts": rare}, None, Y, scores="crps")
