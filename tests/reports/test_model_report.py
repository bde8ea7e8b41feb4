"""What the report on a fitted model says, of numbers, counts with exposures and classes."""

import datetime
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from probmix import DensityClassifier, DensityRegressor
from probmix.reports import Picture, Points, Settings, Table, model_report
from probmix.reports.data import columns_section
from probmix.reports.marginal import marginal
from probmix.reports.subject import Subject
from probmix.scores import evaluate

rng = np.random.default_rng(0)
QUICK = {"preset": "plain", "max_epochs": 8, "random_state": 0}


def frame(n):
    size = rng.normal(size=n)
    return pd.DataFrame({
        "size": np.where(np.arange(n) % 10 == 3, np.nan, size),
        "kind": np.where(np.arange(n) % 3 == 0, "flat", "house"),
        "sold": pd.Timestamp("2020-01-01") + pd.to_timedelta(np.arange(n), unit="D"),
    })  # fmt: skip


X = frame(160)
Y = pd.Series(X["size"].fillna(0.0) + (X["kind"] == "flat") + 0.3 * rng.normal(size=160), name="price")
TRAIN, TEST = slice(0, 100), slice(100, None)


def parts_of(page, heading, kind):
    section = next(section for section in page.sections if section.heading == heading)
    return [part for part in section.parts if isinstance(part, kind)]


def sentences(page, heading):
    return [one for points in parts_of(page, heading, Points) for one in points.sentences]


@pytest.fixture(scope="module")
def model():
    return DensityRegressor("gaussian", "erm", **QUICK).fit(X[TRAIN], Y[TRAIN])


@pytest.fixture(scope="module")
def page(model):
    peers = {"flat": stats.norm(np.zeros(60), 1.0), "zero": np.zeros(60)}
    return model_report(
        model, X[TEST], Y[TEST], title="Prices", peers=peers, settings={"command": "probmix fit prices.csv"}
    )


def test_sections_come_in_an_order(page):
    assert [section.heading for section in page.sections] == [
        "In short", "Data", "What was chosen, and why", "Scores", "Calibration",
        "Intervals against observed targets", "Columns that matter, and how", "Rows far out", "Columns",
        "Settings to repeat it",
    ]  # fmt: skip
    assert page.title == "Prices"
    assert "<h1>Prices</h1>" in page.html()


def test_the_data_are_told(page):
    said = " ".join(sentences(page, "Data"))
    assert "60 rows and 3 columns, of which 1 has gaps, in up to 10 % of rows." in said
    assert "The target, price, is from " in said
    assert "all 60 rows. They tell of new data only if the model was not fitted on these rows." in said
    (table,) = parts_of(page, "Columns", Table)
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["size"][:3] == ["numbers", "10 %", 54.0]
    assert rows["kind"] == ["text", "0 %", 2.0, "house (66.7 %)", None]
    assert rows["sold"][0] == "dates"


def test_text_that_spells_dates_is_called_dates():
    spelt = pd.DataFrame({"day": ["2020-03-01", "2019-12-31", None], "code": ["a-1", "2020-01-01", "b"]})
    (table,) = columns_section(SimpleNamespace(all_rows=spelt)).parts
    assert table.rows[0] == ["day", "dates", "33.3 %", 2.0, "2019-12-31", "2020-03-01"]
    assert table.rows[1][:2] == ["code", "text"]


def test_dates_are_in_their_order_however_they_are_written():
    days = [pd.Timestamp("2020-03-01"), datetime.date(2019, 12, 31), None]
    local = ["2020-03-29T01:30:00+01:00", "2020-03-29T01:00:00+00:00", "2020-03-29T02:15:00+02:00"]
    rows = pd.DataFrame({"day": pd.Series(days, dtype=object), "local": local})
    (table,) = columns_section(SimpleNamespace(all_rows=rows)).parts
    assert table.rows[0][1:] == ["dates", "33.3 %", 2.0, "2019-12-31", "2020-03-01 00:00:00"]
    # 00:30, 01:00 and 00:15 in UTC
    assert table.rows[1][4:] == [local[2], local[1]]


def test_the_training_is_drawn(page):
    (picture,) = parts_of(page, "What was chosen, and why", Picture)
    assert picture.caption.startswith("The training of the model, a line for each member;")


def test_scores_are_those_of_evaluate(page, model):
    peers = {"flat": stats.norm(np.zeros(60), 1.0), "zero": np.zeros(60)}
    table = evaluate({"model": model, **peers}, X[TEST], Y[TEST], scores=["crps", "nll"])
    (shown,) = parts_of(page, "Scores", Table)
    cells = {(row[0].text, row[1].text): [cell.text for cell in row[2:]] for row in shown.cells}
    assert list(dict.fromkeys(name for _, name in cells)) == ["model", "without X", "flat", "zero"]
    mean, error = table.loc[("crps", "flat"), ["mean", "standard_error"]]
    told = re.fullmatch(r"([\d.]+) ± ([\d.]+)", cells["CRPS", "flat"][0])
    assert float(told[1]) == pytest.approx(mean, abs=5e-4)
    assert float(told[2]) == pytest.approx(error, rel=0.05)
    difference = table.loc[("crps", "flat"), "difference"]
    assert float(cells["CRPS", "flat"][1].split()[0]) == pytest.approx(difference, abs=5e-4)
    assert cells["CRPS", "model"][1:] == ["", ""]
    assert cells["NLL", "zero"] == ["", "", ""]
    assert any(
        one.startswith("No NLL of zero: a point prediction has no distribution") for one in sentences(page, "Scores")
    )
    assert len(parts_of(page, "Scores", Picture)) == 1


def test_the_target_without_x_is_fitted_to_what_it_is_scored_on(page):
    (shown,) = parts_of(page, "Scores", Table)
    cells = {(row[0].text, row[1].text): row[2].number for row in shown.cells}
    y = Y[TEST].to_numpy()
    # nothing of the family has a better mean log likelihood than its maximum
    best = -stats.norm(y.mean(), y.std()).logpdf(y).mean()
    assert cells["NLL", "without X"] == pytest.approx(best, abs=0.02)
    assert cells["NLL", "without X"] > cells["NLL", "model"]


def test_calibration_is_put_into_words(page, model):
    inside = model.predict_interval(X[TEST], 0.9)
    y = Y[TEST].to_numpy()
    share = 100 * ((inside[:, 0] <= y) & (y <= inside[:, 1])).mean()
    told = next(one for one in sentences(page, "In short") if one.startswith("90 % intervals hold"))
    assert told.startswith(f"90 % intervals hold {share:.1f} % ± 3.9 % of the targets, ")
    assert told in sentences(page, "Calibration")
    assert len(parts_of(page, "Calibration", Picture)) == 2


def test_columns_that_matter_have_pictures_of_their_effects(page):
    pictures = parts_of(page, "Columns that matter, and how", Picture)
    captions = [picture.caption for picture in pictures]
    assert captions[0] == "By how much the NLL gets worse, of 60 rows, with 95 % intervals."
    # the date says nothing
    changes = [f"How price changes with {name}, on average over rows." for name in ("size", "kind", "sold")]
    assert sorted(captions[1:3]) == sorted(changes[:2])
    assert captions[3] == changes[2]


def test_settings_repeat_the_fit(page, model):
    (settings,) = parts_of(page, "Settings to repeat it", Settings)
    assert settings.values["command"] == "probmix fit prices.csv"
    assert settings.values["seed of the fit"] == str(model.seed_)
    assert {"Python", "probmix", "torch"} <= settings.values.keys()
    assert "DensityRegressor(family=&#39;gaussian&#39;" in page.html()


def test_rows_far_out_are_listed(model):
    rows = X[TEST].copy()
    rows.loc[104, "size"], rows.loc[110, "size"] = 1e4, -1e6
    with pytest.warns(UserWarning, match="2 of 60 rows of X lie far outside") as caught:
        page = model_report(model, rows, Y[TEST], title="Far out")
    assert len(caught) == 1
    assert "2 rows lie far outside of what the model was trained on, of 60." in sentences(page, "In short")
    (table,) = parts_of(page, "Rows far out", Table)
    assert [row[:3] for row in table.rows] == [["10", "size", "-1e+06"], ["4", "size", "10000"]]


def test_a_stack_says_what_it_chose_and_why():
    random = np.random.default_rng(1)
    y = random.poisson(np.exp(0.5 + 0.5 * X["size"].fillna(0.0)))
    exposure = random.uniform(0.5, 2.0, 160)
    # the last epoch may well be the best of so few
    model = DensityRegressor(["poisson", "negative-binomial"], "erm", patience=None, **QUICK)
    model.fit(X[TRAIN], y[TRAIN], exposure=exposure[TRAIN])
    page = model_report(model, X[TEST], y[TEST], exposure=exposure[TEST], title="Counts")
    said = sentences(page, "What was chosen, and why")
    assert said[0].startswith("2 candidates were trained to the end")
    best = model.stack_.sort_values("nll").iloc[0]
    assert any(
        f"On these rows {best['family']}, mixup erm has the smallest negative log likelihood" in one for one in said
    )
    tables = parts_of(page, "What was chosen, and why", Table)
    assert [row[0] for row in tables[0].rows] == ["poisson", "negative-binomial"]
    first = model.stack_.sort_values("weight").iloc[-1]
    (picture,) = parts_of(page, "What was chosen, and why", Picture)
    assert picture.caption.startswith(f"The training of {first['family']}, mixup erm, a line for each member;")
    assert any("a constant rate per exposure," in one for one in sentences(page, "Scores"))
    assert any("Some values have a probability of their own" in one for one in sentences(page, "Calibration"))
    with pytest.raises(ValueError, match="the model was fitted with exposures"):
        model_report(model, X[TEST], y[TEST], title="Counts")


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_share_of_the_marginal_is_told():
    model = DensityRegressor(preset="fast", max_epochs=2, n_members=2, random_state=0).fit(X[TRAIN], Y[TRAIN])
    said = sentences(model_report(model, X[TEST], Y[TEST], title="Prices"), "What was chosen, and why")
    assert any("Of it 1 in 101 is the distribution of the targets without X" in one for one in said)


def test_classes_have_diagrams_and_frequencies():
    labels = np.array(["low", "middle", "high"])[np.digitize(Y, [-0.3, 0.6])]
    model = DensityClassifier("erm", **QUICK).fit(X[TRAIN], labels[TRAIN])
    page = model_report(model, X[TEST], labels[TEST], title="Classes", peers={"same": model})
    assert len(parts_of(page, "Calibration", Picture)) == 3
    (shown,) = parts_of(page, "Scores", Table)
    cells = {(row[0].text, row[1].text): row[2].number for row in shown.cells}
    shares = np.unique(labels[TEST], return_counts=True)[1] / 60
    assert cells["NLL", "without X"] == pytest.approx(-(shares * np.log(shares)).sum(), abs=1e-3)
    assert cells["NLL", "same"] == cells["NLL", "model"]
    assert cells["accuracy", "without X"] == pytest.approx(shares.max(), abs=1e-2)


def test_models_of_other_kinds_have_a_report_on_a_sample_of_many_rows():
    class Normal:
        def fit(self, X, y):
            return self

        def predict_dist(self, X):
            return torch.distributions.Normal(torch.zeros(len(X)).double(), 1.0)

        def predict(self, X):
            return np.zeros(len(X))

    normal = stats.norm(np.zeros(60), 1.0)
    peers = {"same": normal, "draws": np.random.default_rng(2).normal(size=(60, 20)), "zero": [0.0] * 60}
    page = model_report(Normal(), X[TEST], Y[TEST], title="Another", peers=peers, max_rows=40)
    assert [section.heading for section in page.sections] == [
        "In short", "Data", "Scores", "Calibration", "Intervals against observed targets",
        "Columns that matter, and how", "Columns", "Settings to repeat it",
    ]  # fmt: skip
    assert "a random sample of 40 of the 60 rows" in " ".join(sentences(page, "Data"))
    (shown,) = parts_of(page, "Scores", Table)
    # always the same one
    chosen = np.sort(np.random.default_rng(0).choice(60, 40, replace=False))
    crps = evaluate({"zero": np.zeros(40)}, None, Y[TEST].to_numpy()[chosen], scores="crps")["mean"].iloc[0]
    cells = {(row[0].text, row[1].text): row[2].number for row in shown.cells}
    assert cells["CRPS", "zero"] == pytest.approx(crps, abs=5e-3)
    assert cells["NLL", "same"] == cells["NLL", "model"]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"y": Y[:3]},
            ValueError,
            r"`y` must hold one target for each of the 60 rows of X; got shape \(3,\)\. Of several",
        ),
        ({"y": np.zeros((60, 2))}, ValueError, r"got shape \(60, 2\)\. Of several targets make a report each\.$"),
        ({"peers": [1]}, TypeError, r"^`peers` must be a dict of name to model or prediction; got list\.$"),
        (
            {"peers": {"model": 1}},
            ValueError,
            r"^`peers` must not be called 'model', which the report itself uses\. Rename",
        ),
        (
            {"exposure": np.ones(3)},
            ValueError,
            r"^`exposure` must hold one number for each of the 60 rows; got shape \(3,\)\.$",
        ),
        ({"y": np.full(60, np.nan)}, ValueError, r"`y` must be finite; got NaN at row 0"),
        ({"y": np.full(60, 2.0)}, ValueError, r"or there is nothing to judge a model by; got 60 times 2\.0\.$"),
        ({"max_rows": 1}, ValueError, r"^`max_rows` must be an integer of at least 2"),
    ],
)
def test_bad_input_is_refused(model, changes, error, message):
    given = {"y": Y[TEST], **changes}
    with pytest.raises(error, match=message):
        model_report(model, X[TEST], title="t", **given)


def test_columns_without_a_value_have_no_effect_to_draw():
    model = DensityRegressor("gaussian", **QUICK).fit(X[TRAIN], Y[TRAIN])
    pictures = parts_of(model_report(model, X[TEST], Y[TEST], title="t"), "Columns that matter, and how", Picture)
    empty = parts_of(
        model_report(model, X[TEST].assign(size=np.nan), Y[TEST], title="t"), "Columns that matter, and how", Picture
    )
    assert len(pictures) == 4
    assert len(empty) == 3
    assert not any("size" in one.caption for one in empty)


def test_what_there_is_without_x_is_one_distribution_for_all_rows():
    exposure = np.linspace(0.5, 3.0, 120)
    counts = np.random.default_rng(1).poisson(2.0 * exposure)
    x = np.random.default_rng(2).normal(size=(120, 2))
    of_numbers = DensityRegressor("gaussian", **QUICK).fit(x, counts)
    found = marginal(Subject.of(of_numbers, x, counts.astype(float), None, {}, 1000, "y"))
    assert len(np.unique(found.mean.numpy().round(9))) == 1
    assert found.mean[0].item() == pytest.approx(counts.mean(), rel=0.05)
    of_rates = DensityRegressor("poisson", **QUICK).fit(x, counts, exposure=exposure)
    found = marginal(Subject.of(of_rates, x, counts, exposure, {}, 1000, "y"))
    rates = found.mean.numpy() / exposure
    np.testing.assert_allclose(rates, rates[0], rtol=1e-9)
    assert rates[0] == pytest.approx(counts.sum() / exposure.sum(), rel=0.05)
    classes = DensityClassifier(**QUICK).fit(x, counts > 3)
    found = marginal(Subject.of(classes, x, counts > 3, None, {}, 1000, "y"))
    np.testing.assert_allclose(found.probs[:, 1], (counts > 3).mean())
