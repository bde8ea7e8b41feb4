"""The commands on files, from a table to a model, predictions, scores and a report."""

import gzip
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from small_files import FIT, claims, run, write_claims

import probmix
from probmix.commands import tables
from probmix.commands.fit import _told
from probmix.commands.memory import load_model
from probmix.distributions import QuantileFunction
from probmix.scores import evaluate


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    write_claims(folder / "old.csv")
    write_claims(folder / "new.csv", seed=1)
    run("fit", folder / "old.csv", *FIT, "--out", folder / "model.safetensors")
    return folder


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(tables, "BLOCK", 7)
    monkeypatch.setattr(tables, "_FEWEST", 1)


def new_rows():
    """Features, exposures and targets."""
    new = claims(seed=1)
    return new.drop(columns=["id", "years", "claims"]), new["years"], new["claims"]


def test_the_line_of_a_fit_adds_up_what_a_family_weighs():
    table = pd.DataFrame({"family": ["gamma", "lognormal", "gamma", "beta"], "weight": [0.25, 0.5, 0.25, 0.0]})
    told = _told(SimpleNamespace(stack_=table, n_members_=8))
    assert told == "0.50 gamma + 0.50 lognormal, 8 members"


def test_a_model_is_that_of_python_and_remembers_how_it_was_fitted(folder):
    frame = claims()
    expected = probmix.DensityRegressor("poisson", preset="fast", random_state=0)
    expected.fit(frame.drop(columns=["id", "years", "claims"]), frame["claims"], exposure=frame["years"])
    loaded = probmix.load(folder / "model.safetensors")
    X, years, _ = new_rows()
    assert (loaded.predict(X, years) == expected.predict(X, years)).all()
    memory = load_model(folder / "model.safetensors").memory
    assert (memory.target, memory.exposure, memory.groups) == ("claims", "years", None)
    assert memory.left_out == ("years", "id")
    assert memory.command == (
        f"probmix fit {folder}/old.csv --target claims --exposure years --drop id --family poisson --preset fast "
        f"--out {folder}/model.safetensors --quiet"
    )
    assert memory.rows == 60
    assert set(memory.versions) == {"probmix", "python", "numpy", "torch"}


def test_predictions_are_those_of_the_estimator(folder):
    out = folder / "all.csv"
    wanted = ["--mean", "--quantiles", ".1,.5", "--interval", ".8", "--above", "0,2.5", "--samples", 2]
    wanted += ["--keep", "id,make", "--quiet"]
    run("predict", folder / "model.safetensors", folder / "new.csv", *wanted, "--out", out)
    found = pd.read_csv(out, dtype={"id": str})
    model, (X, years, _) = probmix.load(folder / "model.safetensors"), new_rows()
    assert list(found) == [
        "id", "make", "mean", "q0.1", "q0.5", "lower0.8", "upper0.8", "above0", "above2.5", "sample1", "sample2",
    ]  # fmt: skip
    assert found["id"].tolist() == claims(seed=1)["id"].tolist()
    np.testing.assert_allclose(found["mean"], model.predict(X, years), rtol=1e-9)
    np.testing.assert_array_equal(found[["q0.1", "q0.5"]], model.predict_quantile(X, [0.1, 0.5], years))
    np.testing.assert_array_equal(found[["lower0.8", "upper0.8"]], model.predict_interval(X, 0.8, years))
    predicted = model.predict_dist(X, years)
    masses = [predicted.log_prob(torch.full((60,), float(count))).exp().numpy() for count in range(3)]
    np.testing.assert_allclose(found["above0"], 1 - masses[0], rtol=1e-8)
    np.testing.assert_allclose(found["above2.5"], 1 - sum(masses), rtol=1e-8)


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
def test_predictions_do_not_depend_on_blocks_or_kinds_of_files(folder, monkeypatch, suffix):
    wanted = ["--mean", "--quantiles", ".9", "--samples", 3, "--seed", 5, "--keep", "id,age", "--quiet"]
    whole, parts, data = folder / "whole.csv", folder / f"parts{suffix}", folder / f"again{suffix}"
    run("predict", folder / "model.safetensors", folder / "new.csv", *wanted, "--out", whole)
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
        # groups of rows end elsewhere
        claims(seed=1).to_parquet(data, row_group_size=11)
    else:
        claims(seed=1).to_csv(data, index=False)
    monkeypatch.setattr(tables, "BLOCK", 7)
    monkeypatch.setattr(tables, "_FEWEST", 1)
    run("predict", folder / "model.safetensors", data, *wanted, "--out", parts)
    if suffix == ".parquet":
        found = pd.read_parquet(parts)
        assert found["id"].tolist() == claims(seed=1)["id"].tolist()
        pd.testing.assert_frame_equal(
            found.drop(columns="id"), pd.read_csv(whole).drop(columns="id"), rtol=1e-9, check_dtype=False
        )
    else:
        content = parts.read_bytes()
        assert (gzip.decompress(content) if suffix == ".csv.gz" else content) == whole.read_bytes()


def test_draws_are_of_the_distribution_and_follow_the_seed(folder):
    draws = []
    for seed in (0, 0, 1):
        words = ["--samples", 80, "--seed", seed, "--quiet", "--out", folder / "draws.csv"]
        run("predict", folder / "model.safetensors", folder / "new.csv", *words)
        draws.append(pd.read_csv(folder / "draws.csv").to_numpy())
    assert (draws[0] == draws[1]).all()
    assert (draws[0] != draws[2]).any()
    X, years, _ = new_rows()
    predicted = probmix.load(folder / "model.safetensors").predict_dist(X, years)
    off = (draws[0].mean(1) - predicted.mean.numpy()) / np.sqrt(predicted.variance.numpy() / 80)
    assert np.abs(off).max() < 4.5
    assert off.std() == pytest.approx(1.0, abs=0.3)


def test_without_a_wish_there_are_the_mean_and_an_interval(folder):
    run("predict", folder / "model.safetensors", folder / "new.csv", "--out", folder / "default.csv")
    assert list(pd.read_csv(folder / "default.csv")) == ["mean", "lower0.9", "upper0.9"]


def test_scores_are_those_of_evaluate_also_block_by_block(folder, small_blocks):
    model, (X, years, y) = probmix.load(folder / "model.safetensors"), new_rows()
    rng = np.random.default_rng(0)
    forecasts, draws = np.sort(rng.gamma(2.0, size=(60, 3)), axis=1), rng.gamma(2.0, size=(60, 4))
    normal = pd.DataFrame({"mean": rng.normal(size=60), "sd": rng.uniform(1, 2, 60)})
    pd.DataFrame(forecasts, columns=["q0.1", "q0.5", "q0.9"]).to_csv(folder / "peer.csv", index=False)
    normal.to_csv(folder / "normal.csv", index=False)
    pd.DataFrame(draws, columns=[f"sample{k}" for k in range(1, 5)]).to_csv(folder / "draws4.csv", index=False)
    peers = {
        "peer": QuantileFunction(torch.from_numpy(forecasts), [0.1, 0.5, 0.9]),
        "normal": torch.distributions.Normal(*torch.tensor(normal.to_numpy()).unbind(-1)),
        "draws": draws,
    }
    expected = evaluate({"model": model, **peers}, X, y, exposure=years, scores=["nll", "crps", "rmse"])
    words = ["--predictions", folder / "peer.csv", "--predictions", folder / "normal.csv"]
    words += ["--predictions", f"draws={folder / 'draws4.csv'}", "--scores", "nll,crps,rmse"]
    words += ["--out", folder / "scores.csv"]
    told = run("evaluate", folder / "new.csv", "--model", folder / "model.safetensors", *words)
    assert str(expected) in told.stdout
    found = pd.read_csv(folder / "scores.csv").set_index(["score", "model"])
    np.testing.assert_allclose(found.to_numpy(), expected.to_numpy(), rtol=1e-7, atol=1e-9)
    assert "normal: a Gaussian, of the columns mean, sd" in told.stderr
    assert "peer: quantiles, of the columns q0.1, q0.5, q0.9" in told.stderr
    assert "no nll of peer: a distribution between quantiles has point masses" in told.stderr


def test_intervals_that_predict_writes_are_the_quantiles_they_say(folder):
    model, (X, years, y) = probmix.load(folder / "model.safetensors"), new_rows()
    run("predict", folder / "model.safetensors", folder / "new.csv", "--out", folder / "own.csv")
    ends = pd.read_csv(folder / "own.csv")[["lower0.9", "upper0.9"]].to_numpy(dtype=float)
    np.testing.assert_array_equal(ends, model.predict_quantile(X, [0.05, 0.95], years))
    own = QuantileFunction(torch.from_numpy(ends), [0.05, 0.95])
    scores = ["crps", "interval90", "coverage90"]
    expected = evaluate({"own": own}, X, y, scores=scores)
    words = ["--predictions", folder / "own.csv", "--target", "claims", "--scores", ",".join(scores)]
    told = run("evaluate", folder / "new.csv", *words)
    assert str(expected) in told.stdout
    assert "own: ends of intervals, of the columns lower0.9, upper0.9" in told.stderr
    assert "all other scores take it for even between them, and leave the mean aside." in told.stderr


@pytest.mark.parametrize(
    ("asked", "form"),
    [(["--samples", "20"], "draws"), (["--quantiles", ".05,.5,.95"], "quantiles, of the columns q0.05, q0.5, q0.95")],
)
def test_intervals_beside_more_are_left_aside(folder, asked, form):
    out = folder / "more.csv"
    run("predict", folder / "model.safetensors", folder / "new.csv", "--mean", "--interval", ".9", *asked, "--out", out)
    told = run("evaluate", folder / "new.csv", "--predictions", out, "--target", "claims", "--scores", "crps")
    assert f"more: {form}" in told.stderr
    assert "warning" not in told.stderr


def test_weights_and_points_are_taken(folder):
    frame = claims(seed=1).assign(w=np.arange(60) % 3)
    frame.to_csv(folder / "weighted.csv", index=False)
    pd.DataFrame({"mean": np.full(60, 2.0)}).to_csv(folder / "point.csv", index=False)
    words = [
        "--predictions",
        folder / "point.csv",
        "--target",
        "claims",
        "--weights",
        "w",
        "--scores",
        "mae",
        "--quiet",
    ]
    run("evaluate", folder / "weighted.csv", *words, "--out", folder / "points.csv")
    expected = np.average(np.abs(frame["claims"] - 2.0), weights=frame["w"])
    assert pd.read_csv(folder / "points.csv")["mean"][0] == pytest.approx(expected)


def test_a_report_is_a_page_with_the_command_of_the_fit(folder):
    words = ["--out", folder / "report.html", "--title", "Claims & years", "--quiet"]
    run("report", folder / "model.safetensors", folder / "new.csv", *words)
    text = (folder / "report.html").read_text()
    assert text.rstrip().endswith("</html>")
    assert "Claims &amp; years" in text
    assert "--target claims --exposure years --drop id" in text
    assert not re.search(r'(src|href)="https?:', text)


def test_models_that_were_saved_in_python_are_taken(folder):
    frame, path = claims(), folder / "python.safetensors"
    model = probmix.DensityRegressor("poisson", preset="fast", random_state=0)
    model.fit(frame[["age", "make"]], frame["claims"]).save(path)
    run("predict", path, folder / "new.csv", "--mean", "--out", folder / "python.csv", "--quiet")
    expected = model.predict(claims(seed=1)[["age", "make"]])
    np.testing.assert_allclose(pd.read_csv(folder / "python.csv")["mean"], expected, rtol=1e-9)
    run("evaluate", folder / "new.csv", "--model", path, "--target", "claims", "--quiet")
    said = run("evaluate", folder / "new.csv", "--model", path, code=2).stderr
    assert "--target: no model remembers the column of the target. Name it." in said


def test_validation_groups_weights_and_categories_reach_the_fit(folder):
    frame = claims().assign(code=np.arange(60) % 4, w=1.0 + np.arange(60) % 2, g=np.arange(60) // 3)
    frame.to_csv(folder / "more.csv", index=False)
    words = ["--target", "claims", "--drop", "id,years", "--weights", "w", "--groups", "g", "--text", "code"]
    words += ["--validation", "0.3", "--family", "poisson", "--preset", "fast", "--seed", 3, "--quiet"]
    run("fit", folder / "more.csv", *words, "--out", folder / "more.safetensors")
    X = frame.drop(columns=["id", "years", "claims", "w", "g"]).astype({"code": str})
    expected = probmix.DensityRegressor(
        "poisson", preset="fast", validation="random", validation_fraction=0.3, random_state=3
    ).fit(X, frame["claims"], sample_weight=frame["w"], groups=frame["g"])
    assert (probmix.load(folder / "more.safetensors").predict(X) == expected.predict(X)).all()
    # of the next file, too, numbers of the column are text
    run("predict", folder / "more.safetensors", folder / "more.csv", "--mean", "--out", folder / "more-out.csv")
    np.testing.assert_allclose(pd.read_csv(folder / "more-out.csv")["mean"], expected.predict(X), rtol=1e-9)


def test_help_has_examples():
    for command in ("fit", "predict", "evaluate", "report"):
        assert f"  probmix {command} " in run(command, "--help").stdout
    assert {"fit", "predict", "evaluate", "report", "reproduce"} <= set(run("--help").stdout.split())


@pytest.mark.parametrize("labels", [[2019, 2020], [(2019, "a"), (2020, "a")]], ids=str)
def test_a_model_of_names_that_are_no_text_is_one_for_the_commands(folder, labels):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(60, 2)), columns=pd.Index(labels, tupleize_cols=False))
    model = probmix.DensityRegressor("gaussian", preset="plain", max_epochs=2, random_state=0)
    model.fit(X, X[labels[1]]).save(folder / "years.safetensors")
    X[X.columns[::-1]].to_csv(folder / "years.csv", index=False)
    run("predict", folder / "years.safetensors", folder / "years.csv", "--mean", "--out", folder / "years_out.csv")
    np.testing.assert_allclose(pd.read_csv(folder / "years_out.csv")["mean"], model.predict(X), rtol=1e-9)


def test_dates_that_are_to_be_text_are_the_same_in_csv_and_parquet(folder):
    pytest.importorskip("pyarrow")
    rng = np.random.default_rng(0)
    days = pd.date_range("2024-01-01", periods=4).repeat(15)
    frame = pd.DataFrame({"day": days, "x": rng.normal(size=60), "y": rng.normal(size=60) + days.day})
    frame.to_csv(folder / "days.csv", index=False)
    frame.to_parquet(folder / "days.parquet")
    means = []
    for fitted in ("csv", "parquet"):
        words = ["--target", "y", "--family", "gaussian", "--preset", "fast", "--text", "day", "--quiet"]
        run("fit", folder / f"days.{fitted}", *words, "--out", folder / "days.safetensors")
        assert probmix.load(folder / "days.safetensors").columns_.layout.kinds == ("level", "number")
        for read in ("csv", "parquet"):
            words = [folder / "days.safetensors", folder / f"days.{read}", "--mean", "--out", folder / "days_out.csv"]
            assert "warning" not in run("predict", *words).stderr
            means.append(pd.read_csv(folder / "days_out.csv")["mean"])
    for mean in means[1:]:
        np.testing.assert_allclose(mean, means[0], rtol=1e-6)
