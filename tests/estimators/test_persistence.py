"""save and load: no pickle, and nothing lost."""

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import KFold

import probmix
from probmix import DensityClassifier, DensityRegressor, Mixup, families
from probmix.mixup import BetaWeights, NearestNeighbours, preset
from probmix.training import checkpoint

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
Y = RNG.poisson(3, 60) + 1.0
FAST = {"max_epochs": 3, "hidden_layer_sizes": (8, 4), "random_state": 0}


@pytest.mark.parametrize("params", [
    {},
    {"family": "gamma", "mixup": preset("local-probmix", alpha=0.3, label_pool="calibrated"), "n_members": 3},
    {"family": families.Poisson(), "mixup": Mixup(weights=BetaWeights(2.0), partners=NearestNeighbours(2))},
    {"n_members": 2, "pool": "log-linear", "device": torch.device("cpu"), "hidden_layer_sizes": []},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("several", [False, True])
def test_a_loaded_regressor_is_the_saved_one(tmp_path, params, several):
    model = DensityRegressor(**FAST | params, preset="plain").fit(X, np.column_stack([Y, Y]) if several else Y)
    model.save(tmp_path / "model.safetensors")
    loaded = probmix.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    assert torch.equal(loaded.predict_natural_params(X), model.predict_natural_params(X))
    np.testing.assert_array_equal(loaded.validation_curve_, model.validation_curve_)
    np.testing.assert_array_equal(loaded.training_curve_, model.training_curve_)
    assert loaded.n_features_in_ == 3
    assert loaded.family_ == model.family_
    ours, theirs = model.get_params(), loaded.get_params()
    assert str(ours.pop("device")) == str(theirs.pop("device"))
    assert tuple(ours.pop("hidden_layer_sizes")) == tuple(theirs.pop("hidden_layer_sizes"))
    assert ours == theirs
    loaded.fit(X, Y)  # and it can be fitted again


@pytest.mark.parametrize("labels", [np.array(["no", "yes"]), np.array([3, 7]), np.array([False, True]),
                                    np.array(["no", "yes"], dtype=object)], ids=str)  # fmt: skip
def test_a_loaded_classifier_knows_its_classes(tmp_path, labels):
    model = DensityClassifier(**FAST, preset="plain").fit(X, labels[(X[:, 0] > 0).astype(int)])
    model.save(tmp_path / "model")
    loaded = probmix.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    assert loaded.classes_.dtype == model.classes_.dtype
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))


def test_feature_names_survive(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["a", "b", "c"])
    DensityRegressor(**FAST, preset="plain").fit(frame, Y).save(tmp_path / "model")
    loaded = probmix.load(str(tmp_path / "model"))
    assert loaded.feature_names_in_.tolist() == ["a", "b", "c"]
    assert loaded.predict(frame).shape == (60,)


def test_a_generator_as_random_state_comes_back_as_none(tmp_path):
    model = DensityRegressor(**FAST | {"random_state": np.random.RandomState(0)}, preset="plain").fit(X, Y)
    model.save(tmp_path / "model")
    assert probmix.load(tmp_path / "model").random_state is None


class MyWeights:
    def sample(self, shape, uniform, order=2):
        return torch.full((*uniform((*shape, 1)).shape[:-1], 2), 0.5)


@pytest.mark.parametrize("members", [1, 2])
def test_pairs_of_row_numbers_as_validation_come_back(tmp_path, members):
    order = np.random.default_rng(1).permutation(60)
    pairs = [(order[10:], order[:10]), (order[:40].tolist(), order[40:].tolist())][:members]
    model = DensityRegressor(validation=pairs, n_members=members, **FAST, preset="plain").fit(X, Y)
    model.save(tmp_path / "model")
    loaded = probmix.load(tmp_path / "model")
    for ours, theirs in zip(loaded.validation, pairs, strict=True):
        for rows, given in zip(ours, theirs, strict=True):
            assert rows.dtype == np.int64
            np.testing.assert_array_equal(rows, given)
    np.testing.assert_array_equal(loaded.fit(X, Y).predict(X), model.predict(X))


def test_a_mask_of_rows_as_validation_comes_back(tmp_path):
    judged = np.arange(60) < 15
    model = DensityRegressor(validation=[(~judged, judged)], **FAST, preset="plain").fit(X, Y)
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(probmix.load(tmp_path / "model").fit(X, Y).predict(X), model.predict(X))


def test_a_splitter_as_validation_must_be_set_again(tmp_path):
    DensityRegressor(validation=KFold(5), **FAST, preset="plain").fit(X, Y).save(tmp_path / "model")
    loaded = probmix.load(tmp_path / "model")
    assert loaded.validation == "lost splitter"
    with pytest.raises(ValueError, match="A splitter is not saved with an estimator: set it again"):
        loaded.fit(X, Y)


def test_what_cannot_be_saved_is_an_error(tmp_path):
    with pytest.raises(NotFittedError):
        DensityRegressor(preset="plain").save(tmp_path / "model")
    model = DensityRegressor(mixup=preset("probmix", weights=MyWeights()), **FAST, preset="plain").fit(X, Y)
    with pytest.raises(
        TypeError, match=r"^`weights` cannot be saved: .* is neither a plain value nor a part of probmix\."
    ):
        model.save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


class MyRegressor(DensityRegressor):
    pass


def test_a_subclass_is_not_saved_as_what_it_is_not(tmp_path):
    with pytest.raises(TypeError, match=r"^only probmix's own estimators can be saved; got a MyRegressor\. Pickle it"):
        MyRegressor(**FAST, preset="plain").fit(X, Y).save(tmp_path / "model")


def test_a_foreign_file_is_an_error(tmp_path):
    (tmp_path / "text").write_text("no tensors here, and long enough to look like a header")
    with pytest.raises(ValueError, match=r"is not a safetensors file"):
        probmix.load(tmp_path / "text")
    save_file({"a": torch.zeros(1)}, tmp_path / "other")
    with pytest.raises(ValueError, match=r"is not an estimator saved by this version of probmix: its format is None"):
        probmix.load(tmp_path / "other")


def test_the_file_is_plain_safetensors(tmp_path):
    DensityRegressor(**FAST, preset="plain").fit(X, Y).save(tmp_path / "model")
    with safe_open(tmp_path / "model", framework="np") as file:
        assert set(file.metadata()) == {"format", "estimator"}
        assert file.get_tensor("network.trunk.hidden.0.0.weight").dtype == np.float32


def test_a_killed_fit_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "_SECONDS_BETWEEN", 0.0)
    straight = DensityRegressor(**FAST, preset="plain").fit(X, Y)
    model = DensityRegressor(checkpoint=tmp_path / "run", **FAST, preset="plain")
    write = checkpoint.Checkpoint.write

    def write_then_kill(self, state):
        write(self, state)
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.Checkpoint, "write", write_then_kill)
        with pytest.raises(SystemExit):
            model.fit(X, Y)
    assert (tmp_path / "run").exists()
    np.testing.assert_array_equal(model.fit(X, Y).predict(X), straight.predict(X))
    assert not (tmp_path / "run").exists()


def test_a_file_from_before_the_clip_loads_and_predicts_what_it_did(tmp_path):
    model = DensityRegressor(n_members=2, **FAST, preset="plain").fit(X, Y)
    model.save(tmp_path / "model")
    with safe_open(tmp_path / "model", framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - the file cannot be iterated over
        header = file.metadata()["estimator"]
    units = {name: tensors.pop(f"network.{name}") for name in ("limit", "low", "high", "raw_low", "raw_high")}
    assert all(bool(value.isfinite().all()) for value in units.values())
    assert all(value.dtype == torch.float64 for value in units.values())
    save_file(tensors, tmp_path / "old", {"format": "probmix-2", "estimator": header})
    old = probmix.load(tmp_path / "old")
    for name in units:
        getattr(model.network_, name).copy_(torch.tensor(-np.inf if "low" in name else np.inf))
    np.testing.assert_array_equal(old.predict(X), model.predict(X))
    np.testing.assert_array_equal(old.log_prob(X, Y), model.log_prob(X, Y))
