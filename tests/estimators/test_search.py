"""The search of a preset: its rounds, what it stacks, time, and networks as candidates."""

import re
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.model_selection import KFold

import probmix
from probmix import DensityClassifier, DensityRegressor
from probmix.estimators.clock import Clock
from probmix.estimators.presets import PRESETS, settings_of
from probmix.estimators.search import Search, ThoroughSearch
from probmix.networks import MLP, Concatenated, Periodic, PiecewiseLinear
from probmix.training import DivergenceError

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
X = RNG.uniform(-1, 1, (48, 2))
REAL = X[:, 0] + 0.1 * RNG.normal(size=48)
POSITIVE = np.exp(3 * REAL)
COUNTS = RNG.poisson(np.exp(1 + X[:, 0])).astype(float)
SMALL = {"hidden_layer_sizes": (8,), "random_state": 0}


def test_rounds_of_a_search():
    search = Search(shares=(1 / 16, 1 / 4, 1), kept=(2, 1))
    assert search.rounds(5, 160) == [(10, 5), (40, 2), (160, 1)]
    assert search.rounds(1, 160) == [(10, 1), (40, 1), (160, 1)]
    # with few epochs rounds are alike
    assert search.rounds(5, 4) == [(1, 5), (4, 1)]
    assert search.rounds(5, 1) == [(1, 5)]
    assert Search().rounds(3, 7) == [(7, 3)]


def test_a_search_goes_on_with_the_best_and_stacks_its_best_round():
    model = DensityRegressor(max_epochs=32, **SMALL).fit(X, POSITIVE)
    runs = model.search_
    # two families, the better of them with a second network, and then the best run
    assert list(runs["epochs"]) == [8, 8, 8, 32]
    best = runs["loss"][:3].idxmin()
    assert (runs["family"][3], runs["network"][3]) == (runs["family"][best], runs["network"][best])
    assert runs["family"][0] != runs["family"][1]
    assert runs["family"][2] == runs["family"][runs["loss"][:2].idxmin()]
    assert runs["network"][0] == runs["network"][1] != runs["network"][2]
    assert set(model.stack_["epochs"]) == {runs["epochs"][runs["loss"].idxmin()]}
    assert model.stack_["weight"].sum() == pytest.approx(1)
    # a run is a fit of its own, with so many epochs
    for run in model.candidates_:
        alone = clone(run).fit(X, POSITIVE)
        np.testing.assert_array_equal(alone.predict(X), run.predict(X))


@pytest.mark.parametrize(
    ("loss", "losses", "trained", "stacked"),
    [
        ("nll", {4: 1.0, 16: 0.998, 64: 0.5}, {4, 16}, 16),  # hardly better
        ("nll", {4: 1.0, 16: 1.1, 64: 0.5}, {4, 16}, 4),
        ("nll", {4: 1.0, 16: 0.9, 64: 0.8}, {4, 16, 64}, 64),
        ("nll", {4: 1.0, 16: 0.9, 64: 0.95}, {4, 16, 64}, 16),
        # the CRPS has the unit of y
        ("crps", {4: 1e-3, 16: 0.998e-3, 64: 0.5e-3}, {4, 16}, 16),
        ("crps", {4: 1e-3, 16: 0.99e-3, 64: 0.98e-3}, {4, 16, 64}, 64),
        ("crps", {4: 1e3, 16: 0.998e3, 64: 0.5e3}, {4, 16}, 16),
        ("crps", {4: 0.0, 16: 0.0, 64: 0.0}, {4, 16}, 4),
        ("crps", {4: np.inf, 16: 0.9, 64: 0.8}, {4}, 4),
    ],
)
def test_a_search_ends_when_more_epochs_make_no_difference(loss, losses, trained, stacked, monkeypatch):
    rounds = Search(shares=(1 / 16, 1 / 4, 1), kept=(1, 1))
    monkeypatch.setitem(PRESETS, "default", replace(PRESETS["default"], search=rounds, n_members=2))
    monkeypatch.setattr("probmix.estimators.search.loss_of", lambda run: losses[run.task.options.max_epochs])
    monkeypatch.setattr("probmix.estimators.search.was_best_early", lambda run, share: False)
    model = DensityRegressor(max_epochs=64, loss=loss, **SMALL).fit(X, REAL)
    assert set(model.search_["epochs"]) == trained
    assert set(model.stack_["epochs"]) == {stacked}


@pytest.mark.parametrize("loss", ["nll", "crps"])
def test_a_search_has_all_rounds_while_members_learn_whatever_the_loss(loss, monkeypatch):
    monkeypatch.setitem(PRESETS, "default", replace(PRESETS["default"], n_members=2, max_epochs=40))
    one = DensityRegressor("gaussian", loss=loss, **SMALL).fit(X, REAL)
    assert one.params_["max_epochs"] == 40
    several = DensityRegressor(loss=loss, **SMALL).fit(X, POSITIVE)
    assert list(several.search_["epochs"]) == [10, 10, 10, 40]


@pytest.mark.parametrize("ahead", [0, 1, 2])
def test_a_further_network_is_tried_with_the_best_of_the_first(ahead, monkeypatch):
    families = ["lognormal-mixture", "gaussian-mixture", "gamma-mixture"]
    losses = {(family, "embedded"): 1.0 + (place != ahead) for place, family in enumerate(families)}
    networks = {"embedded": MLP((8,), embedding=Periodic()), "plain": MLP((8,)), "wide": MLP((16,))}
    names = {str(network): name for name, network in networks.items()}

    def loss(run):
        key = run.estimator.family, names[str(run.estimator.network)]
        # of the second network nothing is as good, of the third all is better
        return losses.get(key, {"plain": 3.0, "wide": 0.5}.get(key[1]))

    monkeypatch.setattr("probmix.estimators.search.loss_of", loss)
    for by_network in (False, True):
        preset = replace(
            PRESETS["default"],
            family=replace(PRESETS["default"].family, positive=tuple(families)),
            network=tuple(networks.values()),
            search=Search(by_network=by_network),
            n_members=2,
            max_epochs=1,
        )
        monkeypatch.setitem(PRESETS, "default", preset)
        runs = DensityRegressor(random_state=0).fit(X, POSITIVE).search_
        ran = list(zip(runs["family"], runs["network"], strict=True))
        labels = list(dict.fromkeys(network for _, network in ran))
        further = families if not by_network else [families[ahead]]
        assert ran == [(one, labels[0]) for one in families] + [(one, at) for at in labels[1:] for one in further]


def test_of_lists_of_the_user_every_combination_is_tried(monkeypatch):
    monkeypatch.setitem(PRESETS, "default", replace(PRESETS["default"], n_members=2, max_epochs=4))
    networks = [MLP((8,)), MLP((4,))]
    regressors = [
        (DensityRegressor(["gaussian", "lognormal"], "erm", network=networks, random_state=0), 4),
        (DensityRegressor(network=networks, random_state=0), 4),
        (DensityRegressor("auto", network=networks, random_state=0), 8),
        (DensityRegressor(mixup=["erm", "probmix"], **SMALL), 8),
    ]
    for model, count in regressors:
        runs = model.fit(X, POSITIVE).search_
        first = runs[runs["epochs"] == 1][["family", "mixup", "network"]]
        assert len(first) == len(first.drop_duplicates()) == count
    model = DensityClassifier(["erm", "probmix"], network=networks, random_state=0).fit(X, (REAL > 0).astype(int))
    assert (model.search_["epochs"] == 1).sum() == 4


def test_where_the_first_network_diverges_families_have_their_turn_with_the_next(monkeypatch):
    train = DensityRegressor._train

    def diverging(self, task):
        if "PiecewiseLinear" in str(self.network) or self.family == "lognormal-mixture":
            raise DivergenceError("The loss is not finite.")
        return train(self, task)

    monkeypatch.setattr(DensityRegressor, "_train", diverging)
    with pytest.warns(UserWarning, match="is left out") as told:
        model = DensityRegressor(max_epochs=4, **SMALL).fit(X, POSITIVE)
    assert len(told) == 3
    assert set(model.search_["family"]) == {"gaussian-mixture"}
    assert list(model.search_["epochs"]) == [1, 4]


def test_a_user_who_ends_the_search_is_told_what_had_not_begun(monkeypatch):
    train, begun = DensityRegressor._train, []

    def interrupted(self, task):
        begun.append(self)
        if len(begun) == 2:
            raise KeyboardInterrupt
        return train(self, task)

    monkeypatch.setattr(DensityRegressor, "_train", interrupted)
    with pytest.warns(UserWarning, match="had not begun") as told:
        DensityRegressor(max_epochs=4, **SMALL).fit(X, POSITIVE)
    (message,) = [str(one.message) for one in told if "had not begun" in str(one.message)]
    named = message.split("had not begun: ")[1]
    # the one that was ended, and both families with the second network
    assert re.findall("(lognormal|gaussian)-mixture", named) == ["gaussian", "lognormal", "gaussian"]
    assert named.count("PiecewiseLinear") == 1


def test_a_time_limit_counts_the_turns_of_the_first_round(monkeypatch):
    """Three runs of two families with two networks: all of the time is theirs."""
    asked = []
    monkeypatch.setattr("probmix.estimators.search.measure_pace", lambda *_: None)
    monkeypatch.setattr(Clock, "epochs", lambda self, number, most, share=1.0: asked.append((most, share)) or most)
    DensityRegressor(max_epochs=32, time_limit=100, **SMALL).fit(X, POSITIVE)
    # what the rounds come to, and each run's share of what is left: of three short ones and a long one
    assert asked == [(56, 1.0), (8, 8 / 56), (8, 8 / 48), (8, 8 / 40), (32, 1.0)]


def test_a_search_ends_where_members_are_best_early():
    noise = np.random.default_rng(1).normal(size=48)
    model = DensityRegressor("gaussian", **SMALL).fit(X, noise)
    assert model.params_["max_epochs"] == 100
    assert model.best_epoch_.mean() < 60


def test_a_thorough_search_goes_on_where_members_are_best_early(monkeypatch):
    noise = np.random.default_rng(1).normal(size=48)
    losses = {100: 1.0, 400: 0.9}
    monkeypatch.setattr("probmix.estimators.search.loss_of", lambda run: losses[run.task.options.max_epochs])
    ends = {}
    for search in (Search, ThoroughSearch):
        preset = replace(PRESETS["default"], search=search(shares=(1 / 4, 1), kept=(1,)), max_epochs=400)
        monkeypatch.setitem(PRESETS, "default", preset)
        ends[search] = DensityRegressor("gaussian", **SMALL).fit(X, noise).params_["max_epochs"]
    assert ends == {Search: 100, ThoroughSearch: 400}
    assert isinstance(PRESETS["best"].search, ThoroughSearch)


def test_one_family_takes_the_best_run():
    model = DensityRegressor("gaussian", preset="default", hidden_layer_sizes=(8,), random_state=0).fit(X, REAL)
    epochs = model.params_["max_epochs"]
    assert epochs in (100, 400)
    alone = DensityRegressor("gaussian", max_epochs=epochs, **SMALL).fit(X, REAL)
    np.testing.assert_array_equal(model.predict(X), alone.predict(X))
    np.testing.assert_array_equal(model.log_prob(X, REAL), alone.log_prob(X, REAL))
    assert model.network_.n_members == 8
    assert model.predict_natural_params(X).shape == (8, 48, 2)


def test_the_same_seed_gives_the_same_result():
    first, second = (DensityRegressor(max_epochs=8, **SMALL).fit(X, POSITIVE) for _ in range(2))
    np.testing.assert_array_equal(first.log_prob(X, POSITIVE), second.log_prob(X, POSITIVE))
    assert list(first.search_["loss"]) == list(second.search_["loss"])


def test_the_line_of_what_was_chosen(capsys):
    DensityRegressor(max_epochs=4, verbose=True, **SMALL).fit(X, POSITIVE)
    (line,) = capsys.readouterr().out.splitlines()
    # two families, and the better one with the second network
    assert re.match("stack of [123] of 3 candidates: ", line)
    assert line.count("epochs)") == line.count("MLP(sizes=(8,), embedding=") > 0


def test_best_searches_families_mixups_and_networks():
    model = DensityRegressor(preset="best", max_epochs=2, n_members=2, random_state=0).fit(X, REAL)
    first = model.search_[model.search_["epochs"] == 1]
    lists = PRESETS["best"]
    assert set(first["family"]) == set(lists.family.real)
    assert first["network"].nunique() == len(lists.network)
    assert first["mixup"].nunique() == len(lists.mixup)
    assert (model.search_["epochs"] == 2).sum() == 2
    assert np.isfinite(model.log_prob(X, REAL)).all()


def test_without_numbers_embeddings_are_no_candidates():
    frame = pd.DataFrame({"make": np.where(X[:, 0] > 0, "saab", "volvo"), "kind": np.where(X[:, 1] > 0, "a", "b")})
    model = DensityRegressor(preset="best", max_epochs=1, n_members=2, random_state=0).fit(frame, REAL)
    # both networks are one without an embedding, and histograms have no pool
    assert len(model.search_) == len(model.search_["family"].unique()) * len(PRESETS["best"].mixup) - 1


def test_the_default_compares_networks_where_it_compares_families():
    several = (MLP((8,), embedding=Concatenated((Periodic(), PiecewiseLinear()))), MLP((8,), embedding=Periodic()))
    assert settings_of(DensityRegressor(**SMALL)).network == list(several)
    assert settings_of(DensityRegressor("gaussian", **SMALL)).network == several[0]
    assert settings_of(DensityRegressor(["gaussian", "student-t"], **SMALL)).network == several[0]
    assert settings_of(DensityRegressor(preset="fast", **SMALL)).network == several[0]
    assert settings_of(DensityClassifier(**SMALL)).network == several[0]
    assert settings_of(DensityRegressor(network=MLP((4,)))).network == MLP((4,))
    model = DensityRegressor(max_epochs=4, **SMALL).fit(X, REAL)
    assert model.search_["network"].nunique() == 2


def test_networks_can_be_listed():
    model = DensityRegressor(
        "gaussian", "erm", network=[MLP((8,)), MLP((4, 4))], n_members=2, max_epochs=3, random_state=0
    ).fit(X, REAL)
    assert list(model.stack_["network"]) == ["MLP(sizes=(8,))", "MLP(sizes=(4, 4))"]
    assert [one.network_.spec for one in model.candidates_] == [MLP((8,)), MLP((4, 4))]


def test_what_is_wrong_with_a_list_of_networks_is_said_before_any_work():
    for listed in ([], [MLP], [MLP((8,)), lambda shape: None]):
        with pytest.raises(TypeError, match="a list of networks must hold specifications"):
            DensityRegressor("gaussian", network=listed).fit(X, REAL)
    with pytest.raises(ValueError, match="`hidden_layer_sizes` are those of the network that is built without"):
        DensityRegressor("gaussian", network=[MLP((8,))], hidden_layer_sizes=(4,)).fit(X, REAL)


def test_lists_of_networks_are_saved(tmp_path):
    model = DensityRegressor("gaussian", network=[MLP((4,)), MLP((8,))], max_epochs=2, n_members=2, random_state=0)
    model.fit(X, REAL).save(tmp_path / "model")
    again = probmix.load(tmp_path / "model")
    assert list(again.network) == [MLP((4,)), MLP((8,))]
    np.testing.assert_array_equal(clone(again).fit(X, REAL).predict(X), model.predict(X))


def test_totals_with_exposures_have_a_default():
    totals, exposure = np.maximum(0, REAL) * 5, RNG.uniform(0.5, 2, 48)
    model = DensityRegressor(max_epochs=2, **SMALL).fit(X, totals, exposure=exposure)
    assert set(model.search_["family"]) == {"tweedie"}


def test_rows_of_weight_zero_have_no_say_in_the_family():
    weight = (REAL > 0).astype(float)
    model = DensityRegressor(max_epochs=2, **SMALL).fit(X, REAL, sample_weight=weight)
    alone = DensityRegressor(max_epochs=2, **SMALL).fit(X[REAL > 0], REAL[REAL > 0])
    np.testing.assert_array_equal(model.predict(X), alone.predict(X))


def test_families_that_are_not_named_can_do_what_is_asked():
    model = DensityRegressor(pool="log-linear", max_epochs=2, **SMALL).fit(X, COUNTS)
    assert set(model.search_["family"]) == {"poisson-mixture"}


def test_subclasses_need_not_take_all_parameters():
    class Mine(DensityRegressor):
        def __init__(self, max_epochs=2, random_state=0):
            super().__init__(max_epochs=max_epochs, random_state=random_state, hidden_layer_sizes=(8,))

    np.testing.assert_array_equal(
        Mine().fit(X, REAL).predict(X), DensityRegressor(max_epochs=2, **SMALL).fit(X, REAL).predict(X)
    )


def test_members_follow_a_splitter_and_epochs_are_set_for_fits_together():
    model = DensityRegressor("gaussian", validation=KFold(5), max_epochs=2, **SMALL).fit(X, REAL)
    assert model.params_["n_members"] == 5
    assert np.isfinite(model.oof_log_prob_).all()
    with pytest.raises(ValueError, match=r"trains all fits for one number of epochs.*Set `max_epochs`"):
        probmix.fit_together(DensityRegressor("gaussian"), X, REAL, [np.arange(40)], [0])


# -- time --------------------------------------------------------------------------------------------------------------


def test_a_clock_divides_the_time_that_is_left(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("probmix.estimators.clock.perf_counter", lambda: now[0])
    clock = Clock(20.0)
    assert clock.epochs(0, 50) == 50  # nothing is known
    clock.note(0, 10, 5.0)
    assert [clock.epochs(0, 50), clock.epochs(0, 30), clock.epochs(0, 50, share=0.5)] == [40, 30, 20]
    clock.note(1, 10, 10.0)
    # of a candidate that was not trained the pace is the mean
    assert [clock.epochs(1, 50), clock.epochs(2, 50)] == [20, 26]
    now[0] = 125.0
    assert clock.epochs(0, 50) == 0
    assert Clock(None).epochs(0, 50) == 50


@pytest.mark.parametrize("family", [None, "gaussian", ["gaussian", "student-t"]])
def test_with_little_time_there_are_few_epochs(family):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = DensityRegressor(family, time_limit=1e-9, **SMALL).fit(X, REAL)
    late = [str(one.message) for one in caught if "time_limit" in str(one.message)]
    # of candidates that the user has not named nothing is said
    assert len(late) == isinstance(family, list)
    if family == "gaussian":
        assert model.params_["max_epochs"] == 1
    else:
        assert set(model.search_["epochs"]) == {1}
        assert len(model.search_) == 1
    assert np.isfinite(model.log_prob(X, REAL)).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"time_limit": 0}, "`time_limit` must be"),
        ({"time_limit": "1h"}, "`time_limit` must be"),
        ({"time_limit": 5, "checkpoint": "a"}, "which with a `time_limit` is another in every fit. Leave out either."),
    ],
)
def test_times_that_are_refused(changes, message):
    with pytest.raises((ValueError, TypeError), match=message):
        DensityRegressor("gaussian", **changes, **SMALL).fit(X, REAL)
