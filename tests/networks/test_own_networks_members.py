"""Members of a network of the user's own: trained as one, each as if alone, also after the run was killed."""

import warnings

import numpy as np
import pytest
import torch
from own_zoo import Branching, Recurrent, cases, conv1d, flat_mlp, rows
from torch import nn
from training_cases import rows_of

from probmix import DensityRegressor, families
from probmix.estimators.building import build_network
from probmix.mixup import Mixup, as_mixup, preset
from probmix.mixup.objectives import objective
from probmix.networks import vectorize
from probmix.networks.vectorize import Vectorizer
from probmix.random import KeyedRandom, member_keys
from probmix.training import Task, TrainingData, TrainingOptions, checkpoint, train

MEMBERS, N = 3, 60
OPTIONS = TrainingOptions(max_epochs=6, batch_size=16, patience=2)
ONE_BY_ONE = r"^the members of the ensemble run one by one, since torch\.vmap cannot follow the network \("


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def run(network, shape, mixup="probmix", members=slice(None), options=OPTIONS):
    """Joint runs of the first members, on rows of their own."""
    X, y = rows(shape, N)
    keys, family, mixup = member_keys(0, MEMBERS)[members], families.get("gaussian"), as_mixup(mixup)
    order = KeyedRandom(member_keys(1, MEMBERS)).permutations(N)[members]
    data = TrainingData(rows_of(X, y), order[:, 20:], order[:, :20], order)
    built = build_network(network, family, shape, None, keys, mixup)
    _, result = train(built, Task(objective("nll", family), data, mixup, options, keys))
    return built, result


def assert_same(one, other, **tolerance):
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], **tolerance, msg=lambda text, name=name: f"{name}: {text}")


# The key's bias drops out of the softmax; AdamW makes a random walk of its gradient, which is a rounding error.
WITHOUT_GRADIENT = ("network/attention/in_proj_bias", "network/layers/0/attend/bias")
MIXUPS = ["erm", "probmix", "m-probmix", "local-m-probmix"]


@pytest.mark.filterwarnings("ignore:the members of the ensemble run one by one")
@pytest.mark.parametrize("mixup", MIXUPS)
@pytest.mark.parametrize("name", [name for name, case in cases().items() if not case.random])
def test_a_member_of_a_joint_run_is_the_member_alone(name, mixup):
    case = cases()[name]
    joint, joint_result = run(case.network, case.shape, mixup)
    for m in (0, 2):
        alone, result = run(case.network, case.shape, mixup, slice(m, m + 1))
        own, other = (
            {key: value[rows] for key, value in one.state.items() if key not in WITHOUT_GRADIENT}
            for one, rows in ((joint, slice(m, m + 1)), (alone, slice(None)))
        )
        assert_same(own, other, rtol=1e-4, atol=1e-4)
        assert joint_result.best_epoch[m] == result.best_epoch[0]
        epochs = len(result.validation_curve)
        assert epochs <= len(joint_result.validation_curve)
        np.testing.assert_allclose(joint_result.validation_curve[:epochs, m], result.validation_curve[:, 0], atol=1e-4)


@pytest.mark.filterwarnings("ignore:the members of the ensemble run one by one")
@pytest.mark.parametrize("mixup", [*MIXUPS, preset("m-probmix", at="0"), preset("m-probmix-star", at="3"),
                                   Mixup(at=("input", "0", "1", "output"))], ids=str)  # fmt: skip
def test_vmap_and_the_loop_agree(monkeypatch, mixup):
    vectorised, _ = run(conv1d, (2, 6), mixup)
    monkeypatch.setattr(vectorize, "_attempt", lambda *_: (None, "it must not"))
    monkeypatch.setattr("probmix.networks.members.Vectorizer", Vectorizer)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        looped, _ = run(conv1d, (2, 6), mixup)
    assert_same(vectorised.state, looped.state, rtol=1e-4, atol=1e-4)
    assert set(vectorised._member_by_member._follows.values()) == {True}
    assert set(looped._member_by_member._follows.values()) == {False}


@pytest.mark.parametrize("name", cases())
def test_vmap_follows_what_it_can(name):
    case = cases()[name]
    if case.followed:
        run(case.network, case.shape)
        return
    with pytest.warns(UserWarning, match=ONE_BY_ONE) as caught:
        run(case.network, case.shape, "m-probmix")
    assert len(caught) == 1


def test_the_warning_comes_once_a_fit_and_not_with_predictions():
    X, y = rows((6, 3))
    model = DensityRegressor(
        network=Recurrent(), mixup="m-probmix", n_members=2, max_epochs=2, random_state=0, preset="plain"
    )
    for _ in range(2):
        with pytest.warns(UserWarning, match=ONE_BY_ONE + r"Batching rule not implemented for aten::lstm") as caught:
            model.fit(X, y)
        assert sum("one by one" in str(one.message) for one in caught) == 1
    model.predict(X)
    DensityRegressor(network=Recurrent(), n_members=1, max_epochs=2, preset="plain").fit(X, y)


@pytest.mark.filterwarnings("ignore:the members of the ensemble run one by one")
def test_draws_behind_a_layer_in_the_middle_go_one_by_one_where_they_must():
    """The same as without members: one by one is a matter of speed."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(18, 6), nn.Unflatten(1, (2, 3)), Recurrent())
    mixup = preset("m-probmix", at="1")
    with pytest.warns(UserWarning, match=r"^the draws of the embedding run one by one"):
        joint, _ = run(network, (6, 3), mixup)
    with pytest.warns(UserWarning, match=r"^the draws of the embedding run one by one"):
        alone, _ = run(network, (6, 3), mixup, slice(1, 2))
    assert_same({key: value[1:2] for key, value in joint.state.items()}, alone.state, rtol=1e-4, atol=1e-4)


# -- the vectoriser by itself ------------------------------------------------------------------------------------------


def test_what_a_failed_attempt_changed_is_put_back():
    counter, numbers = torch.zeros(3), torch.arange(3.0)

    def count(number, counter):
        counter += 1
        return torch.rand(2) + number if number > 0 else torch.rand(2)  # vmap has got as far as this

    torch.manual_seed(0)
    expected = torch.stack([torch.rand(2) + number for number in range(3)])
    torch.manual_seed(0)
    vectorizer = Vectorizer("they")
    with pytest.warns(UserWarning, match=r"^they run one by one, since .* data-dependent control flow"):
        result = vectorizer(count, (numbers, counter), True, (counter,))
    assert torch.equal(result, expected)
    assert counter.tolist() == [1, 1, 1]
    vectorizer(count, (numbers, counter), True, (counter,))  # and no second attempt
    assert counter.tolist() == [2, 2, 2]


def test_whatever_stands_in_the_way_of_vmap_sends_it_into_the_loop():
    def only_one(number):
        try:
            return torch.tensor(number.item() + 1)
        except RuntimeError:
            raise TypeError("one number, please") from None

    with pytest.warns(UserWarning, match=r"\(one number, please\)$"):
        assert Vectorizer("they")(only_one, (torch.arange(3),), False).tolist() == [1, 2, 3]


def test_entries_have_random_numbers_of_their_own():
    drawn = Vectorizer("they")(lambda number: number + torch.rand(()), (torch.zeros(3),), True)
    assert len(set(drawn.tolist())) == 3


def test_other_warnings_come_through():
    def warn(number):
        warnings.warn("mind this", UserWarning, stacklevel=2)
        return number

    with pytest.warns(UserWarning, match="mind this") as caught:
        Vectorizer("they")(warn, (torch.zeros(2),), False)
    assert len(caught) == 1


class Picky(nn.Module):
    """Its forward pass has an error that only comes with more rows than a probe has."""

    def __init__(self, error):
        super().__init__()
        self.linear, self.error = nn.Linear(3, 4), error

    def forward(self, x):
        if len(x) > 3 and self.error is not None:
            raise self.error
        return self.linear(x) if len(x) <= 3 else self.linear(x) @ torch.zeros(3, 2)


@pytest.mark.parametrize("n_members", [1, 2])
@pytest.mark.parametrize("error", [None, ValueError("my own"), RuntimeError("my own"), KeyError("my own")], ids=repr)
def test_errors_of_the_users_forward_come_out_as_they_are(error, n_members):
    X, y = rows((3,))
    kind, message = (
        (RuntimeError, "mat1 and mat2 shapes cannot be multiplied") if error is None else (type(error), "my")
    )
    with warnings.catch_warnings(record=True) as caught, pytest.raises(kind, match=message) as raised:
        DensityRegressor(network=Picky(error), n_members=n_members, max_epochs=2, preset="plain").fit(X, y)
    assert caught == []
    assert raised.value.__context__ is None


# -- killed runs -------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """What a user's Ctrl-C is to a run."""


@pytest.mark.filterwarnings("ignore:the members of the ensemble run one by one")
@pytest.mark.parametrize("n_members", [1, 3])
@pytest.mark.parametrize(("name", "mixup"), [("dropout", "m-probmix"), ("recurrent dropout", "probmix"),
                                             ("conv1d", "local-m-probmix"), ("counting", "erm"), ("frozen", "erm"),
                                             ("builder", "manifold-mixup")])  # fmt: skip
def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path, monkeypatch, name, mixup, n_members):
    monkeypatch.setattr(checkpoint, "_SECONDS_BETWEEN", 0.0)
    case, write = cases()[name], checkpoint.Checkpoint.write
    X, y = rows(case.shape)
    settings = {"mixup": mixup, "n_members": n_members, "max_epochs": 7, "batch_size": 16, "patience": 3}
    model = DensityRegressor(
        network=case.network, random_state=0, checkpoint=tmp_path / "run", **settings, preset="plain"
    )
    straight = DensityRegressor(network=case.network, random_state=0, **settings, preset="plain").fit(X, y)
    for kill_after in (2, 1):
        written = []

        def write_then_kill(self, state, written=written, kill_after=kill_after):
            write(self, state)
            written.append(1)
            if len(written) == kill_after:
                raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(checkpoint.Checkpoint, "write", write_then_kill)
            with pytest.raises(Killed):
                model.fit(X, y)
        assert (tmp_path / "run").exists()
    model.fit(X, y)
    assert_same(model.network_.state, straight.network_.state, rtol=0, atol=0)
    assert np.array_equal(model.validation_curve_, straight.validation_curve_, equal_nan=True)
    assert np.array_equal(model.predict(X), straight.predict(X))
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_of_another_network_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "_SECONDS_BETWEEN", 0.0)
    X, y = rows((3,))
    settings = {"max_epochs": 2, "random_state": 0, "checkpoint": tmp_path / "run"}
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.Checkpoint, "remove", lambda self: None)
        DensityRegressor(network=flat_mlp, **settings, preset="plain").fit(X, y)
    with pytest.raises(ValueError, match=r"belongs to other data or settings\. Remove it, or choose another"):
        DensityRegressor(network=Branching(), **settings, preset="plain").fit(X, y)
