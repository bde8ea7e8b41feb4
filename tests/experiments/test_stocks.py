"""The stock experiment, on a small file of random walks."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from stock_file import write_stocks

from probmix import DensityRegressor, datasets, scores
from probmix.experiments import Result, StockExperiment
from probmix.experiments import stocks as module
from probmix.experiments.bands import LEVELS
from probmix.experiments.scoring import coverage_error
from probmix.experiments.stock_figures import _fan_chart, forecast_pictures
from probmix.mixup import preset, preset_names
from probmix.networks import LSTMEncoder, TransformerEncoder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_stocks(tmp_path_factory.mktemp("data"))


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch):
    monkeypatch.delenv("PROBMIX_DATA", raising=False)


# -- the experiment ----------------------------------------------------------------------------------------------------


def test_defaults_are_the_paper_s():
    assert module.STOCKS == ("GOOG", "GME", "NVDA", "RCL")
    assert {"lstm": LSTMEncoder, "transformer": TransformerEncoder} == module.ENCODERS
    assert len(module.METHODS) == 9
    assert set(module.METHODS) <= set(preset_names())
    assert module.PROTOCOL.startswith("Stock forecasting")


def test_all_methods_are_trained_alike(data):
    experiment = StockExperiment(["AAA"], n_seeds=2, epochs=7, alpha=0.4, beta=0.01, device="cpu", data=data)
    assert len(experiment.units()) == 2 * 9 * 2
    for unit in experiment.units():
        mixup = preset(unit["method"], alpha=0.4, label_spread=0.01)
        parameters = experiment.estimator(unit, mixup).get_params()
        assert parameters["mixup"] == mixup
        assert parameters["network"] is module.ENCODERS[unit["encoder"]]
        assert parameters["random_state"] == unit["seed"]
        same = {"family": "gaussian", "max_epochs": 7, "batch_size": None, "learning_rate": 5e-4, "weight_decay": 0.0,
                "patience": None, "preset": "plain", "n_draws": 64, "device": "cpu"}  # fmt: skip
        assert {name: parameters[name] for name in same} == same


def test_work_is_a_fit_on_windows_split_in_time(data):
    experiment = StockExperiment(["BBB"], ["lstm"], ["probmix"], 1, epochs=3, device="cpu", data=data)
    (unit,) = experiment.units()
    (outcome,) = experiment.work([unit])

    frame = datasets.load_series("series/stocks_2019_2020", data)
    prices = frame.loc[frame["Ticker"] == "BBB", ["Open", "High", "Low", "Close"]]
    parts = datasets.windows(prices, 42, 21, target="Close")
    model = DensityRegressor(
        "gaussian", "probmix", network=LSTMEncoder, max_epochs=3, batch_size=None, learning_rate=5e-4,
        weight_decay=0.0, patience=None, device="cpu", random_state=0, preset="plain"
    ).fit(parts.train.X, parts.train.y, X_val=parts.validation.X, y_val=parts.validation.y)  # fmt: skip
    distribution, y = model.predict_dist(parts.test.X), torch.from_numpy(parts.test.y)
    assert outcome.scores == {
        "nll": pytest.approx(scores.nll(distribution, y).mean().item()),
        "crps": pytest.approx(scores.crps(distribution, y).mean().item()),
        "rmse": pytest.approx(np.sqrt(np.mean((model.predict(parts.test.X) - parts.test.y) ** 2))),
        "coverage90": pytest.approx(scores.coverage(distribution, y, 0.9).mean().item()),
        "calibration": pytest.approx(coverage_error(distribution, y)),
        "chosen_alpha": 0.2,
        "chosen_beta": 0.0,
        "best_epoch": model.best_epoch_[0],
    }
    details = outcome.details
    # in dollars, on the days of the targets: the last close of the file is the last truth
    assert details["truth"] == prices["Close"].tolist()[-len(parts.test.y) :]
    assert details["day"] == [day.isoformat() for day in prices.index[-len(parts.test.y) :]]
    np.testing.assert_allclose(details["mean"], model.predict(parts.test.X))
    for level in LEVELS:
        np.testing.assert_allclose(details["quantiles"][str(level)], model.predict_quantile(parts.test.X, level))


def test_a_forecast_knows_nothing_after_its_origin(data, tmp_path):
    frame = pd.read_csv(data / "series" / "stocks_2019_2020.csv")
    parts = StockExperiment(["AAA"], data=data).parts["AAA"]
    after = parts.test.origin[0] + 3
    frame.loc[(frame["Ticker"] == "AAA") & (frame.groupby("Ticker").cumcount() > after), ["Open", "Close"]] += 50.0
    changed = tmp_path / "series" / "stocks_2019_2020.csv"
    changed.parent.mkdir()
    frame.to_csv(changed, index=False)
    forecasts = []
    for folder in (data, tmp_path):
        experiment = StockExperiment(["AAA"], ["lstm"], ["probmix"], 1, epochs=3, device="cpu", data=folder)
        forecasts.append(experiment.work(experiment.units()[:1])[0].details)
    before, later = forecasts
    assert before["mean"][:4] == pytest.approx(later["mean"][:4], rel=1e-12)
    assert before["mean"][4] != pytest.approx(later["mean"][4], rel=1e-6)


@pytest.mark.parametrize("method", ["manifold-mixup", "m-probmix", "local-m-probmix"])
def test_methods_that_mix_at_the_embedding_run(data, method):
    experiment = StockExperiment(["AAA"], ["transformer"], [method], 1, epochs=2, device="cpu", data=data)
    (outcome,) = experiment.work(experiment.units()[:1])
    assert np.isfinite(list(outcome.scores.values())).all()


def test_settings_say_what_the_numbers_depend_on(data, tmp_path):
    base = StockExperiment(data=data, stocks=["AAA"], device="cpu").settings
    json.dumps(base)
    same = StockExperiment(data=data, stocks=["BBB"], methods=["erm"], n_seeds=1, device="cpu").settings
    assert same == base
    for name, value in {"epochs": 3, "alpha": 0.3, "beta": "auto", "batch_size": 32}.items():
        changed = StockExperiment(data=data, stocks=["AAA"], device="cpu", **{name: value}).settings
        assert {key for key in base if changed[key] != base[key]} == {name}
    other = StockExperiment(data=write_stocks(tmp_path, rows=140), stocks=["AAA"], device="cpu").settings
    assert {key for key in base if other[key] != base[key]} == {"data"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": ()}, "at least one mixup preset must be named; known are "),
        ({"epochs": 0}, "`epochs` must be an integer of at least 1; got 0."),
        ({"n_seeds": 0}, "`n_seeds` must be an integer of at least 1; got 0."),
        ({"alpha": -1.0}, "`alpha`"),
        ({"beta": -0.1}, "`label_spread` must be non-negative and finite; got -0.1."),
    ],
)
def test_errors(data, changes, message):
    with pytest.raises(ValueError, match=r".") as caught:
        StockExperiment(**{"stocks": ["AAA"], "data": data, **changes})
    assert message in str(caught.value)


def test_a_file_without_the_columns(tmp_path):
    path = tmp_path / "series" / "stocks_2019_2020.csv"
    path.parent.mkdir()
    path.write_text("Ticker,Date,Open,Close\nAAA,2019-01-02,1,2\n")
    with pytest.raises(ValueError, match="columns") as caught:
        StockExperiment(["AAA"], data=tmp_path)
    assert str(caught.value) == (
        "the series 'series/stocks_2019_2020' must have the columns Ticker, Open, High, Low, Close; it lacks High, "
        "Low. Mend the header of the file."
    )


# -- figures -----------------------------------------------------------------------------------------------------------


def forecast(method, seed=0):
    day = [f"2020-12-{number:02d}T00:00:00" for number in range(1, 11)]
    mean = np.arange(10.0)
    quantiles = {str(level): (mean + 10 * (level - 0.5)).tolist() for level in LEVELS}
    details = {"day": day, "truth": (mean + seed).tolist(), "mean": mean.tolist(), "quantiles": quantiles}
    unit = {"dataset": "AAA", "encoder": "lstm", "method": method, "seed": seed}
    return Result(unit, {"nll": 1.234, "crps": 0.5}, details, 1.0, "")


def test_a_fan_chart_has_bands_and_truth_of_each_method():
    figure = _fan_chart("AAA, lstm", [forecast("erm"), forecast("m-probmix")])
    assert figure.get_suptitle() == "AAA, lstm, seed 0"
    assert [ax.get_title() for ax in figure.axes] == ["erm\nNLL 1.23, CRPS 0.50", "m-probmix\nNLL 1.23, CRPS 0.50"]
    for ax in figure.axes:
        mean, truth = ax.lines
        np.testing.assert_array_equal(mean.get_ydata(), np.arange(10.0))
        assert mean.get_linestyle() != truth.get_linestyle()
        wide, narrow = (collection.get_paths()[0].vertices[:, 1] for collection in ax.collections)
        assert (wide.min(), narrow.min()) == pytest.approx((-4.5, -2.5))
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["90 % band", "50 % band", "mean", "truth"]


def test_days_are_on_the_axis():
    figure = _fan_chart("AAA", [forecast("erm")])
    figure.draw_without_rendering()
    (ax,) = figure.axes
    assert ax.get_ylabel() == "close, US dollars"
    assert "2020-Dec" in ax.xaxis.get_offset_text().get_text()


@pytest.mark.parametrize(
    ("methods", "shown"),
    [
        (["local-mixup", "m-probmix", "erm"], ["erm", "m-probmix"]),
        (["local-probmix", "local-mixup"], ["local-probmix", "local-mixup"]),
    ],
)
def test_which_methods_are_drawn(monkeypatch, methods, shown):
    drawn = []

    def chart(title, results):
        drawn.append([(result.unit["method"], result.unit["seed"]) for result in results])
        return _fan_chart(title, results)

    monkeypatch.setattr("probmix.experiments.stock_figures._fan_chart", chart)
    (picture,) = forecast_pictures([forecast(method, seed) for seed in (0, 1) for method in methods])
    assert drawn == [[(method, 0) for method in shown]]
    assert picture.name == "AAA__lstm"
    assert picture.caption.startswith("AAA, lstm: forecasts of the test period")
