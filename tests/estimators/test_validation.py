"""`validation`, `groups` and held-out rows as users of the estimators see them."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from training_cases import OPTIONS, make_data, run, task_of

from probmix import DensityClassifier, DensityRegressor, fit_together
from probmix.random import KeyedRandom
from probmix.training import checkpoint, memory
from probmix.training.batches import BatchSource

FAST = {"max_epochs": 6, "hidden_layer_sizes": (8, 4), "random_state": 0, "learning_rate": 0.02}


@pytest.fixture
def subjects():
    """Measurements of subjects who have features, and a level, of their own."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(80), 5)
    X = rng.normal(size=(80, 4))[groups]
    return X, 2 * X[:, 0] + rng.normal(size=80)[groups] + 0.1 * rng.normal(size=400), groups


@pytest.fixture
def noise():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(203, 3))
    return X, X[:, 0] + rng.normal(size=203)


UNEVEN = ((60, 20, 80), (70, 20, 90), (60, 20, 80), (41, 49, 90))
BY_ONE = ((67, 23, 90), (68, 22, 90), (67, 23, 90), (68, 22, 90))


def uneven(weighted, sizes=UNEVEN):
    """Parts of four members, some of which are as long."""
    data = make_data(sample_weight=weighted)
    parts = {"train_rows": [], "validation_rows": [], "unit_rows": []}
    for m, (train, validation, _) in enumerate(sizes):
        order = data.unit_rows[m]
        own = {"train_rows": order[:train], "validation_rows": order[train : train + validation]}
        own["unit_rows"] = torch.cat(list(own.values()))
        for name, rows in own.items():
            width = max(size[list(parts).index(name)] for size in sizes)
            parts[name].append(torch.cat([rows, rows[-1:].expand(width - len(rows))]))
    joint = {name: torch.stack(rows) for name, rows in parts.items()}
    epoch_rows = 67 if sizes == BY_ONE else None
    return type(data)(data.rows, **joint, sizes=sizes, epoch_rows=epoch_rows)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("mixup", ["erm", "local-probmix", "m-probmix"])
@pytest.mark.parametrize("batch_size", [16, None])
@pytest.mark.parametrize("sizes", [UNEVEN, BY_ONE])
def test_a_member_with_a_part_of_its_own_length_is_the_member_alone(sizes, batch_size, mixup, weighted):
    data, options = (
        uneven(weighted, sizes),
        dataclasses.replace(OPTIONS, max_epochs=6, patience=None, batch_size=batch_size),
    )
    groups = [[0, 1, 2, 3]] if sizes == BY_ONE else [[0, 2], [1], [3]]
    assert [group.tolist() for group in data.alike()] == groups
    joint, scaler, result = run(data, mixup, options=options)
    for m in range(4):
        alone = data.members(torch.tensor([m]))
        assert alone.sizes is None
        assert alone.sizes_of_members() == (data.sizes[m],)
        network, own_scaler, own = run(alone, mixup, options=options, members=slice(m, m + 1))
        torch.testing.assert_close(own_scaler.loc[0], scaler.loc[m])
        for a, b in zip(joint.parameters(), network.parameters(), strict=True):
            torch.testing.assert_close(a[m : m + 1], b, rtol=0, atol=1e-4)
        assert own.best_epoch[0] == result.best_epoch[m]
        np.testing.assert_allclose(own.validation_curve[:, 0], result.validation_curve[:, m], rtol=1e-4)


@pytest.mark.parametrize("batch_size", [16, None])
@pytest.mark.parametrize("mixup", ["erm", "local-probmix"])
def test_members_whose_parts_differ_by_a_row_see_all_of_theirs(mixup, batch_size):
    """As one, with as many steps for each; the longer ones leave out another row in every epoch."""
    data = uneven(False, BY_ONE)
    network = run(data, mixup, options=dataclasses.replace(OPTIONS, max_epochs=1))[0]
    task = task_of(data, mixup, options=dataclasses.replace(OPTIONS, batch_size=batch_size))
    random = KeyedRandom(task.keys)
    source = BatchSource(task, network, random)
    number = {tuple(row): n for n, row in enumerate(data.rows.x.tolist())}
    seen = [set() for _ in range(4)]
    for epoch in range(1, 20):
        batches = [batch.inputs.x for batch in source.epoch(epoch, random)]
        if mixup == "local-probmix":  # partners are under them
            batches = [x[:, : x.shape[1] // 2] for x in batches]
        rows = torch.cat(batches, 1).tolist()
        for m in range(4):
            found = [number[tuple(row)] for row in rows[m]]
            assert len(found) == len(set(found)) == 67
            assert set(found) <= set(data.train_rows[m].tolist())
            seen[m] |= set(found)
    assert [len(rows) for rows in seen] == [67, 68, 67, 68]


def test_uneven_members_in_groups_and_checkpoints(monkeypatch, tmp_path):
    """Killed in one group and taken up again in it."""
    straight, _, expected = run(uneven(False))
    monkeypatch.setattr(checkpoint, "_SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr(memory, "_CPU_BYTES", 1)
    options = dataclasses.replace(OPTIONS, checkpoint=tmp_path / "run")
    write, written = checkpoint.Checkpoint.write, []

    def write_then_die(self, state):
        write(self, state)
        written.append(1)
        if len(written) % 7 == 0:
            raise KeyError("killed")

    monkeypatch.setattr(checkpoint.Checkpoint, "write", write_then_die)
    for _ in range(30):
        try:
            resumed, _, result = run(uneven(False), options=options)
            break
        except KeyError:
            pass
    assert len(written) > 14
    np.testing.assert_allclose(result.validation_curve, expected.validation_curve, rtol=1e-4)
    for a, b in zip(straight.parameters(), resumed.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_rows_that_are_in_neither_part_are_not_used(noise):
    X, y = noise
    splits = [(np.arange(50), np.arange(60, 90)), (np.arange(20, 100), np.arange(20))]
    one = DensityRegressor(validation=splits, n_members=2, **FAST, preset="plain").fit(X, y)
    X, y = X.copy(), y.copy()
    X[100:], y[100:] = 1e6, 1e6
    two = DensityRegressor(validation=splits, n_members=2, **FAST, preset="plain").fit(X, y)
    np.testing.assert_allclose(two.validation_curve_, one.validation_curve_, rtol=1e-5)


@pytest.mark.parametrize("validation", ["random", "folds", "last", KFold(2)])
def test_get_params_and_clone(validation):
    model = DensityRegressor(validation=validation, n_members=2, preset="plain")
    assert clone(model).get_params()["validation"].__class__ is validation.__class__
    assert DensityClassifier(validation=validation, preset="plain").get_params()["validation"] is validation


def test_without_a_share_no_row_judges(noise):
    for validation in ("random", "last"):
        model = DensityRegressor(validation=validation, validation_fraction=0, **FAST, preset="plain").fit(*noise)
        assert model.validation_curve_.shape == (6, 0)
        assert model.best_epoch_ == 6


ERRORS = {
    "a near miss": (
        {"validation": "fold"}, {}, "unknown validation 'fold'; did you mean 'folds'?",
    ),
    "one member": (
        {"validation": "folds", "n_members": 1}, {},
        "`validation` is 'folds', of which each member is judged by one and trained by the others; got n_members=1. "
        "Pass at least 2, or validation='random'.",
    ),
    "a number": (
        {"validation": 5}, {},
        "`validation` must be 'random', 'folds', 'last', a splitter such as GroupKFold(5), or a list of pairs of row "
        "numbers; got 5.",
    ),
    "a splitter that was not saved": (
        {"validation": "lost splitter"}, {},
        "`validation` was a splitter. A splitter is not saved with an estimator: set it again.",
    ),
    "two words": (
        {"validation": "last"}, {"X_val": np.zeros((2, 3)), "y_val": np.zeros(2)},
        "`X_val` and `y_val` judge all members, in place of a part of X; got them with validation='last'. Leave out "
        "either.",
    ),
    "groups that do not matter": (
        {}, {"X_val": np.zeros((2, 3)), "y_val": np.zeros(2), "groups": np.zeros(203)},
        "`groups` say which rows of X are held out together, and `X_val` that none are. Leave out either.",
    ),
    "weights of nothing": (
        {}, {"sample_weight_val": np.ones(3)},
        "`sample_weight_val` belongs to `X_val` and `y_val`; pass these as well.",
    ),
    "weights of other rows": (
        {}, {"X_val": np.zeros((2, 3)), "y_val": np.zeros(2), "sample_weight_val": np.ones(3)},
        "`sample_weight_val` must hold one weight for each of the 2 rows; got shape (3,).",
    ),
    "negative weights": (
        {}, {"X_val": np.zeros((2, 3)), "y_val": np.zeros(2), "sample_weight_val": [1, -2]},
        "`sample_weight_val` must be finite and not negative; got -2 at row 1. Give dropped rows the weight 0.",
    ),
    "no weights": (
        {}, {"X_val": np.zeros((2, 3)), "y_val": np.zeros(2), "sample_weight_val": [0, 0]},
        "`sample_weight_val` must be positive in at least one row; got zeros only.",
    ),
    "too few groups": (
        {}, {"groups": np.zeros(9)}, "`groups` must hold one label for each of the 203 rows; got shape (9,).",
    ),
    "a missing group": (
        {}, {"groups": np.r_[np.zeros(202), np.nan]}, "`groups` must have a label in every row; got nan at row 202.",
    ),
    "groups of two kinds": (
        {}, {"groups": np.array(["a", 1] * 101 + [2], dtype=object)},
        "`groups` must hold labels of one kind, which can be sorted: '<' not supported between instances of 'int' and "
        "'str'.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS)
def test_errors(noise, case):
    parameters, arguments, message = ERRORS[case]
    model = DensityRegressor(**FAST | parameters, preset="plain")
    with pytest.raises(ValueError, match=r"validation|groups|sample_weight_val") as error:
        model.fit(*noise, **arguments)
    assert str(error.value) == message
    assert not hasattr(model, "network_")


@pytest.mark.parametrize("validation", ["random", "folds", "last"])
def test_a_weight_is_the_row_so_many_times_whatever_judges(noise, validation):
    X, y = noise
    times = np.random.default_rng(1).integers(0, 4, 203)
    model = DensityRegressor(validation=validation, n_members=2, mixup="erm", **FAST, preset="plain")
    weighted = clone(model).fit(X, y, sample_weight=0.5 * times)
    repeated = clone(model).fit(X.repeat(times, 0), y.repeat(times))
    np.testing.assert_array_equal(weighted.validation_curve_, repeated.validation_curve_)
    np.testing.assert_array_equal(weighted.predict(X), repeated.predict(X))


def test_held_out_rows_weigh_what_they_are_told(noise):
    """As if they were there so often; without weights one each, also where training rows have weights."""
    X, y = noise
    weight = np.random.default_rng(0).uniform(1e-3, 1, 150)
    times = np.random.default_rng(1).integers(0, 4, 53)
    given = {"X_val": X[150:], "y_val": y[150:]}
    model, copied, plain, ones = (DensityRegressor(mixup="erm", **FAST, preset="plain") for _ in range(4))
    model.fit(X[:150], y[:150], weight, **given, sample_weight_val=0.3 * times)
    copied.fit(X[:150], y[:150], weight, X_val=X[150:].repeat(times, 0), y_val=y[150:].repeat(times))
    plain.fit(X[:150], y[:150], weight, **given)
    ones.fit(X[:150], y[:150], weight, **given, sample_weight_val=np.full(53, 7.0))
    np.testing.assert_allclose(copied.validation_curve_, model.validation_curve_, rtol=1e-12)
    np.testing.assert_array_equal(ones.validation_curve_, plain.validation_curve_)
    assert not np.allclose(plain.validation_curve_, model.validation_curve_, rtol=1e-4)
    expected = -np.average(model.log_prob(X[150:], y[150:]), weights=times)
    assert model.validation_curve_.min() == pytest.approx(expected, abs=2e-4)


def test_groups_keep_early_stopping_honest_inside_a_search(subjects):
    """Judged by rows of its own subjects, a member learns these by heart."""
    X, y, groups = subjects
    settings = {"mixup": "erm", "max_epochs": 60, "random_state": 0}
    cv = GroupKFold(2)
    blind = GridSearchCV(DensityRegressor(**settings, preset="plain"), {"weight_decay": [1e-4]}, cv=cv).fit(
        X, y, groups=groups
    )
    with sklearn.config_context(enable_metadata_routing=True):
        model = DensityRegressor(**settings, preset="plain").set_fit_request(groups=True)
        search = GridSearchCV(model, {"weight_decay": [1e-4]}, cv=cv).fit(X, y, groups=groups)
        assert 0 < search.best_estimator_.best_epoch_ < 30
    assert blind.best_score_ < -10
    assert search.best_score_ > -2.5


def test_groups_reach_the_model_by_every_way(subjects):
    X, y, groups = subjects
    names = np.array([f"subject {group}" for group in groups])
    direct = DensityRegressor(**FAST, preset="plain").fit(X, y, groups=groups)
    assert not np.array_equal(
        direct.validation_curve_, DensityRegressor(**FAST, preset="plain").fit(X, y).validation_curve_
    )
    for labels in (names, pd.Series(groups, index=groups[::-1]), torch.from_numpy(groups), groups.tolist()):
        fitted = DensityRegressor(**FAST, preset="plain").fit(X, y, groups=labels)
        if labels is not names:  # whose order is another
            np.testing.assert_array_equal(fitted.validation_curve_, direct.validation_curve_)
    by_hand = make_pipeline(StandardScaler(), DensityRegressor(**FAST, preset="plain")).fit(
        X, y, densityregressor__groups=groups
    )
    splits = list(GroupKFold(3).split(X, y, groups))
    expected = [
        DensityRegressor(**FAST, preset="plain").fit(X[train], y[train], groups=groups[train]).score(X[test], y[test])
        for train, test in splits
    ]
    by_params = cross_validate(DensityRegressor(**FAST, preset="plain"), X, y, params={"groups": groups}, cv=splits)
    np.testing.assert_allclose(by_params["test_score"], expected, rtol=1e-6)
    with sklearn.config_context(enable_metadata_routing=True):
        model = DensityRegressor(**FAST, preset="plain").set_fit_request(groups=True)
        routed = cross_validate(model, X, y, params={"groups": groups}, cv=GroupKFold(3))
        np.testing.assert_allclose(routed["test_score"], expected, rtol=1e-6)
        pipeline = make_pipeline(StandardScaler(), model)
        np.testing.assert_array_equal(
            pipeline.fit(X, y, groups=groups)[-1].validation_curve_, by_hand[-1].validation_curve_
        )
        found = cross_validate(pipeline, X, y, params={"groups": groups}, cv=GroupKFold(3))
        np.testing.assert_allclose(found["test_score"], expected, atol=0.02)


def test_fits_together_with_groups_folds_and_splits(subjects):
    X, y, groups = subjects
    splits = [np.arange(0, 303), np.arange(97, 400)]
    for validation in ("random", "folds", "last", GroupKFold(3)):
        model = DensityRegressor(validation=validation, n_members=3, **FAST, preset="plain")
        together = fit_together(model, X, y, splits, [0, 1], groups=groups)
        for fitted, rows, seed in zip(together, splits, (0, 1), strict=True):
            alone = clone(model).set_params(random_state=seed).fit(X[rows], y[rows], groups=groups[rows])
            np.testing.assert_allclose(fitted.validation_curve_, alone.validation_curve_, rtol=1e-3)
            has_folds = validation not in ("random", "last")
            assert hasattr(fitted, "oof_log_prob_") == hasattr(alone, "oof_log_prob_") == has_folds
            if has_folds:
                np.testing.assert_allclose(fitted.oof_log_prob_, alone.oof_log_prob_, rtol=1e-2)
