"""Batch size, patience and threads follow the size of a fit, and what they became is told."""

import threading

import numpy as np
import pytest
import torch

from probmix import DensityClassifier, DensityRegressor, fit_together
from probmix.training import batch_size_for, loop, patience_for
from probmix.training.threads import limited_to, threads_for

rng = np.random.default_rng(0)
X = rng.normal(size=(100, 2))
Y = X[:, 0] + rng.normal(size=100)
FAST = {"mixup": "erm", "max_epochs": 2, "random_state": 0, "hidden_layer_sizes": (4,)}


@pytest.mark.parametrize(
    ("rows", "batch", "patience"),
    [
        (2, 64, 30),
        (1_024, 64, 30),
        (1_025, 128, 30),
        (4_096, 128, 19),
        (4_097, 256, 30),
        (16_384, 256, 10),
        (22_400, 512, 14),
        (65_537, 1_024, 10),
        (1_000_000, 1_024, 8),
    ],
)
def test_batches_and_patience_by_rows(rows, batch, patience):
    assert batch_size_for(rows) == batch
    assert patience_for(rows, batch) == patience


def test_patience_counts_the_steps_of_the_batches_there_are():
    assert patience_for(20_000, 64) == 8
    assert patience_for(20_000, 4_000) == 30
    assert patience_for(20_000, None) == 30


def test_small_tables_are_trained_as_ever():
    automatic = DensityRegressor(**FAST, preset="plain").fit(X, Y)
    assert automatic.params_.items() >= {"batch_size": 64, "patience": 30, "n_threads": 1}.items()
    explicit = DensityRegressor(batch_size=64, patience=30, **FAST, preset="plain").fit(X, Y)
    np.testing.assert_array_equal(automatic.predict(X), explicit.predict(X))


def test_larger_tables_have_larger_batches():
    X = rng.normal(size=(6_000, 2))
    model = DensityRegressor(**FAST, preset="plain").fit(X, X[:, 0])
    assert model.params_.items() >= {"batch_size": 256, "patience": 30, "n_threads": 1}.items()
    assert DensityClassifier(**FAST, preset="plain").fit(X, X[:, 0] > 0).params_.items() <= model.params_.items()
    (joint,) = fit_together(DensityRegressor(**FAST, preset="plain"), X, X[:, 0], [np.arange(6_000)], [0])
    assert joint.params_ == model.params_
    np.testing.assert_allclose(joint.predict(X), model.predict(X), atol=1e-5)


def test_what_was_said_is_done():
    model = DensityRegressor(batch_size=None, patience=7, **FAST, preset="plain").fit(X, Y)
    assert (model.params_["batch_size"], model.params_["patience"]) == (None, 7)


@pytest.mark.parametrize("name", ["batch_size", "patience"])
def test_other_words_are_refused(name):
    with pytest.raises(ValueError, match=rf"^`{name}` must be an integer of at least 1, None or 'auto'; got 'big'\.$"):
        DensityRegressor(**FAST | {name: "big"}, preset="plain").fit(X, Y)
    with pytest.raises(ValueError, match=rf"^`{name}` must be an integer of at least 1; got 0\.$"):
        DensityRegressor(**FAST | {name: 0}, preset="plain").fit(X, Y)


# -- threads -----------------------------------------------------------------------------------------------------------


def test_small_fits_have_one_thread_and_give_back_what_there_was(several, monkeypatch):
    seen, train_groups = [], loop.train_groups

    def look(*arguments):
        seen.append(torch.get_num_threads())
        return train_groups(*arguments)

    monkeypatch.setattr(loop, "train_groups", look)
    model = DensityRegressor(**FAST, preset="plain").fit(X, Y)
    assert seen == [1]
    assert model.params_["n_threads"] == 1
    assert torch.get_num_threads() == several


def test_large_fits_keep_theirs(several):
    model = DensityRegressor(**FAST, preset="plain").fit(X, Y)
    weights = sum(tensor[0].numel() for tensor in model.network_.state.values() if tensor.requires_grad)
    # as the guide says: from 1,000 million multiplications a step on
    enough = 10**9 // weights + 1
    assert threads_for(model.network_, 64, 1) == 1
    for rows, members in ((enough, 1), (1, enough)):
        assert threads_for(model.network_, rows, members) == several
    assert threads_for(model.network_, enough - 2, 1) == 1
    with limited_to(several):
        assert torch.get_num_threads() == several


def test_threads_are_never_raised():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with limited_to(4):
        assert torch.get_num_threads() == 1
    torch.set_num_threads(before)


def test_all_of_a_fit_has_one_thread_but_what_is_worth_more(several, monkeypatch):
    """Beside other work a second thread costs more than it gains, and in a fit there are many small steps."""
    seen, judge, wanted = {}, DensityRegressor._judge_out_of_fold, [1]
    train_groups = loop.train_groups

    def look(*arguments):
        seen.setdefault("training", []).append(torch.get_num_threads())
        return train_groups(*arguments)

    def look_again(self, parts):
        seen.setdefault("afterwards", []).append(torch.get_num_threads())
        return judge(self, parts)

    monkeypatch.setattr(loop, "train_groups", look)
    monkeypatch.setattr(loop, "threads_for", lambda *_: wanted[0])
    monkeypatch.setattr(DensityRegressor, "_judge_out_of_fold", look_again)
    for wanted[0] in (1, several):
        DensityRegressor("gaussian", max_epochs=2, random_state=0).fit(X, Y)
        assert torch.get_num_threads() == several
    assert set(seen["training"]) == {1, several}
    assert set(seen["afterwards"]) == {1}


def test_threads_come_back_after_an_error(several, monkeypatch):
    def fail(*arguments):
        raise ArithmeticError

    monkeypatch.setattr(loop, "train_groups", fail)
    with pytest.raises(ArithmeticError):
        DensityRegressor(**FAST, preset="plain").fit(X, Y)
    assert torch.get_num_threads() == several


def test_fits_that_overlap_have_one_thread_each_and_give_back_what_there_was(several):
    """One begins while another trains, and outlives it."""
    inside, go = threading.Event(), threading.Event()
    counts = []

    def other():
        with limited_to(1):
            inside.set()
            go.wait(60)
            counts.append(torch.get_num_threads())
        counts.append(torch.get_num_threads())

    worker = threading.Thread(target=other)
    with limited_to(1):
        worker.start()
        assert inside.wait(60)
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == several
    go.set()
    worker.join(60)
    assert counts == [1, several]
    assert torch.get_num_threads() == several
