"""Estimators with a network of the user's own as others copy, store and search them."""

import copy
import pickle

import numpy as np
import pytest
import torch
from own_zoo import FAST, cases, conv1d, fitted, flat_mlp, lazy, rows
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

import probmix
from probmix import DensityClassifier, DensityRegressor
from probmix.mixup import preset

pytestmark = pytest.mark.filterwarnings("ignore:the members of the ensemble run one by one")


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.filterwarnings("ignore:the draws of the embedding run one by one")
@pytest.mark.parametrize("mixup", ["probmix", "m-probmix"])
@pytest.mark.parametrize("name", ["conv1d", "keeping", "lstm", "attention", "dropout"])
def test_copies_predict_the_same(name, mixup):
    network, shape, *_ = cases()[name]
    X, _ = rows(shape)
    model = fitted(network, shape, mixup=mixup, n_members=2)
    expected = model.predict(X)
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model), clone(model).fit(*rows(shape))):
        assert np.array_equal(other.predict(X), expected)
        assert other.network_.training is False


@pytest.mark.parametrize("name", ["module", "builder", "conv2d", "lstm encoder", "counting", "dictionary", "tied",
                                  "lazy", "frozen", "attention"])  # fmt: skip
@pytest.mark.parametrize("mixup", ["erm", "m-probmix"])
def test_save_and_load(tmp_path, name, mixup):
    case = cases()[name]
    X, y = rows(case.shape)
    network = copy.deepcopy(case.network)
    model = fitted(case.network, case.shape, mixup=mixup, n_members=2)
    model.save(tmp_path / "model")
    loaded = probmix.load(tmp_path / "model", network=network)
    assert np.array_equal(loaded.predict(X), model.predict(X))
    assert np.array_equal(loaded.set_params(n_draws=3).predict(X), model.set_params(n_draws=3).predict(X))
    assert loaded.network is network
    ours, theirs = loaded.network_.state, model.network_.state
    for key, tensor in ours.items():
        assert torch.equal(tensor, theirs[key])
        assert tensor.requires_grad == theirs[key].requires_grad
        assert tensor.dtype == theirs[key].dtype
    assert {key: value for key, value in loaded.get_params().items() if key != "network"} == {
        key: value for key, value in model.get_params().items() if key != "network"
    }
    assert np.array_equal(loaded.fit(X, y).predict(X), model.fit(X, y).predict(X))


def test_a_classifier_and_several_targets_come_back(tmp_path):
    X, y = rows((2, 6))
    classifier = DensityClassifier("m-probmix", conv1d, n_members=2, **FAST, preset="plain").fit(
        X, np.where(y > 0, "up", "down")
    )
    classifier.save(tmp_path / "classes")
    loaded = probmix.load(tmp_path / "classes", network=conv1d)
    assert np.array_equal(loaded.predict_proba(X), classifier.predict_proba(X))
    regressor = DensityRegressor(network=conv1d(), **FAST, preset="plain").fit(X, np.stack([y, -y], 1))
    regressor.save(tmp_path / "targets")
    assert np.array_equal(probmix.load(tmp_path / "targets", conv1d).predict(X), regressor.predict(X))


def wider(shape):
    network = flat_mlp(shape)
    network.last = nn.Linear(8, 5)
    return network


def deeper(shape):
    return nn.Sequential(*flat_mlp(shape).children(), nn.ReLU(), nn.Linear(4, 4))


LOAD_ERRORS = {
    "no network": (None, ValueError, r"model' holds an estimator that was fitted with a network of the user's own\. "
                                     r"Pass it, or what built it, as `network`\.$"),
    "wider": (wider, ValueError, r"^`network` must have the architecture of the saved one: of 'last\.bias' it has "
                                 r"shape \(5,\), the saved one shape \(4,\)\. Pass the network with which the "
                                 r"estimator was fitted\.$"),
    "other names": (deeper, ValueError, r"of '1\.0\.bias' it has shape \(8,\), the saved one none\."),
    "shallower": (nn.Sequential(nn.Flatten(), nn.Linear(3, 4)), ValueError,
                  r"of '1\.bias' it has shape \(4,\), the"),
    "no layer of that name": (nn.Linear(3, 4), ValueError, r"^unknown layer 'last'; known are 'input', 'output'\.$"),
    "no network at all": ("mlp", TypeError, r"^`network` must be an nn\.Module or build one .*; got 'mlp'\.$"),
}  # fmt: skip


@pytest.mark.parametrize("case", LOAD_ERRORS)
def test_loading_with_the_wrong_network_is_an_error(tmp_path, case):
    network, kind, message = LOAD_ERRORS[case]
    place = "last" if case == "no layer of that name" else "embedding"
    fitted(mixup=preset("manifold-mixup", at=place)).save(tmp_path / "model")
    with pytest.raises(kind, match=message):
        probmix.load(tmp_path / "model", network=network)


def test_a_network_for_the_built_in_one_is_an_error(tmp_path):
    fitted(None).save(tmp_path / "model")
    message = r"model' holds an estimator that was fitted with the built-in network\. Leave out `network`\.$"
    with pytest.raises(ValueError, match=message):
        probmix.load(tmp_path / "model", network=flat_mlp)


# -- scikit-learn ------------------------------------------------------------------------------------------------------


def linear(shape):
    return nn.Linear(shape[0], 3)


def test_parameters_clones_and_grid_search():
    X, y = rows((3,))
    module, estimator = lazy(), DensityRegressor(network=flat_mlp, **FAST, preset="plain")
    assert estimator.get_params()["network"] is flat_mlp
    assert clone(estimator).network is flat_mlp
    assert DensityRegressor(network=module, preset="plain").set_params(network=linear).network is linear
    copied = clone(DensityRegressor(network=conv1d(), preset="plain")).network
    assert isinstance(copied, nn.Sequential)
    assert "Sequential" in repr(DensityRegressor(network=conv1d(), preset="plain"))
    grid = {"network": [flat_mlp, linear, None, flat_mlp((3,))], "mixup": ["erm", "m-probmix"]}
    search = GridSearchCV(estimator, grid, cv=2, error_score="raise").fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert len(set(search.cv_results_["mean_test_score"])) == 8
    assert np.isfinite(search.predict(X)).all()


def test_in_a_pipeline_behind_a_scaler():
    X, y = rows((3,))
    pipeline = make_pipeline(
        StandardScaler(), DensityRegressor(network=flat_mlp, mixup="m-probmix", **FAST, preset="plain")
    )
    alone = DensityRegressor(network=flat_mlp, mixup="m-probmix", **FAST, preset="plain").fit(X, y)
    np.testing.assert_allclose(pipeline.fit(X, y).predict(X), alone.predict(X), rtol=1e-3, atol=1e-3)


def test_frames_keep_their_names():
    pandas = pytest.importorskip("pandas")
    X, y = rows((3,))
    frame = pandas.DataFrame(X, columns=["a", "b", "c"])
    model = DensityRegressor(network=flat_mlp, **FAST, preset="plain").fit(frame, y, X_val=frame[:9], y_val=y[:9])
    assert model.predict(frame).shape == y.shape
    np.testing.assert_array_equal(model.predict(frame[["b", "a", "c"]]), model.predict(frame))
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[["b", "a"]])
    with pytest.raises(ValueError, match="feature names"):
        model.fit(frame, y, X_val=frame[["b", "a"]], y_val=y)
