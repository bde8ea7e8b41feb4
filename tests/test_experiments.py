"""The general machinery of experiments: results on disk, runs that go on, and reports; with work that takes no time."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from probmix.experiments import Outcome, Result, ResultStore, reproduce
from probmix.experiments.report import report
from probmix.experiments.scoring import forecast_quantiles, forecast_scores


class Dice:
    """Scores that follow from the unit; counts its work, and fails or is stopped where it is told to."""

    title = "Dice"
    protocol = "Throw them."
    rows = ("dataset",)
    repeat = "seed"

    def __init__(self, datasets=("a", "b"), methods=("erm", "probmix"), seeds=2, fail=(), stop=None, **settings):
        self.settings = {"sides": (6, 20), "epochs": 3, **settings}
        self.parts = datasets, methods, seeds
        self.fail, self.stop, self.worked, self.drawn = fail, stop, [], None

    def units(self):
        datasets, methods, seeds = self.parts
        return [
            {"dataset": dataset, "method": method, "seed": seed}
            for seed in range(seeds)
            for dataset in datasets
            for method in methods
        ]

    def work(self, unit):
        key = tuple(unit.values())
        if len(self.worked) == self.stop:
            raise KeyboardInterrupt
        self.worked.append(key)
        if key in self.fail:
            raise RuntimeError("training diverged")
        random = np.random.default_rng([ord(key[0]), len(key[1]), key[2]])
        return Outcome({"nll": random.normal() / 3, "rmse": random.normal() * 1e6}, {"mean": [0.1 + 0.2]})

    def draw(self, results, folder):
        self.drawn = [tuple(result.unit.values()) for result in results]
        (folder / "dice.txt").write_text("drawn")


def scores_of(folder):
    return pd.read_csv(folder / "results.csv").drop(columns="seconds")


# -- store -------------------------------------------------------------------------------------------------------------


def test_results_come_back_exactly(tmp_path):
    store = ResultStore(tmp_path, {"lengths": (1, 2)})
    unit = {"dataset": "BRK/B é", "seed": 0}
    result = Result(unit, {"nll": 0.1 + 0.2, "crps": float("inf")}, {"mean": [1 / 3]}, 0.5, "2 CPU cores")
    assert store.load(unit) is None
    store.save(result)
    assert ResultStore(tmp_path, {"lengths": (1, 2)}).load(unit) == result
    assert store.load({**unit, "seed": 1}) is None


def test_a_file_is_whole_or_not_there(tmp_path, monkeypatch):
    store = ResultStore(tmp_path, {})
    result = Result({"seed": 0}, {"nll": 1.0}, {}, 0.5, "")
    store.save(result)

    def killed(*_):
        raise KeyboardInterrupt

    # all is written, but the file has not got its name yet
    monkeypatch.setattr("probmix._files.os.fsync", killed)
    for seed in (0, 1):
        with pytest.raises(KeyboardInterrupt):
            store.save(Result({"seed": seed}, {"nll": 2.0}, {}, 0.5, ""))
    assert store.load({"seed": 0}) == result
    assert store.load({"seed": 1}) is None
    assert len(list(tmp_path.rglob("*"))) == 2  # the folder, and one file in it


def test_what_a_kill_left_of_a_file_is_no_result(tmp_path):
    units = tmp_path / "units"
    units.mkdir()
    (units / ".0.json.x8k2").write_text('{"settings": {')
    assert ResultStore(tmp_path, {}).load({"seed": 0}) is None


@pytest.mark.parametrize("content", ["", '{"settings": {}', "[1]", '{"settings": {}}'])
def test_a_file_that_is_no_result(tmp_path, content):
    path = tmp_path / "units" / "0.json"
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(ValueError, match="no result") as caught:
        ResultStore(tmp_path, {})
    assert str(caught.value) == f"'{path}' is no result of an experiment. Remove it, and it is made again."


def test_other_settings(tmp_path):
    reproduce(Dice(seeds=1), tmp_path, verbose=False)
    before = (tmp_path / "results.csv").read_bytes()
    other = Dice(seeds=2, epochs=4, alpha=0.1)
    with pytest.raises(ValueError, match="other settings") as caught:
        reproduce(other, tmp_path, verbose=False)
    assert str(caught.value) == (
        f"the results in '{tmp_path}' were made with other settings: epochs=3, now 4, alpha=None, now 0.1 "
        "(in a__erm__0.json). Pass the same settings, or choose another folder."
    )
    assert other.worked == []
    assert (tmp_path / "results.csv").read_bytes() == before


# -- runs --------------------------------------------------------------------------------------------------------------


def test_a_run_does_every_unit_once_and_a_rerun_none(tmp_path):
    first = Dice()
    results, failures = reproduce(first, tmp_path, verbose=False)
    assert first.worked == first.drawn == [tuple(unit.values()) for unit in first.units()]
    assert failures == {}
    assert all(result.seconds >= 0 for result in results)
    table = pd.read_csv(tmp_path / "results.csv")
    assert list(table.columns) == ["dataset", "method", "seed", "nll", "rmse", "seconds"]
    assert table["nll"].tolist() == [result.scores["nll"] for result in results]
    before = (tmp_path / "results.csv").read_bytes()
    again = Dice()
    assert reproduce(again, tmp_path, verbose=False) == (results, {})
    assert again.worked == []
    assert (tmp_path / "results.csv").read_bytes() == before
    assert (tmp_path / "figures" / "dice.txt").read_text() == "drawn"


@pytest.mark.parametrize("stop", [0, 1, 5])
def test_a_run_that_was_stopped_goes_on(tmp_path, stop):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    reproduce(Dice(), whole, verbose=False)
    stopped = Dice(stop=stop)
    with pytest.raises(KeyboardInterrupt):
        reproduce(stopped, parts, verbose=False)
    if stop:
        assert len(scores_of(parts)) == stop  # at once, not at the end
    rest = Dice()
    reproduce(rest, parts, verbose=False)
    assert stopped.worked + rest.worked == [tuple(unit.values()) for unit in rest.units()]
    pd.testing.assert_frame_equal(scores_of(parts), scores_of(whole), check_exact=True)


def test_more_units_use_what_is_there_and_the_report_is_of_those_asked_for(tmp_path):
    reproduce(Dice(datasets=("a",), seeds=1), tmp_path, verbose=False)
    more = Dice(datasets=("b", "a"), seeds=2)
    reproduce(more, tmp_path, verbose=False)
    assert len(more.worked) == 8 - 2
    fewer = Dice(datasets=("b",), methods=("erm",), seeds=1)
    reproduce(fewer, tmp_path, verbose=False)
    assert fewer.worked == []
    assert scores_of(tmp_path)[["dataset", "method", "seed"]].to_numpy().tolist() == [["b", "erm", 0]]


def test_a_unit_that_fails_stops_nothing_and_is_tried_again(tmp_path):
    results, failures = reproduce(Dice(fail=[("a", "erm", 1)]), tmp_path, verbose=False)
    assert failures == {"a erm 1": "training diverged"}
    assert len(results) == len(scores_of(tmp_path)) == 7
    assert "(1 of 2)" in (tmp_path / "table.md").read_text()
    again = Dice()
    _, failures = reproduce(again, tmp_path, verbose=False)
    assert again.worked == [("a", "erm", 1)]
    assert failures == {}
    assert " of 2)" not in (tmp_path / "table.md").read_text()


def test_progress_counts_what_was_there(tmp_path, capsys):
    reproduce(Dice(seeds=1), tmp_path, verbose=False)
    assert capsys.readouterr().err == ""
    reproduce(Dice(seeds=2), tmp_path)
    shown = capsys.readouterr().err
    assert " 4/8 [" in shown
    assert " 8/8 [" in shown
    assert "b probmix 1" in shown


# -- reports -----------------------------------------------------------------------------------------------------------


def results_of(scores):
    """Results of {(dataset, method): values over seeds}."""
    return [
        Result({"dataset": dataset, "method": method, "seed": seed}, value, {}, 2.0, "2 CPU cores")
        for (dataset, method), values in scores.items()
        for seed, value in enumerate(values)
    ]


def lines_of(text, heading):
    section = text.split(f"## {heading}")[1].split("##")[0]
    return [line for line in section.splitlines() if line.startswith("|")][2:]


def test_report_has_means_standard_errors_and_the_best_in_bold():
    results = results_of(
        {
            ("a", "erm"): [{"nll": 1.0, "coverage90": 0.85}, {"nll": 3.0, "coverage90": 0.91}],
            ("a", "probmix"): [{"nll": 1.5, "coverage90": 0.96}, {"nll": 1.7, "coverage90": 0.88}],
            ("b", "erm"): [{"nll": 0.5, "coverage90": 1.0}, {"nll": 0.5, "coverage90": 1.0}],
            ("b", "probmix"): [{"nll": 0.50001, "coverage90": 1.0}, {"nll": 0.50001, "coverage90": 0.9}],
        }
    )
    text = report(Dice(), results, "probmix reproduce dice --sides 6")
    assert lines_of(text, "NLL") == [
        "| a | 2.000 ± 1.000 | **1.600 ± 0.100** |",
        "| b | **0.500 ± 0.000** | **0.500 ± 0.000** |",  # no difference that one could see
    ]
    assert lines_of(text, "Coverage") == [
        "| a | **0.880 ± 0.030** | **0.920 ± 0.040** |",  # as far from 0.9
        "| b | 1.000 ± 0.000 | **0.950 ± 0.050** |",
    ]
    assert lines_of(text, "Seconds")[0] == "| a | 2.000 ± 0.000 | 2.000 ± 0.000 |"
    assert "| dataset | erm | probmix |" in text
    for part in (
        "# Dice\n\n    probmix reproduce dice --sides 6\n\n",
        "2 CPU cores; torch",
        torch.__version__,
        "Mean ± standard error over 2 seeds",
        "Throw them.",
        "sides = (6, 20), epochs = 3",
    ):
        assert part in text


def test_report_of_a_single_seed_and_of_what_is_missing():
    text = report(Dice(seeds=1), results_of({("a", "erm"): [{"nll": 1.0}], ("b", "probmix"): [{"nll": 123456.7}]}))
    assert "Mean over one seed" in text
    assert "±" not in text
    assert lines_of(text, "NLL") == ["| a | **1.000** | - |", "| b | - | **1.235e+05** |"]
    half = report(Dice(), results_of({("a", "erm"): [{"nll": 1.0}], ("a", "probmix"): [{"nll": 5.0}, {"nll": 6.0}]}))
    assert lines_of(half, "NLL")[0] == "| a | 1.000 (1 of 2) | **5.500 ± 0.500** |"
    assert "no results" in report(Dice(), [])


# -- scores of forecasts -----------------------------------------------------------------------------------------------


def test_scores_of_a_forecast_are_means_over_rows():
    y = np.array([1.0, 2.0, 10.0, 4.0])
    distribution = torch.distributions.Normal(torch.tensor([0.0, 2.0, 3.0, 4.5]), 2.0)
    scores = forecast_scores(distribution, y)
    z = (y - np.array([0.0, 2.0, 3.0, 4.5])) / 2
    density, below = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi), [0.6914625, 0.5, 0.9997674, 0.4012937]
    assert scores == {
        "nll": pytest.approx(np.mean(z**2 / 2 + np.log(2 * np.sqrt(2 * np.pi))), rel=1e-6),
        "crps": pytest.approx(
            np.mean(2 * (z * (2 * np.array(below) - 1) + 2 * density - 1 / np.sqrt(np.pi))), rel=1e-5
        ),
        "rmse": pytest.approx(2 * np.sqrt(np.mean(z**2)), rel=1e-6),
        "coverage90": 0.75,
    }
    json.dumps(scores)


def test_quantiles_of_a_forecast():
    distribution = torch.distributions.Normal(torch.tensor([0.0, 5.0], dtype=torch.float64), 2.0)
    quantiles = forecast_quantiles(distribution, (0.05, 0.5))
    assert quantiles["0.05"] == pytest.approx([-3.28970725, 5 - 3.28970725])
    assert quantiles["0.5"] == pytest.approx([0, 5])
    json.dumps(quantiles)
