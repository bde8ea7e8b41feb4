"""The simulated problems, with fits that take no time."""

import re

import numpy as np
import pytest
import torch

from probmix import DensityRegressor, datasets, fit_together, scores
from probmix.experiments import ToyClassificationExperiment, ToyRegressionExperiment, reproduce, toy_regression
from probmix.mixup import preset

# -- three rings -------------------------------------------------------------------------------------------------------


def test_three_rings_have_their_radii_and_noise():
    X, y = datasets.three_rings(90_000, random_state=0)
    assert X.shape == (90_000, 2)
    assert y.dtype == np.int64
    assert np.bincount(y).tolist() == [30_000] * 3
    for ring, radius in enumerate((0.5, 1.5, 2.5)):
        points = X[y == ring]
        # E|x|^2 = r^2 + 2 * 0.09, and by symmetry half of it in each direction
        assert np.mean(points**2, axis=0) == pytest.approx([(radius**2 + 0.18) / 2] * 2, rel=0.03)
        assert points.mean(0) == pytest.approx([0, 0], abs=0.05)
        # along the ray the noise has the variance 0.09, but for the curvature of a small ring
        if radius > 2:
            assert np.linalg.norm(points, axis=1).var() == pytest.approx(0.09, rel=0.05)


def test_three_rings_follow_their_seed_and_share_the_points():
    first, second = datasets.three_rings(100, random_state=3), datasets.three_rings(100, random_state=3)
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    assert not np.array_equal(first[0], datasets.three_rings(100, random_state=4)[0])
    assert sorted(np.bincount(first[1])) == [33, 33, 34]
    assert len(set(first[1][:20])) == 3  # in random order


# -- regression --------------------------------------------------------------------------------------------------------


def regression(**changes):
    return ToyRegressionExperiment(
        **{"methods": ["erm", "probmix"], "n_seeds": 2, "epochs": 3, "alphas": [0.5], "device": "cpu", **changes}
    )


def test_the_grid_is_the_paper_s():
    assert toy_regression.ALPHAS == (0.01, 0.05, 0.1, 0.25, 0.5, 1.0)
    experiment = ToyRegressionExperiment()
    assert len(experiment.units()) == 6 * 9 * 2 * 10
    parameters = experiment.estimator().get_params()
    same = {"max_epochs": 500, "batch_size": None, "learning_rate": 0.01, "weight_decay": 0.0, "patience": None,
            "hidden_layer_sizes": (128, 64)}  # fmt: skip
    assert {name: parameters[name] for name in same} == same


def test_seeds_give_data_and_fit_and_scores_are_in_standard_units():
    experiment = regression()
    units = [unit for unit in experiment.units() if unit["method"] == "probmix"]
    outcomes = experiment.work(units)
    assert len(outcomes) == 4
    for unit, outcome in zip(units, outcomes, strict=True):
        X, y = datasets.toy_cubic(100, random_state=unit["seed"])
        model = DensityRegressor(
            "gaussian", preset("probmix", alpha=0.5), hidden_layer_sizes=(128, 64), max_epochs=3, batch_size=None,
            learning_rate=0.01, weight_decay=0.0, patience=None, device="cpu", random_state=unit["seed"], preset="plain"
        ).fit(X, (y - y.mean()) / y.std())  # fmt: skip
        low, high, seed = (4, 6, 1000) if unit["region"] == "outside" else (-4, 4, 2000)
        X_test, y_test = datasets.toy_cubic(1000, low, high, random_state=seed + unit["seed"])
        distribution, target = model.predict_dist(X_test), torch.tensor((y_test - y.mean()) / y.std())
        assert outcome.scores["nll"] == pytest.approx(scores.nll(distribution, target).mean().item(), rel=1e-3)
        # what is drawn is stored once
        assert bool(outcome.details) == (unit["seed"] == 0 and unit["region"] == "outside")


def test_erm_is_fitted_once_for_all_strengths(monkeypatch):
    experiment = regression(alphas=[0.1, 0.5], betas=[0.0, 0.01])
    calls = []

    def counted(estimator, X, y, splits, seeds):
        calls.append((estimator.mixup, list(seeds)))
        return fit_together(estimator, X, y, splits, seeds)

    monkeypatch.setattr("probmix.experiments.toys.fit_together", counted)
    units = [unit for unit in experiment.units() if unit["method"] == "erm"]
    assert {tuple(experiment.job(unit).items()) for unit in units} == {(("method", "erm"),)}
    outcomes = experiment.work(units)
    assert calls == [(preset("erm"), [0, 1])]
    assert len(outcomes) == len(units) == 4 * 2 * 2
    assert {"chosen_alpha", "chosen_beta"}.isdisjoint(outcomes[0].scores)
    jobs = {tuple(experiment.job(unit).items()) for unit in experiment.units()}
    assert len(jobs) == 1 + 4


def test_a_small_run_has_bands_and_the_paper_s_table(tmp_path):
    experiment = regression(alphas=[0.25, "auto"], methods=["erm", "mixup"])
    results, _ = reproduce(experiment, tmp_path, verbose=False)
    assert len(results) == 2 * 2 * 2 * 2
    text = (tmp_path / "table.md").read_text()
    assert re.search(r"\| \*\w+\* \| \*[^|]+\* \| \*[^|]+\* \| \*paper\* \|  \| \*270\.3\* \|", text)
    assert "| outside | auto | 0 | here | " in text
    assert "the paired t-test" in text
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {"bands__alpha-0.25__beta-0.0.png", "bands__alpha-auto__beta-0.0.png", "nll.png"} <= names
    assert not any(name.startswith("ranks") for name in names)
    (picture, _) = experiment.pictures(results)
    assert picture.figure.get_suptitle() == "alpha = 0.25, beta = 0.0"
    titles = [ax.get_title() for ax in picture.figure.axes]
    assert [title.split(",")[0] for title in titles] == ["erm", "mixup", "width of the 90 % band"]
    legend = picture.figure.legends[0]
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["90 % band", "50 % band", "mean", "truth", "training points"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alphas": []}, "at least one alpha and one beta must be given, as a number or 'auto'."),
        ({"methods": ["mixpu"]}, "unknown mixup preset 'mixpu'; did you mean 'mixup'"),
        ({"n_seeds": 0}, "`n_seeds` must be an integer of at least 1; got 0."),
    ],
)
def test_errors(changes, message):
    with pytest.raises(ValueError, match=r".") as caught:
        regression(**changes)
    assert message in str(caught.value)


# -- classification ----------------------------------------------------------------------------------------------------


def test_a_small_run_has_scores_and_a_picture_of_the_plane(tmp_path):
    experiment = ToyClassificationExperiment(["erm", "m-probmix"], 2, 3, [0.5], [0.01], device="cpu")
    results, failures = reproduce(experiment, tmp_path, verbose=False)
    assert failures == {}
    first = results[0]
    assert set(first.scores) == {"nll", "accuracy", "brier", "best_epoch"}
    # of new points, whose classes are those of the rings
    model = experiment.estimator().set_params(mixup="erm", random_state=0).fit(*experiment.training_rows(0))
    X, y = datasets.three_rings(3000, random_state=1000)
    assert first.scores["accuracy"] == pytest.approx(np.mean(model.predict(X) == y), abs=1e-3)
    probabilities = np.array(first.details["probabilities"])
    assert probabilities.shape == (46, 46, 3)
    assert probabilities.sum(-1) == pytest.approx(1.0, abs=1e-3)
    (picture,) = experiment.pictures(results)
    panels = [ax for ax in picture.figure.axes if ax.get_images()]
    assert len(panels) == 4
    # row by row from below: y runs along the first axis
    np.testing.assert_allclose(
        np.array(panels[0].get_images()[0].get_array())[0, -1],
        np.clip(probabilities[0, -1] @ [[31, 119, 180], [255, 127, 14], [44, 160, 44]] / 255, 0, 1),
        atol=1e-6,
    )
    corner = model.predict_proba([[4.5, -4.5]])[0]
    assert probabilities[0, -1] == pytest.approx(corner, abs=2e-3)
    assert "## Accuracy" in (tmp_path / "table.md").read_text()
