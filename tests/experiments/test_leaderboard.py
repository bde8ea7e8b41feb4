"""The board: ranks against published examples, measures against independent oracles, runs with fake methods."""

import re
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from fake_peers import MEBIBYTES
from numpy.testing import assert_allclose
from scipy import integrate, stats
from tables_folder import write_tables

from probmix import cli, distributions
from probmix.experiments import LeaderboardExperiment, reproduce
from probmix.experiments.leaderboard.diagrams import difference_diagram, time_diagram
from probmix.experiments.leaderboard.measures import measures
from probmix.experiments.leaderboard.methods import METHODS, Method, Training
from probmix.experiments.leaderboard.process import run_alone
from probmix.experiments.leaderboard.ranks import common_means, groups, holm, ranking
from probmix.experiments.leaderboard.sets import load_rows, rows_without_test, split_rows

FAKES = ("marginal", "wide", "quantiles", "hungry", "failing", "dying")
# ranks of four settings of C4.5 on fourteen data sets, as Demšar (2006) has them in table 6
DEMSAR = pd.DataFrame(
    [
        [4, 3, 2, 1], [1, 2, 3, 4], [4, 1, 2, 3], [4, 1, 3, 2], [4, 2, 3, 1], [1, 2.5, 4, 2.5], [3, 2, 4, 1],
        [2.5, 2.5, 4, 1], [4, 3, 2, 1], [2.5, 2.5, 2.5, 2.5], [4, 2.5, 1, 2.5], [3, 2, 4, 1], [4, 1, 2, 3],
        [3, 1, 4, 2],
    ],
    columns=["C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf"],
)  # fmt: skip


@pytest.fixture
def data(tmp_path):
    return write_tables(tmp_path / "data")


@pytest.fixture(autouse=True)
def _fakes(monkeypatch):
    for name in FAKES:
        monkeypatch.setitem(METHODS, name, Method(name, f"fake_peers:fit_{name}"))
    monkeypatch.delenv("PROBMIX_DATA", raising=False)
    monkeypatch.setattr(LeaderboardExperiment, "baseline", "marginal")


def board(data, methods=("marginal", "wide", "quantiles"), datasets=("uci/yacht", "count/visits"), **settings):
    return LeaderboardExperiment(datasets, methods, **{"n_splits": 2, "uci_splits": 2, "data": data, **settings})


# -- ranks -------------------------------------------------------------------------------------------------------------


def test_ranks_are_those_of_the_published_example():
    found = ranking(DEMSAR, "C4.5")
    assert found.ranks.round(3).to_dict() == {"C4.5+m+cf": 1.964, "C4.5+m": 2.0, "C4.5+cf": 2.893, "C4.5": 3.143}
    assert list(found.ranks.index) == ["C4.5+m+cf", "C4.5+m", "C4.5+cf", "C4.5"]
    assert found.sets == 14
    # q = 2.569 there
    assert found.critical_difference == pytest.approx(1.25, abs=0.005)
    # chi square 9.28 and F 3.69 with 3 and 39 degrees of freedom there
    assert found.p_friedman == pytest.approx(stats.f.sf(3.69, 3, 39), rel=0.01)


def test_the_test_of_friedman_is_that_of_scipy_but_for_ties():
    random = np.random.default_rng(0)
    means = pd.DataFrame(random.normal(size=(12, 5)) + np.array([0.0, 0.1, 0.5, 0.9, 1.0]), columns=list("abcde"))
    chi = stats.friedmanchisquare(*means.T.to_numpy()).statistic
    f = 11 * chi / (12 * 4 - chi)
    assert ranking(means).p_friedman == pytest.approx(stats.f.sf(f, 4, 44), rel=1e-9)


def test_methods_in_the_same_order_everywhere_differ_for_certain():
    means = pd.DataFrame({"a": [0.0, 1.0, 5.0], "b": [1.0, 2.0, 6.0]})
    found = ranking(means, "b")
    assert found.p_friedman == 0.0
    assert found.wins.to_dict() == {"a": 3.0, "b": 0.0}


def test_a_shared_first_place_is_shared():
    found = ranking(pd.DataFrame({"a": [1.0, 1.0], "b": [1.0, 2.0], "c": [3.0, 1.0]}))
    assert found.wins.to_dict() == {"a": 1.0, "b": 0.5, "c": 0.5}
    assert found.ranks.to_dict() == {"a": 1.5, "b": 2.25, "c": 2.25}
    assert found.p_baseline.isna().all()


def test_differences_to_the_baseline_are_tested_by_wilcoxon_and_holm():
    random = np.random.default_rng(1)
    means = pd.DataFrame(random.gamma(2.0, size=(15, 3)) * 10.0 ** random.integers(-3, 4, (15, 1)), columns=list("abc"))
    size = means.mean(axis=1)
    raw = [stats.wilcoxon(means[one] / size, means["a"] / size).pvalue for one in "bc"]
    found = ranking(means, "a").p_baseline
    smaller, larger = sorted(raw)
    assert np.isnan(found["a"])
    assert sorted(found[["b", "c"]]) == pytest.approx([2 * smaller, max(2 * smaller, larger)])


def test_an_infinite_loss_is_the_last_and_no_accident():
    random = np.random.default_rng(5)
    means = pd.DataFrame(random.normal(size=(10, 2)), columns=["a", "b"])
    means["c"] = means["b"] + 0.5
    means.loc[3, "c"] = 1e6
    large = ranking(means, "a")
    means.loc[3, "c"] = np.inf
    infinite = ranking(means, "a")
    assert infinite.ranks.equals(large.ranks)
    assert infinite.p_baseline["c"] == large.p_baseline["c"] < 1
    assert np.isfinite(infinite.p_baseline["b"])


def test_holm_steps_down():
    # Holm's procedure by hand: 4 * 0.005, 3 * 0.01, then no smaller: 2 * 0.012 -> 0.03, 1 * 0.6
    assert_allclose(holm(np.array([0.6, 0.01, 0.012, 0.005])), [0.6, 0.03, 0.03, 0.02])
    assert_allclose(holm(np.array([0.5, 0.6])), [1.0, 1.0])


def test_groups_are_maximal_runs():
    ranks = pd.Series([1.0, 1.5, 2.5, 2.6, 5.0])
    assert groups(ranks, 1.0) == [(0, 1), (1, 2), (2, 3)]
    assert groups(ranks, 1.1) == [(0, 1), (1, 3)]
    assert groups(ranks, 0.05) == []
    assert groups(ranks, 9.0) == [(0, 4)]


def test_means_are_over_the_splits_that_all_methods_have():
    lines = [
        {"folder": "uci", "dataset": dataset, "method": method, "split": split, "nll": value}
        for dataset, method, values in [
            ("a", "x", [1.0, 2.0, 30.0]), ("a", "y", [2.0, 4.0]), ("a", "q", [np.nan, np.nan]),
            ("b", "x", [5.0]), ("b", "q", [np.nan]),
        ]
        for split, value in enumerate(values)
    ]  # fmt: skip
    means = common_means(pd.DataFrame(lines), "nll", ["x", "y", "q", "absent"])
    # q has no NLL at all; b has none of y
    assert means.to_dict() == {"x": {("uci", "a"): 1.5}, "y": {("uci", "a"): 3.0}}


# -- measures ----------------------------------------------------------------------------------------------------------


def test_measures_of_gaussians():
    random = np.random.default_rng(2)
    mean, scale, y = random.normal(size=20), random.uniform(0.5, 2.0, 20), random.normal(size=20) * 2
    law = torch.distributions.Normal(torch.tensor(mean), torch.tensor(scale))
    found = measures(law, y, 4.0)
    oracle = stats.norm(mean, scale)
    lower, upper = oracle.ppf(0.05), oracle.ppf(0.95)
    outside = 20 * np.maximum(lower - y, 0) + 20 * np.maximum(y - upper, 0)

    def crps(m, s, target):
        below = integrate.quad(lambda x: stats.norm.cdf(x, m, s) ** 2, -40, target)[0]
        return below + integrate.quad(lambda x: stats.norm.sf(x, m, s) ** 2, target, 40)[0]

    assert found["nll"] == pytest.approx(-oracle.logpdf(y).mean())
    assert found["worst_nll"] == pytest.approx(-oracle.logpdf(y).min())
    assert found["crps"] == pytest.approx(np.mean([crps(*one) for one in zip(mean, scale, y, strict=True)]), rel=1e-6)
    assert found["rmse"] == pytest.approx(np.sqrt(((y - mean) ** 2).mean()))
    assert found["coverage90"] == pytest.approx(((lower <= y) & (y <= upper)).mean())
    assert found["interval90"] == pytest.approx((upper - lower + outside).mean())
    assert found["claimed90"] == pytest.approx(0.9)
    assert found["mean_ratio"] == pytest.approx(np.abs(mean).max() / 4)


def test_measures_of_counts():
    rate, y = np.array([0.1, 3.0, 40.0]), np.array([0.0, 7.0, 30.0])
    found = measures(distributions.Poisson(torch.tensor(rate)), y, 10.0)
    whole = np.arange(400)
    crps = [
        ((stats.poisson.cdf(whole, one) - (whole >= target)) ** 2).sum() for one, target in zip(rate, y, strict=True)
    ]
    assert found["nll"] == pytest.approx(-stats.poisson.logpmf(y, rate).mean())
    assert found["crps"] == pytest.approx(np.mean(crps))
    lower, upper = stats.poisson.ppf(0.05, rate), stats.poisson.ppf(0.95, rate)
    outside = 20 * np.maximum(lower - y, 0) + 20 * np.maximum(y - upper, 0)
    assert found["interval90"] == pytest.approx((upper - lower + outside).mean())
    # zero and one are the interval of rate 0.1, and far more than 0.9
    held = [sum(stats.poisson.pmf(np.arange(a, b + 1), one)) for a, b, one in zip(lower, upper, rate, strict=True)]
    assert held[0] == pytest.approx(1.1 * np.exp(-0.1))
    assert found["claimed90"] == pytest.approx(np.mean(held))


def test_quantiles_have_no_density():
    levels, quantiles, y = [0.05, 0.5, 0.95], [[0.0, 1.0, 4.0]], np.array([2.0])
    found = measures(distributions.QuantileFunction(torch.tensor(quantiles).double(), levels), y, 5.0)
    assert not {"nll", "worst_nll"} & set(found)

    # twice the integral of the quantile score over all levels
    def score(level):
        quantile = np.interp(level, levels, quantiles[0])
        return 2 * ((y[0] <= quantile) - level) * (quantile - y[0])

    expected = integrate.quad(score, 0, 1, points=[0.05, 0.5, 0.65, 0.95], limit=200)[0]
    assert found["crps"] == pytest.approx(expected, rel=1e-6)
    assert found["interval90"] == pytest.approx(4.0)
    assert found["rmse"] == pytest.approx(abs(2.0 - (0.05 * 0 + 0.45 * 0.5 + 0.45 * 2.5 + 0.05 * 4)))


# -- data sets ---------------------------------------------------------------------------------------------------------


def test_rows_outside_uci_are_capped_and_those_that_cannot_be_compared_are_left_out(tmp_path):
    table = pd.DataFrame({"x": range(60), "text": ["a", "b"] * 30, "wage": [0.0, 1.0, 2.0] * 20})
    (tmp_path / "positive").mkdir()
    table.to_csv(tmp_path / "positive" / "wages.csv", index=False)
    rows = load_rows("positive/wages", 30, tmp_path)
    kept = table[table["wage"] > 0].to_numpy()[np.random.RandomState(0).permutation(40)[:30]]
    assert rows.X.to_numpy().tolist() == kept[:, :2].tolist()
    assert rows.y.tolist() == kept[:, 2].tolist()
    assert rows.exposure is None
    (tmp_path / "count").mkdir()
    ships = pd.DataFrame({"type": ["A", "B", "C"], "service": [3, 0, 5], "incidents": [1, 0, 2]})
    ships.to_csv(tmp_path / "count" / "ship_incidents.csv", index=False)
    rows = load_rows("count/ship_incidents", 30, tmp_path)
    assert list(rows.X.columns) == ["type"]
    assert sorted(zip(rows.exposure, rows.y, strict=True)) == [(3.0, 1.0), (5.0, 2.0)]


def test_splits_are_the_published_ones_and_four_to_one(data):
    rows = load_rows("uci/yacht", 20, data)
    train, test = split_rows("uci/yacht", rows, 1)
    assert len(rows.y) == 60
    assert (len(train.y), len(test.y)) == (54, 6)
    random = np.random.RandomState(1)
    order = [random.permutation(60) for _ in range(2)][1]
    assert test.y.tolist() == rows.y[order[54:]].tolist()
    rows = load_rows("count/visits", 50, data)
    train, test = split_rows("count/visits", rows, 1)
    assert (len(train.y), len(test.y)) == (40, 10)
    assert sorted([*train.y, *test.y]) == sorted(rows.y)


@pytest.mark.parametrize("name", ["uci/yacht", "count/visits"])
def test_rows_without_test_are_those_that_every_split_trains_on(data, name):
    rows = load_rows(name, 50, data)
    rows.X["number"] = np.arange(len(rows.y))
    free = rows_without_test(name, rows, 3)
    trained = [set(split_rows(name, rows, split)[0].X["number"]) for split in range(3)]
    assert free.X["number"].tolist() == sorted(set.intersection(*trained))
    assert free.y.tolist() == rows.y[free.X["number"]].tolist()
    assert len(free.y) < min(len(one) for one in trained)


# -- runs --------------------------------------------------------------------------------------------------------------


def test_a_run_its_report_and_going_on(tmp_path, data, monkeypatch):
    out, methods = tmp_path / "out", ("marginal", "wide", "quantiles")
    experiment = board(data, methods)
    results, failures = reproduce(experiment, out, verbose=False)
    assert not failures
    assert len(results) == len(experiment.units()) == 2 * 3 * 2
    table = pd.read_csv(out / "results.csv")
    train, test = split_rows("uci/yacht", load_rows("uci/yacht", 10_000, data), 0)
    line = table.query("dataset == 'yacht' and method == 'marginal' and split == 0").iloc[0]
    assert line["nll"] == pytest.approx(-stats.norm(train.y.mean(), train.y.std()).logpdf(test.y).mean())
    assert table.loc[table["method"].eq("quantiles"), "nll"].isna().all()
    assert (table[["fit_seconds", "predict_seconds"]] > 0).all(axis=None)
    assert results[0].details == {"chosen": {"seed": 0}}
    text = (out / "table.md").read_text()
    # a Gaussian has 0.9 in its interval; sets: uci, count
    assert re.search(r"\| marginal \| 2 \| 4 \| [0-9.]+ \| 90\.0 \|", text)
    for heading in (
        "Mean ranks by NLL", "Mean ranks by CRPS", "Coverage, worst rows, time and memory", "uci: NLL", "count: CRPS",
        "count: Difference to marginal: NLL",
    ):  # fmt: skip
        assert f"\n## {heading}" in text, heading
    pictures = {path.name for path in (out / "figures").iterdir()}
    assert {f"{name}__{score}.png" for name in ("critical-difference", "time") for score in ("nll", "crps")} < pictures
    assert {f"{score}__{folder}.png" for score in ("nll", "crps", "rmse") for folder in ("uci", "count")} < pictures

    # what is there is not done again, and what is added is
    done = []

    def later(units):
        done.extend((unit["method"], unit["split"]) for unit in units)
        raise RuntimeError("later")

    more = board(data, methods, n_splits=3)
    monkeypatch.setattr(more, "work", later)
    results, failures = reproduce(more, out, verbose=False)
    assert len(results) == 12
    assert len(failures) == 3
    assert done == [("marginal", 2), ("wide", 2), ("quantiles", 2)]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="systems tell memory in their own ways")
def test_each_fit_has_a_process_of_its_own_and_its_own_peak_of_memory(data):
    rows = load_rows("count/visits", 10_000, data)
    training = Training(rows, "count", 0)
    hungry, marginal = (run_alone(METHODS[name], training, rows)["scores"] for name in ("hungry", "marginal"))
    assert hungry["memory"] > 0.9 * MEBIBYTES
    assert marginal["memory"] < 0.5 * MEBIBYTES


def test_what_fails_is_said_and_the_rest_is_done(tmp_path, data):
    experiment = board(data, ("failing", "dying", "marginal"), ("count/visits",), n_splits=1)
    results, failures = reproduce(experiment, tmp_path / "out", verbose=False)
    assert [result.unit["method"] for result in results] == ["marginal"]
    assert failures == {
        "count visits failing 0": "ValueError: singular matrix",
        "count visits dying 0": "the process ended with the exit code 3, before there was a result",
    }


def test_results_of_other_data_or_settings_are_not_mixed(tmp_path, data):
    reproduce(board(data, ("marginal",), ("count/visits",), n_splits=1), tmp_path / "out", verbose=False)
    with pytest.raises(ValueError, match="cap=10000, now 30"):
        reproduce(board(data, ("marginal",), ("count/visits",), n_splits=1, cap=30), tmp_path / "out", verbose=False)
    shutil.copy(data / "positive" / "wages.csv", data / "count" / "visits.csv")
    load_rows.cache_clear()
    with pytest.raises(ValueError, match="made with other settings: data="):
        reproduce(board(data, ("marginal",), ("count/visits",), n_splits=1), tmp_path / "out", verbose=False)


def test_our_settings_are_inputs_of_our_results(data):
    experiment = board(data, ("default", "plain-ensemble", "marginal"), ("count/visits", "uci/yacht"))
    inputs = {unit["method"]: experiment.inputs(unit) for unit in experiment.units() if unit["folder"] == "count"}
    assert "negative-binomial" in inputs["plain-ensemble"]["method"]
    assert inputs["default"]["method"] != inputs["plain-ensemble"]["method"]
    assert "method" not in inputs["marginal"]


def test_units_are_data_set_by_data_set_from_the_smallest_and_slow_methods_have_fewer_splits(data, monkeypatch):
    monkeypatch.setitem(METHODS, "slow", Method("slow", "fake_peers:fit_wide", slow=True))
    experiment = board(data, ("marginal", "slow"), ("count", "uci"), n_splits=7, uci_splits=20)
    units = pd.DataFrame(experiment.units())
    counts = units.groupby(["folder", "dataset", "method"], sort=False)["split"].count()
    assert counts.to_dict() == {
        ("uci", "protein-tertiary-structure", "marginal"): 5, ("uci", "protein-tertiary-structure", "slow"): 5,
        ("uci", "yacht", "marginal"): 20, ("uci", "yacht", "slow"): 5,
        ("uci", "energy", "marginal"): 20, ("uci", "energy", "slow"): 5,
        ("count", "visits", "marginal"): 7, ("count", "visits", "slow"): 7,
    }  # fmt: skip
    assert list(counts.index.get_level_values("dataset").unique())[-2:] == ["energy", "visits"]


def test_methods_that_are_not_installed_are_left_out_with_a_line(data, tmp_path, monkeypatch):
    monkeypatch.setitem(METHODS, "absent", Method("absent", "no_such:fit", ["no-such-package"]))
    line = "Left out: absent needs no-such-package: pip install 'probmix[bench]'."
    experiment = board(data, ("marginal", "absent"))
    assert list(experiment.methods) == ["marginal"]
    assert experiment.remarks == [line]
    with pytest.raises(ValueError, match=re.escape(line)):
        board(data, ("absent",))
    arguments = [
        "reproduce",
        "leaderboard",
        "--data",
        data,
        "--datasets",
        "count/visits",
        "--methods",
        "marginal,absent",
    ]
    done = CliRunner().invoke(cli.main, [*map(str, arguments), "--splits", "1", "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[0] == line
    assert "1 of 1 results are done" in done.output
    assert line in (tmp_path / "out" / "table.md").read_text()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"methods": ("marginl",)}, "unknown method 'marginl'; did you mean 'marginal'?"),
        ({"datasets": ("uci/yach",)}, "unknown data set or folder 'uci/yach'; did you mean 'uci/yacht'?"),
        ({"uci_splits": 21}, "`uci_splits` must be at most 20, the number of published splits; got 21."),
        ({"n_splits": 0}, "`n_splits` must be an integer of at least 1; got 0."),
    ],
)
def test_errors_come_before_any_work(data, settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        board(data, **settings)


# -- pictures ----------------------------------------------------------------------------------------------------------


def test_pictures_name_every_method():
    found = ranking(DEMSAR, "C4.5")
    texts = [text.get_text() for text in difference_diagram(found, "title").axes[0].texts]
    for name, rank in found.ranks.items():
        assert {f"{name}  {rank:.2f}", f"{rank:.2f}  {name}"} & set(texts)
    assert "critical difference 1.25" in texts
    seconds = dict(zip(found.ranks.index, [4.0, 0.1, 2.0, 1.0], strict=True))
    figure = time_diagram(seconds, found.ranks, "AUC")
    assert {text.get_text() for text in figure.axes[0].texts} == set(found.ranks.index)
    # C4.5+m is faster and almost as good as the best
    assert figure.axes[0].lines[0].get_xydata().tolist() == [[0.1, 2.0], [4.0, pytest.approx(1.964, abs=1e-3)]]
