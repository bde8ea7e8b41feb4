"""Tables as they are: numbers with gaps, text, categories, truth values and dates, in all that estimators do."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from fake_polars import FakePolars, FakeSeries
from safetensors import safe_open
from safetensors.torch import save_file
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import cross_val_score
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

import probmix
from probmix import ConformalRegressor, DensityClassifier, DensityRegressor, RecalibratedRegressor, fit_together
from probmix.mixup import Consistency, preset
from probmix.networks import InputUnits
from probmix.plots import PredictiveBandDisplay
from probmix.scores import cross_val_predict_dist, evaluate
from probmix.training import TrainingData

# in so few rows some levels are in one part alone
pytestmark = pytest.mark.filterwarnings("ignore:.*(that the fit has not seen|and had none in the fit):UserWarning")

FAST = {"max_epochs": 3, "hidden_layer_sizes": (8,), "random_state": 0}
ROWS = 90
CITIES, MAKES = ["Oslo", "Paris", "Rome"], [f"make {number:02}" for number in range(20)]


def table(rows=ROWS, seed=0):
    """A frame with a column of each kind, and targets."""
    rng = np.random.default_rng(seed)
    age = rng.uniform(18, 80, rows)
    city, make = rng.integers(0, 3, rows), rng.integers(0, 20, rows)
    frame = pd.DataFrame(
        {
            "age": np.where(rng.random(rows) < 0.2, np.nan, age),
            "rooms": pd.array(rng.integers(1, 9, rows), dtype="Int64"),
            "city": np.array(CITIES, dtype=object)[city],
            "make": pd.Categorical.from_codes(make, MAKES),
            "garden": rng.random(rows) < 0.5,
            "sold": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 700, rows), unit="D"),
        }
    )
    frame.loc[rng.random(rows) < 0.1, "city"] = None
    return frame, age / 20 + city + 0.3 * rng.normal(size=rows)


FRAME, Y = table()


def same_fits(one, other, X, X_other):
    for mine, its in zip(one.network_.state.values(), other.network_.state.values(), strict=True):
        assert torch.equal(mine, its)
    np.testing.assert_array_equal(one.predict(X), other.predict(X_other))


# -- what a fit from a frame is ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mixup", ["erm", "probmix", "mixup"])
def test_a_frame_of_numbers_is_the_array_of_them(mixup):
    X = np.random.default_rng(0).normal(size=(ROWS, 3))
    plain = DensityRegressor(mixup=mixup, **FAST, preset="plain").fit(X, Y)
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    for other in (frame, frame.astype("Float64"), X.tolist(), torch.from_numpy(X)):
        same_fits(DensityRegressor(mixup=mixup, **FAST, preset="plain").fit(other, Y), plain, other, X)


def by_hand(frame):
    """Age with its median in place of gaps, whether there was one, and one-hot cities of which a gap is one."""
    age = frame["age"].to_numpy()
    cities = [(frame["city"] == city).to_numpy() for city in CITIES] + [frame["city"].isna().to_numpy()]
    return age, np.isnan(age), np.stack(cities, 1)


def test_a_fit_from_a_frame_is_that_of_columns_that_are_encoded_by_hand(monkeypatch):
    frame = FRAME[["age", "city"]]
    model = DensityRegressor(mixup="erm", **FAST, preset="plain").fit(frame, Y)
    stored = model.columns_.transform(frame)
    seen = model.network_.standardize(torch.from_numpy(stored))[0].numpy()
    age, missing, cities = by_hand(frame)
    filled = np.where(missing, np.nanmedian(age), age)
    # levels have an order of their own
    columns = {tuple(column) for column in (cities * np.sqrt(0.5)).T}
    np.testing.assert_array_equal(seen[:, 1], missing)
    found = {tuple(column) for column in seen[:, 2:].T if column.any()}
    assert {tuple(np.round(column, 6)) for column in found} == {tuple(np.round(column, 6)) for column in columns}
    hand = np.column_stack([filled, missing, seen[:, 2:].astype(np.float64)])
    plain_units = TrainingData.input_units

    def units(self, layout=None):
        """Of the first column only: the others are what the network is to see."""
        of_all = vars(plain_units(self, layout))
        for name, value in {"loc": 0.0, "scale": 1.0, "limit": torch.inf, "low": -torch.inf, "high": torch.inf}.items():
            of_all[name][..., 1:] = value
        return InputUnits(**of_all)

    monkeypatch.setattr(TrainingData, "input_units", units)
    same_fits(DensityRegressor(mixup="erm", **FAST, preset="plain").fit(hand, Y), model, hand, frame)


def test_mixing_at_the_input_mixes_what_the_network_sees():
    model = DensityRegressor(mixup="mixup", **FAST, preset="plain").fit(FRAME, Y)
    network = model.network_
    rows = torch.from_numpy(model.columns_.transform(FRAME)).unsqueeze(0)
    partners, weights = torch.arange(ROWS).flip(0).unsqueeze(0), torch.tensor([0.3, 0.7]).expand(1, ROWS, 2)
    z = network.standardize(rows)
    assert network.encoding.table is not None
    expected = network.on_standardized(0.3 * z + 0.7 * z.flip(1))
    torch.testing.assert_close(network.fused(rows, "input", partners, weights.double(), None), expected)


def test_levels_that_tell_the_target_are_learned():
    rng = np.random.default_rng(0)
    make = rng.integers(0, 20, 400)
    frame = pd.DataFrame({"make": np.array(MAKES, dtype=object)[make]})
    y = (make % 2) * 4.0 + 0.1 * rng.normal(size=400)
    model = DensityRegressor(mixup="erm", max_epochs=40, hidden_layer_sizes=(16,), random_state=0, preset="plain").fit(
        frame, y
    )
    assert model.network_.layout.embedded == (True,)
    assert np.abs(model.predict(frame) - (make % 2) * 4).max() < 1


@pytest.mark.parametrize("preset", ["local-probmix", "m-probmix", "c-mixup", "manifold-mixup"])
def test_presets_take_frames(preset):
    model = DensityRegressor(mixup=preset, n_members=2, **FAST, preset="plain").fit(FRAME, Y)
    assert np.isfinite(model.log_prob(FRAME, Y)).all()


def test_networks_of_the_user_take_frames():
    shapes = []

    def build(shape):
        shapes.append(shape)
        return torch.nn.Sequential(torch.nn.Linear(*shape, 8), torch.nn.ReLU())

    model = DensityRegressor(network=build, n_members=2, **FAST, preset="plain").fit(FRAME, Y)
    assert set(shapes) == {(model.network_.z_features,)}
    assert not any(model.network_.layout.embedded)
    assert np.isfinite(model.log_prob(FRAME, Y)).all()


# -- the columns of other rows -----------------------------------------------------------------------------------------


def test_columns_count_by_name():
    model = DensityRegressor(**FAST, preset="plain").fit(FRAME, Y)
    expected = model.predict(FRAME)
    assert model.feature_names_in_.tolist() == list(FRAME.columns)
    assert model.n_features_in_ == FRAME.shape[1]
    np.testing.assert_array_equal(model.predict(FRAME[FRAME.columns[::-1]]), expected)
    with pytest.raises(ValueError, match="yet now missing:\n- city"):
        model.predict(FRAME.drop(columns="city"))


def test_levels_that_the_fit_did_not_see_and_gaps_anywhere_are_predicted():
    model = DensityRegressor(**FAST, preset="plain").fit(FRAME, Y)
    rooms = pd.array([None] * ROWS, dtype="Int64")
    other = FRAME.assign(city="Lima", make="a new one", rooms=rooms, age=None, sold=None)
    assert np.isfinite(model.log_prob(other, Y)).all()


def test_a_column_may_be_declared_a_category():
    number = DensityRegressor(**FAST, preset="plain").fit(FRAME, Y)
    level = DensityRegressor(categorical_features=["rooms"], **FAST, preset="plain").fit(FRAME[["rooms"]], Y)
    assert "level" in level.network_.layout.kinds
    assert number.network_.layout.kinds[number.network_.layout.names.index("rooms")] == "number"
    assert clone(level).categorical_features == ["rooms"]


def test_rows_far_out_are_named_by_the_users_column_and_codes_never_are():
    frame = FRAME.drop(columns="age").assign(size=np.random.default_rng(0).normal(size=ROWS))
    model = DensityRegressor(**FAST, preset="plain").fit(frame, Y)
    far = frame.assign(size=np.where(frame.index == 3, 1e6, frame["size"]))
    with pytest.warns(UserWarning, match=r"the farthest is row 3: column 5, 'size', has 1e\+06, in training it was"):
        model.predict(far)
    bare = model.fit(frame.to_numpy(dtype=object), Y)
    with pytest.warns(UserWarning, match=r"the farthest is row 3: column 5 has 1e\+06"):
        bare.predict(far.to_numpy(dtype=object))
    later = frame.assign(sold=frame["sold"] + pd.to_timedelta(9000 * (frame.index == 5), unit="D"))
    with pytest.warns(
        UserWarning, match=r"row 5: column 4, 'sold', has 20\d\d-\d\d-\d\d 00:00:00, in training it was from"
    ):
        DensityRegressor(**FAST, preset="plain").fit(frame, Y).predict(later)
    # no warning, which would be an error
    model.fit(FRAME[["city", "make"]], Y).predict(pd.DataFrame({"city": ["?"] * 3, "make": ["?"] * 3}))


def test_infinite_numbers_are_an_error_before_any_work(monkeypatch):
    monkeypatch.setattr(probmix.estimators.base, "train", lambda *args: pytest.fail("training started"))
    bad = FRAME.assign(age=np.where(FRAME.index == 7, np.inf, FRAME["age"]))
    model = DensityRegressor(**FAST, preset="plain")
    for given in ({"X": bad}, {"X": FRAME, "X_val": bad, "y_val": Y}, {"X": FRAME, "X_unlabelled": bad}):
        with pytest.raises(ValueError, match=r"infinity at row 7 of column 'age'"):
            model.fit(**given, y=Y)
        with pytest.raises(NotFittedError):
            check_is_fitted(model)
        assert [name for name in vars(model) if name.endswith("_")] == []


def test_targets_stay_strict():
    gap = np.where(FRAME.index == 5, np.nan, Y)
    for bad, message in ((gap, "got NaN at row 5"), (["a"] * ROWS, "got the text 'a'")):
        with pytest.raises(ValueError, match=message):
            DensityRegressor(**FAST, preset="plain").fit(FRAME, bad)


# -- all that estimators do --------------------------------------------------------------------------------------------


def test_held_out_and_unlabelled_rows_and_weights_are_frames_too():
    other, y = table(40, seed=1)
    mixup = preset("mixup", unlabelled=Consistency())
    model = DensityRegressor(mixup=mixup, **FAST, preset="plain").fit(FRAME, Y, X_unlabelled=other)
    assert np.isfinite(model.score(other, y))
    weights = np.random.default_rng(0).integers(0, 3, ROWS)
    weighted = DensityRegressor(mixup="erm", **FAST, preset="plain").fit(FRAME, Y, weights, X_val=other, y_val=y)
    copies = np.repeat(np.arange(ROWS), weights)
    repeated = DensityRegressor(mixup="erm", **FAST, preset="plain").fit(
        FRAME.iloc[copies], Y[copies], X_val=other, y_val=y
    )
    same_fits(weighted, repeated, other, other)


def test_folds_scores_and_wrappers_take_frames(tmp_path):
    model = DensityRegressor(validation="folds", n_members=3, **FAST, preset="plain").fit(FRAME, Y)
    assert np.isfinite(model.oof_log_prob_).all()
    assert model.predict_interval(FRAME).shape == (ROWS, 2)
    table_of_scores = evaluate({"one": model}, FRAME, Y)
    assert np.isfinite(table_of_scores["mean"]).all()
    assert np.isfinite(cross_val_score(DensityRegressor(**FAST, preset="plain"), FRAME, Y, cv=2)).all()
    joined = cross_val_predict_dist(DensityRegressor(**FAST, preset="plain"), FRAME, Y, cv=2)
    assert np.isfinite(joined.log_prob(torch.from_numpy(Y)).numpy()).all()
    for wrapped in (
        RecalibratedRegressor(DensityRegressor(**FAST, preset="plain"), cv=2),
        ConformalRegressor(FrozenEstimator(model)),
    ):
        wrapped.fit(FRAME, Y)
        assert wrapped.predict(FRAME).shape == (ROWS,)
        assert wrapped.feature_names_in_.tolist() == list(FRAME.columns)
    assert PredictiveBandDisplay.from_estimator(model, FRAME, Y, feature="age").mean.shape == (200,)
    bare = DensityRegressor(**FAST, preset="plain").fit(FRAME.to_numpy(dtype=object), Y)
    assert PredictiveBandDisplay.from_estimator(bare, FRAME.to_numpy(dtype=object), feature=0).mean.shape == (200,)


def test_frames_of_polars_are_those_of_pandas():
    frame = FRAME[["age", "city", "sold"]]
    kinds = {"age": "Float64", "city": "String", "sold": "Datetime(time_unit='us', time_zone=None)"}
    polars = FakePolars(**{name: FakeSeries(frame[name].to_numpy(), kind) for name, kind in kinds.items()})
    one, other = (DensityRegressor(**FAST, preset="plain").fit(X, Y) for X in (polars, frame))
    same_fits(one, other, polars, frame)
    assert one.feature_names_in_.tolist() == list(frame.columns)
    displays = [PredictiveBandDisplay.from_estimator(one, X, feature="age", resolution=5) for X in (polars, frame)]
    assert displays[0].feature_name == "age"
    np.testing.assert_array_equal(displays[0].mean, displays[1].mean)


def test_rescaled_predictions_of_frames_move_what_the_network_sees():
    model = DensityRegressor(mixup=preset("mixup", rescale=True), **FAST, preset="plain").fit(FRAME, Y)
    assert model.rescaling_.centre.shape == (1, 1, model.network_.z_features)
    assert np.isfinite(model.log_prob(FRAME, Y)).all()


def test_fits_together_are_those_alone():
    splits = [np.arange(0, 60), np.arange(30, 90)]
    together = fit_together(DensityRegressor(mixup="erm", **FAST, preset="plain"), FRAME, Y, splits, [0, 1])
    for seed, (fit, split) in enumerate(zip(together, splits, strict=True)):
        alone = DensityRegressor(mixup="erm", **FAST | {"random_state": seed}, preset="plain").fit(
            FRAME.iloc[split], Y[split]
        )
        assert fit.columns_.layout == alone.columns_.layout
        np.testing.assert_allclose(fit.predict(FRAME), alone.predict(FRAME), rtol=1e-4, atol=1e-4)


def test_a_classifier_takes_frames():
    labels = np.where(np.median(Y) < Y, "dear", "cheap")
    model = DensityClassifier(max_epochs=60, hidden_layer_sizes=(16,), random_state=0, preset="plain").fit(
        FRAME, labels
    )
    assert (model.predict(FRAME) == labels).mean() > 0.8
    assert model.predict_proba(FRAME.iloc[:4]).shape == (4, 2)


def test_tags_say_what_is_taken():
    for model in (
        DensityRegressor(preset="plain"),
        DensityClassifier(preset="plain"),
        RecalibratedRegressor(DensityRegressor(preset="plain")),
    ):
        tags = get_tags(model).input_tags
        assert tags.allow_nan
        assert tags.string
        assert tags.categorical
        assert tags.sparse


@pytest.mark.parametrize("kind", [DensityRegressor, DensityClassifier])
def test_files_keep_columns_bit_for_bit(kind, tmp_path):
    y = Y if kind is DensityRegressor else np.where(np.median(Y) < Y, "dear", "cheap")
    model = kind(preset="plain", n_members=2, mixup="probmix", categorical_features="from_dtype", **FAST).fit(FRAME, y)
    model.save(tmp_path / "model")
    loaded = probmix.load(tmp_path / "model")
    other = FRAME.assign(city="Lima", age=None)
    for rows in (FRAME, FRAME[FRAME.columns[::-1]], other):
        assert torch.equal(loaded.predict_natural_params(rows), model.predict_natural_params(rows))
    assert loaded.columns_.layout == model.columns_.layout
    assert loaded.columns_.state() == model.columns_.state()
    assert loaded.feature_names_in_.tolist() == list(FRAME.columns)
    with pytest.raises(ValueError, match="yet now missing:\n- city"):
        loaded.predict(FRAME.drop(columns="city"))


def test_files_from_before_columns_load_as_tables_of_numbers(tmp_path):
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(ROWS, 3)), columns=["a", "b", "c"])
    far = frame.assign(b=np.where(frame.index == 3, 1e6, 0.0))
    for X in (frame, frame.to_numpy()):
        model = DensityRegressor(n_members=2, **FAST, preset="plain").fit(X, Y)
        model.save(tmp_path / "new")
        with safe_open(tmp_path / "new", framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it cannot be iterated over
            header = json.loads(file.metadata()["estimator"])
        del header["columns"], header["params"]["categorical_features"]
        save_file(tensors, tmp_path / "old", {"format": "probmix-3", "estimator": json.dumps(header)})
        old = probmix.load(tmp_path / "old")
        assert old.categorical_features == "from_dtype"
        np.testing.assert_array_equal(old.predict(X), model.predict(X))
        with pytest.warns(UserWarning, match="row 3: column 1"):
            old.predict(far if X is frame else far.to_numpy())
        old.save(tmp_path / "again")
        np.testing.assert_array_equal(probmix.load(tmp_path / "again").predict(X), model.predict(X))


def test_checkpoints_are_those_of_the_columns(tmp_path):
    path = tmp_path / "run"
    model = DensityRegressor(checkpoint=path, **FAST, preset="plain").fit(FRAME, Y)
    assert not path.exists()
    same_fits(model, DensityRegressor(**FAST, preset="plain").fit(FRAME, Y), FRAME, FRAME)


def test_columns_that_are_listed_as_a_series_are_saved(tmp_path):
    X = pd.DataFrame({"a": np.arange(40.0), "kind": np.arange(40) % 3})
    model = DensityRegressor(
        max_epochs=2, random_state=0, categorical_features=pd.Series(["kind"]), preset="plain"
    ).fit(X, X["a"])
    model.save(tmp_path / "model.safetensors")
    loaded = probmix.load(tmp_path / "model.safetensors")
    assert list(loaded.categorical_features) == ["kind"]
    assert np.array_equal(loaded.log_prob(X, X["a"]), model.log_prob(X, X["a"]))
