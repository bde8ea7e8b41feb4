"""Laws by name: what is registered is saved and loaded, and nothing else."""

from dataclasses import dataclass, field, is_dataclass, make_dataclass

import numpy as np
import pytest
import torch

import probmix
from probmix import DensityRegressor
from probmix.estimators.persistence import read
from probmix.estimators.plain_values import decode
from probmix.mixup import BetaWeights, GraphPartners, Mixup, WeightLaw, register_law
from probmix.mixup import registry as registry_module
from probmix.mixup.registry import is_registered

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 2))
Y = RNG.normal(size=40)
FAST = {"max_epochs": 2, "hidden_layer_sizes": (4,), "random_state": 0}


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """What a test registers is forgotten after it."""
    known = dict(registry_module._PARTS)
    monkeypatch.setattr(registry_module, "_PARTS", known)
    return known


@dataclass(frozen=True)
class Schedule:
    names: tuple[str, ...] = ("first", "second")
    steps: tuple[float, ...] = (0.5, 2.0)


@dataclass(frozen=True)
class Swapped:
    """Weights of another law, the other way round."""

    law: WeightLaw = field(default_factory=BetaWeights)
    schedule: Schedule = field(default_factory=Schedule)
    calls: int = field(default=0, init=False)

    def sample(self, shape, uniform, order=2):
        return self.law.sample(shape, uniform, order).flip(-1)


def saved(tmp_path, law):
    model = DensityRegressor(mixup=Mixup(weights=law), **FAST, preset="plain").fit(X, Y)
    model.save(tmp_path / "model")
    return model


def test_a_registered_law_is_saved_with_all_it_holds(tmp_path):
    assert register_law(Swapped) is Swapped
    register_law(Schedule)
    law = Swapped(BetaWeights(0.7), Schedule(("a",), (1.0, float("inf"))))
    model = saved(tmp_path, law)
    loaded = probmix.load(tmp_path / "model")
    assert loaded.mixup.weights == loaded.mixup_.weights == law
    assert loaded.mixup_ == model.mixup_
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))


def test_an_unregistered_law_cannot_be_saved(tmp_path):
    message = (
        r"^`weights` cannot be saved: Swapped\(.*\) is neither a plain value nor a part of probmix\. Pickle the "
        r"estimator instead, or set the parameter to a built-in one\. A law of your own that is a dataclass is saved "
        r"once probmix\.mixup\.register_law knows it\.$"
    )
    with pytest.raises(TypeError, match=message):
        saved(tmp_path, Swapped())
    assert list(tmp_path.iterdir()) == []


def test_settings_inside_a_law_are_registered_too(tmp_path):
    register_law(Swapped)
    with pytest.raises(TypeError, match=r"^`schedule` cannot be saved: Schedule\(.*\) is neither a plain value"):
        saved(tmp_path, Swapped())


def test_a_file_with_a_law_that_nobody_registered_here(tmp_path, registry):
    register_law(Swapped)
    register_law(Schedule)
    saved(tmp_path, Swapped())
    del registry["Swapped"]
    message = (
        r"^the file has a law 'Swapped' of the mixup, which is not known here\. Import the module that defines it and "
        r"registers it with probmix\.mixup\.register_law\.$"
    )
    with pytest.raises(ValueError, match=message):
        probmix.load(tmp_path / "model")


def test_only_classes_of_dataclasses_are_registered():
    for no_law in (Swapped(), object, "Swapped"):
        with pytest.raises(
            TypeError, match=r"^a law is saved by the fields of its dataclass; got .*\. Decorate it with @"
        ):
            register_law(no_law)


def test_a_name_stands_for_one_class():
    other = make_dataclass("BetaWeights", [], frozen=True)
    other.__module__ = "elsewhere"
    message = r"^the name 'BetaWeights' of a law is taken by probmix\.mixup\.weights\.BetaWeights\. Rename the class\.$"
    with pytest.raises(ValueError, match=message):
        register_law(other)
    assert is_registered(BetaWeights())
    assert not is_registered(other())


def test_a_class_that_is_defined_anew_takes_the_place_of_the_one_before():
    before, anew = (make_dataclass("MyLaw", [], frozen=True) for _ in range(2))
    for one in (before, anew):
        one.__module__ = "notebook"
        register_law(one)
    assert is_registered(anew())
    assert not is_registered(before())


def test_all_laws_of_the_library_are_registered():
    classes = [one for one in vars(probmix.mixup).values() if isinstance(one, type) and is_dataclass(one)]
    laws = {one for one in classes if hasattr(one, "sample") or hasattr(one, "prepare")}
    assert len(laws) >= 17
    assert laws <= set(registry_module._PARTS.values())


@pytest.mark.parametrize("weights", [None, [0.5, 1.0, 0.25]])
def test_a_graph_is_saved_with_its_edges(tmp_path, weights):
    graph = GraphPartners([0, 1, 3, *[3] * 38], [1, 0, 7], weights)
    DensityRegressor(mixup=Mixup(partners=graph), **FAST, preset="plain").fit(X, Y).save(tmp_path / "model")
    loaded = probmix.load(tmp_path / "model").mixup_.partners
    np.testing.assert_array_equal(loaded.indptr, graph.indptr)
    np.testing.assert_array_equal(loaded.indices, graph.indices)
    assert loaded.indices.dtype == graph.indices.dtype
    assert (loaded.weights is None) if weights is None else loaded.weights.tolist() == weights


def test_a_file_from_before_the_fields_of_today(tmp_path):
    model = saved(tmp_path, BetaWeights(0.3))
    header, _ = read(tmp_path / "model")
    fields = ("at", "weights", "partners", "label_pool", "label_spread", "embedding", "pool", "draws", "criterion")
    before = {name: header["fitted"]["mixup_"]["options"][name] for name in fields}
    assert decode({"mixup": "Mixup", "options": before}) == model.mixup_


@dataclass(frozen=True)
class Wrong:
    what: str

    def sample(self, shape, uniform, order=2):
        share = uniform(shape)
        return {
            "one of each row": share,
            "a sum of two": torch.stack([share, 2 - share], -1),
            "negative": torch.stack([-share, 1 + share], -1),
            "not for every row": torch.tensor([0.5, 0.5]),
            "numbers": [0.5, 0.5],
        }[self.what]


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("one of each row", r"^`weights` must draw the 2 weights of every row along a last axis, \(\*shape, 2\); for "
         r"shape \(3,\) Wrong\(what='one of each row'\) gives shape \(3,\)\.$"),
        ("not for every row", r"gives shape \(2,\)\.$"),
        ("numbers", r"gives a list\.$"),
        ("a sum of two", r"^`weights` must draw weights that are not negative and add up to one; Wrong"),
        ("negative", r"^`weights` must draw weights that are not negative and add up to one; Wrong"),
    ],
)  # fmt: skip
def test_a_law_that_draws_no_weights_is_refused_where_it_is_named(what, message):
    with pytest.raises(ValueError, match=message):
        Mixup(weights=Wrong(what))
