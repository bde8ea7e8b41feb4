"""Predicting changes nothing in a fitted model, and threads get what they would get in turn."""

import copy
import pickle
import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from own_zoo import NoisyAlways, Recurrent, flat_mlp, rows
from torch import nn

from probmix import DensityClassifier, DensityRegressor, load
from probmix.mixup import preset_names
from probmix.plots import PredictiveBandDisplay
from probmix.scores import evaluate

X, Y = rows((3,))
SETTINGS = {"max_epochs": 2, "batch_size": 16, "random_state": 0, "n_draws": 4, "hidden_layer_sizes": (8, 6)}


def normalised():
    """Batch normalisation and dropout."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 4))


class Remembering(nn.Module):
    """Counts its calls in a buffer, keeps what it computes in another and in attributes, and writes into a weight."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 4)
        self.register_buffer("calls", torch.tensor(0.0))
        self.register_buffer("last", torch.zeros(4))
        self.log, self.kept = [], {}

    def forward(self, x):
        self.linear.weight.data.clamp_(-0.01, 0.01)
        hidden = self.linear(x) + self.calls + len(self.log)
        self.calls += 1
        self.last = hidden.detach().mean(0)
        self.log.append(1)
        self.kept["hidden"] = hidden
        return hidden


def small(kind, **params):
    """A fitted model."""
    if kind == "classifier":
        return DensityClassifier(**SETTINGS | params, preset="plain").fit(X, np.where(np.median(Y) < Y, "more", "less"))
    network = {"own": flat_mlp, "normalised": normalised, "noisy": NoisyAlways, "built-in": lambda: None}[kind]
    network = network if kind == "own" else network()
    return DensityRegressor(network=network, **SETTINGS | params, preset="plain").fit(X, Y)


KINDS = {
    **{f"own {name}": ("normalised", {"mixup": name}) for name in preset_names()},
    **{f"built-in {name}": ("built-in", {"mixup": name}) for name in preset_names()},
    "own, members": ("normalised", {"n_members": 3, "mixup": "m-probmix"}),
    "own, a builder": ("own", {"n_members": 2}),
    "own, draws always": ("noisy", {"n_members": 2}),
    "own, no validation": ("normalised", {"n_members": 2, "validation_fraction": 0.0}),
    "built-in, members": ("built-in", {"n_members": 3, "mixup": "m-probmix", "pool": "log-linear"}),
    "classifier": ("classifier", {}),
}
THREADED = [
    "own erm", "own m-probmix", "own m-probmix-star", "own, members", "own, draws always", "built-in erm",
    "built-in m-probmix", "built-in m-probmix-star", "built-in, members", "classifier",
]  # fmt: skip


def generators():
    """The states of all generators that a process has."""
    name, numbers, *rest = np.random.get_state()
    return torch.get_rng_state().numpy().tobytes(), (name, numbers.tobytes(), *rest), random.getstate()


def everything(network):
    """All that a network consists of, in the modules that torch does not see as well."""
    modules = list(network.modules())
    modules += [one for hidden in getattr(network, "_template", ()) for one in hidden.modules()]
    hooks = [{key: dict(value) for key, value in vars(one).items() if "hooks" in key} for one in modules]
    plain = [{k: v for k, v in vars(one).items() if isinstance(v, (int, float, list, tuple))} for one in modules]
    tensors = [
        (id(tensor), tensor._version, tensor.detach().numpy().tobytes())
        for one in modules
        for tensor in (*one.parameters(recurse=False), *one.buffers(recurse=False))
    ]
    return modules, hooks, copy.copy(plain), tensors, pickle.dumps(network)


@pytest.mark.parametrize("kind", KINDS)
def test_predicting_changes_nothing(kind, tmp_path):
    model = small(KINDS[kind][0], **KINDS[kind][1])
    y = Y if isinstance(model, DensityRegressor) else np.where(np.median(Y) < Y, "more", "less")
    with torch.random.fork_rng([]):
        torch.rand(3)
        before, attributes, state = everything(model.network_), dict(vars(model)), generators()
        calls = {
            "predict": lambda: model.predict(X),
            "predict_dist": lambda: model.predict_dist(X).mean,
            "predict_natural_params": lambda: model.predict_natural_params(X),
            "log_prob": lambda: model.log_prob(X, y),
            "score": lambda: model.score(X, y),
            "sample": lambda: model.sample(X, 2, random_state=0),
            "pickle": lambda: pickle.loads(pickle.dumps(model)).predict(X),
            "deepcopy": lambda: copy.deepcopy(model).predict(X),
        }
        if isinstance(model, DensityRegressor):
            calls["predict_interval"] = lambda: model.predict_interval(X[:5], 0.9)
            calls["evaluate"] = lambda: evaluate({"it": model}, X, y)
        else:
            calls["predict_proba"] = lambda: model.predict_proba(X)
        for name, call in calls.items():
            call()
            assert everything(model.network_) == before, name
            assert generators() == state, name
            assert vars(model) == attributes, name
        model.save(tmp_path / "model")
        assert everything(model.network_) == before
        assert generators() == state


def test_displays_change_nothing():
    one_column, y = X[:, :1], Y
    model = DensityRegressor(mixup="m-probmix", **SETTINGS, preset="plain").fit(one_column, y)
    before, state = everything(model.network_), generators()
    PredictiveBandDisplay.from_estimator(model, one_column, y)
    assert everything(model.network_) == before
    assert generators() == state


@pytest.mark.filterwarnings("ignore:the members of the ensemble run one by one")
@pytest.mark.parametrize("n_members", [1, 2])
def test_what_a_network_keeps_in_evaluation_is_gone_afterwards(n_members):
    model = DensityRegressor(network=Remembering(), mixup="erm", n_members=n_members, **SETTINGS, preset="plain").fit(
        X, Y
    )
    before, first = everything(model.network_), model.predict(X)
    for _ in range(3):
        assert np.array_equal(model.predict(X), first)
    assert everything(model.network_) == before


def answers(model):
    predicted = model.predict_dist(X[:5])
    return (predicted.probs if isinstance(model, DensityClassifier) else predicted.mean).numpy().tobytes()


@pytest.mark.parametrize("kind", THREADED)
def test_predictions_of_threads_are_those_in_turn(kind):
    model = small(KINDS[kind][0], **KINDS[kind][1])
    expected, before, state = answers(model), everything(model.network_), generators()
    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(answers, [model] * 200)) == {expected}
    assert everything(model.network_) == before
    assert generators() == state


@pytest.mark.filterwarnings("ignore:the members of the ensemble run one by one")
def test_threads_find_out_what_torch_can_follow_and_get_what_they_get_in_turn(tmp_path):
    """A recurrent network, which it cannot follow, straight from its file."""
    windows, y = rows((6, 3))
    settings = SETTINGS | {"n_members": 2, "mixup": "m-probmix"}
    fitted = DensityRegressor(network=Recurrent(), **settings, preset="plain").fit(windows, y)
    fitted.save(tmp_path / "model")
    loaded, expected = load(tmp_path / "model", network=Recurrent()), fitted.predict(windows[:5]).tobytes()
    with ThreadPoolExecutor(4) as threads:
        assert {one.tobytes() for one in threads.map(loaded.predict, [windows[:5]] * 50)} == {expected}


@pytest.mark.parametrize(
    ("mixup", "network"),
    [(mixup, network) for mixup in preset_names() for network in (normalised(), None)] + [("erm", flat_mlp)],
)
def test_fits_of_threads_are_those_in_turn(mixup, network):
    def fit(seed):
        settings = SETTINGS | {"random_state": seed, "n_members": 1 + seed % 2}
        model = DensityRegressor(network=network, mixup=mixup, **settings, preset="plain").fit(X, Y)
        return model.validation_curve_.tobytes() + model.predict(X[:5]).tobytes()

    expected, state = [fit(seed) for seed in range(8)], generators()
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(fit, range(8))) == expected
    assert generators() == state


def test_a_network_is_copied_to_another_device_and_not_moved():
    network = small("normalised").network_
    assert network.on(torch.device("cpu")) is network
    moved = network.on(torch.device("meta"))
    assert {one.device.type for one in moved.state_dict().values()} == {"meta"}
    assert {one.device.type for one in network.state_dict().values()} == {"cpu"}
