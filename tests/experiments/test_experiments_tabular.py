"""The experiments on tables of data, on a small folder of simulated ones."""

import json

import numpy as np
import pytest
import torch
from tables_folder import write, write_tables

from probmix import DensityRegressor, datasets, scores
from probmix.experiments import CountsExperiment, UCIExperiment, counts, reproduce, uci
from probmix.experiments.methods import ALPHAS, BETAS, METHODS
from probmix.mixup import preset


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_tables(tmp_path_factory.mktemp("data"))


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch):
    monkeypatch.delenv("PROBMIX_DATA", raising=False)


def small(experiment, monkeypatch):
    """Networks that train in no time."""
    monkeypatch.setattr(experiment, "hidden_layer_sizes", (8,))
    return experiment


def test_two_processes_give_what_one_gives(data, tmp_path):
    def results_of(jobs):
        experiment = UCIExperiment(["yacht", "energy"], ["erm"], 2, epochs=3, device="cpu", data=data)
        results, failures = reproduce(experiment, tmp_path / str(jobs), jobs=jobs, verbose=False)
        assert not failures
        return results

    for one, two in zip(results_of(1), results_of(2), strict=True):
        assert one.unit == two.unit
        assert one.scores == pytest.approx(two.scores, rel=1e-5)


# -- UCI ---------------------------------------------------------------------------------------------------------------


def test_the_defaults_are_the_paper_s():
    assert len(uci.DATASETS) == 9
    assert UCIExperiment.hidden_layer_sizes == (128, 32)
    assert uci.PROTOCOL.startswith("UCI regression")
    assert '"auto" tries' in uci.PROTOCOL


def test_every_method_is_trained_alike(data):
    experiment = UCIExperiment(["yacht"], epochs=7, alpha=0.4, beta=0.01, device="cpu", data=data)
    assert len(experiment.units()) == 11 * 20
    for unit in experiment.units()[::20]:
        (candidate,) = experiment.candidates(unit)
        strengths = {} if unit["method"] == "erm" else {"alpha": 0.4, "label_spread": 0.01}
        assert candidate.mixup == preset(unit["method"], **strengths)
        parameters = experiment.estimator(unit).get_params()
        same = {"family": "gaussian", "max_epochs": 7, "batch_size": None, "learning_rate": 5e-3, "patience": None,
                "weight_decay": 0.0, "validation_fraction": 0.2, "hidden_layer_sizes": (128, 32)}  # fmt: skip
        assert {name: parameters[name] for name in same} == same


def test_the_splits_are_the_published_ones(data):
    experiment = UCIExperiment(["yacht", "protein-tertiary-structure"], ["erm"], data=data)
    for name, number in {"yacht": 20, "protein-tertiary-structure": 5}.items():
        table = experiment.tables[name]
        assert len(table.splits) == number
        for found, expected in zip(table.splits, datasets.uci_splits(60, number), strict=True):
            np.testing.assert_array_equal(np.concatenate(found), np.concatenate(expected))
    units = [tuple(unit.values()) for unit in experiment.units()]
    assert units[:20] == [("yacht", "erm", split) for split in range(20)]
    assert len(units) == 25
    assert experiment.job(experiment.units()[3]) == {"dataset": "yacht", "method": "erm"}


def test_work_fits_each_split_and_scores_its_test_rows(data, monkeypatch):
    experiment = small(UCIExperiment(["yacht"], ["probmix"], 3, 6, 0.3, 0.0, device="cpu", data=data), monkeypatch)
    units = experiment.units()[1:]
    outcomes = experiment.work(units)
    table = datasets.load("uci/yacht", data)
    X, y = table.X.to_numpy(), table.y
    splits = list(datasets.uci_splits(60))
    for unit, outcome in zip(units, outcomes, strict=True):
        train, test = splits[unit["split"]]
        model = DensityRegressor(
            "gaussian", preset("probmix", alpha=0.3), hidden_layer_sizes=(8,), max_epochs=6, batch_size=None,
            learning_rate=5e-3, weight_decay=0.0, patience=None, device="cpu", random_state=unit["split"],
            preset="plain",
        ).fit(X[train], y[train])  # fmt: skip
        distribution, target = model.predict_dist(X[test]), torch.tensor(y[test])
        assert outcome.scores["nll"] == pytest.approx(scores.nll(distribution, target).mean().item(), rel=1e-4)
        assert outcome.scores["crps"] == pytest.approx(scores.crps(distribution, target).mean().item(), rel=1e-4)
        assert outcome.scores["best_epoch"] == model.best_epoch_[0]
        assert (outcome.scores["chosen_alpha"], outcome.scores["chosen_beta"]) == (0.3, 0.0)


def test_auto_chooses_by_validation_rows_for_each_split(data, monkeypatch):
    """Test targets can say what they like."""
    experiment = small(UCIExperiment(["yacht"], ["mixup"], 3, 5, device="cpu", data=data), monkeypatch)
    chosen = [one.scores for one in experiment.work(experiment.units())]
    best = [np.inf] * 3
    expected = [None] * 3
    for alpha in ALPHAS:
        for beta in BETAS:
            for split, (train, _) in enumerate(experiment.tables["yacht"].splits):
                model = experiment.estimator(experiment.units()[0]).set_params(
                    mixup=preset("mixup", alpha=alpha, label_spread=beta), random_state=split
                )
                model.fit(experiment.tables["yacht"].X[train], experiment.tables["yacht"].y[train])
                if model.validation_curve_.min() < best[split]:
                    best[split], expected[split] = model.validation_curve_.min(), (alpha, beta)
    assert [(one["chosen_alpha"], one["chosen_beta"]) for one in chosen] == expected


def test_settings_and_inputs_say_what_the_numbers_depend_on(data, tmp_path):
    def settings(**changes):
        return UCIExperiment(**{"datasets": ["yacht"], "data": data, "device": "cpu", **changes}).settings

    base = settings()
    json.dumps(base)
    assert settings(datasets=["energy"], methods=["erm"], n_splits=2) == base
    for name, value in {"epochs": 3, "alpha": 0.3, "beta": 0.1, "batch_size": 32}.items():
        assert {key for key in base if settings(**{name: value})[key] != base[key]} == {name}
    both = [UCIExperiment(["yacht"], data=folder) for folder in (data, write_tables(tmp_path, rows=40))]
    assert both[0].inputs(both[0].units()[0]) != both[1].inputs(both[1].units()[0])


def test_cost_grows_with_rows_and_with_what_is_tried(data):
    experiment = UCIExperiment(["yacht", "energy"], ["erm", "mixup"], 1, beta=0.0, data=data)
    costs = {(unit["dataset"], unit["method"]): experiment.cost(unit) for unit in experiment.units()}
    assert costs["yacht", "mixup"] == 5 * costs["yacht", "erm"]
    assert costs["energy", "erm"] > costs["yacht", "erm"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": ()}, "at least one mixup preset must be named; known are "),
        ({"datasets": ()}, "at least one data set must be named; known are 'energy', "),
        ({"datasets": ["yatch"]}, "unknown data set 'yatch'; did you mean 'yacht'?"),
        ({"epochs": 0}, "`epochs` must be an integer of at least 1; got 0."),
        ({"n_splits": 0}, "`n_splits` must be an integer of at least 1; got 0."),
        ({"n_splits": 21}, "`n_splits` must be at most 20, the number of published splits; got 21."),
        ({"beta": -0.1}, "`label_spread` must be non-negative and finite; got -0.1."),
    ],
)
def test_errors(data, changes, message):
    with pytest.raises(ValueError, match=r".") as caught:
        UCIExperiment(**{"datasets": ["yacht"], "data": data, **changes})
    assert message in str(caught.value)


def test_without_a_folder_both_ways_are_named():
    with pytest.raises(FileNotFoundError, match=r"Pass it as `data`, or set the environment variable PROBMIX_DATA\.$"):
        UCIExperiment(["yacht"])


def test_a_small_run_makes_the_tables_with_the_paper_beside(data, tmp_path, monkeypatch):
    arguments = {"methods": ["erm", "m-probmix:linear"], "epochs": 2, "alpha": 0.5, "beta": 0.0, "data": data}
    monkeypatch.setattr(UCIExperiment, "hidden_layer_sizes", (8,))
    reproduce(UCIExperiment(["yacht", "energy"], n_splits=2, **arguments), tmp_path, verbose=False)
    again, _ = reproduce(UCIExperiment(["yacht", "energy"], n_splits=3, **arguments), tmp_path, verbose=False)
    # the third split of two data sets and two methods is four files more
    assert len(list((tmp_path / "units").iterdir())) == 8
    assert len(again) == 12
    text = (tmp_path / "table.md").read_text()
    assert "| *yacht* | *paper* | *0.44 ± 0.94* |  |" in text
    assert "corrected resampled t-test" in text
    assert "## Average ranks over datasets" in text


# -- counts ------------------------------------------------------------------------------------------------------------


def test_the_data_sets_are_many():
    assert len(set(counts.COUNTS)) >= 12
    assert len(set(counts.POSITIVES)) >= 6
    assert set(counts.METHODS) <= set(METHODS)


def test_counts_and_positive_targets_have_their_families(data):
    experiment = CountsExperiment(["count/visits", "positive/wages"], ["erm"], 2, 3, data=data)
    units = {(unit["task"], unit["dataset"], unit["family"]) for unit in experiment.units()}
    assert units == {
        ("count", "visits", "poisson"),
        ("count", "visits", "negative-binomial"),
        ("count", "visits", "gaussian"),
        ("positive", "wages", "gamma"),
        ("positive", "wages", "gaussian"),
    }
    assert {experiment.estimator(unit).family for unit in experiment.units()} == {family for _, _, family in units}


def test_splits_are_seeded_and_the_first_stay_the_same(data):
    few, many = (CountsExperiment(["count/visits"], ["erm"], n, data=data).tables["count/visits"] for n in (2, 5))
    for one, other in zip(few.splits, many.splits, strict=False):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])
    train, test = many.splits[0]
    assert (len(train), len(test)) == (54, 6)
    assert sorted([*train, *test]) == list(range(60))


def test_large_data_sets_are_cut_by_a_seed(tmp_path):
    y = np.arange(5000)
    write(tmp_path, "count/large", np.column_stack([y, y]), y)
    first, second = (CountsExperiment(["count/large"], ["erm"], 1, data=tmp_path).tables["count/large"] for _ in "ab")
    assert len(first.y) == len(np.unique(first.y)) == 3000
    np.testing.assert_array_equal(first.y, second.y)
    np.testing.assert_array_equal(first.X[:, 0], first.y)


def test_targets_that_a_family_does_not_have_are_an_error_before_any_work(tmp_path):
    write(tmp_path, "positive/zeros", np.ones((20, 2)), np.arange(20.0))
    with pytest.raises(ValueError, match="the data set 'positive/zeros' is not for the family 'gamma': "):
        CountsExperiment(["positive/zeros"], data=tmp_path)
    with pytest.raises(ValueError, match="unknown data set 'uci/yacht'"):
        CountsExperiment(["uci/yacht"], data=write_tables(tmp_path))


def test_a_small_run_ranks_methods_within_each_family(data, tmp_path, monkeypatch):
    monkeypatch.setattr(CountsExperiment, "hidden_layer_sizes", (8,))
    experiment = CountsExperiment(["count/visits", "positive/wages"], ["erm", "m-probmix"], 2, 2, data=data)
    results, failures = reproduce(experiment, tmp_path, verbose=False)
    assert failures == {}
    assert len(results) == (3 + 2) * 2 * 2
    assert np.isfinite([list(result.scores.values()) for result in results if len(result.scores) == 6]).all()
    assert (tmp_path / "figures" / "crps__positive__gamma.png").exists()
    # a single data set of each kind has no ranks
    assert "Average ranks" not in (tmp_path / "table.md").read_text()
