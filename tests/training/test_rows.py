"""What rows and weights mean to an estimator."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from training_cases import rows_of

from probmix import DensityClassifier, DensityRegressor, families
from probmix.estimators.building import build_network
from probmix.estimators.drawing import split_rows
from probmix.estimators.rows import canonical_rows
from probmix.estimators.tables import counted_rows
from probmix.estimators.validation import judged_parts
from probmix.mixup import preset, preset_names
from probmix.mixup.objectives import objective
from probmix.networks import MLP
from probmix.random import KeyedRandom, member_keys
from probmix.training import Task, TrainingData, TrainingOptions
from probmix.training.batches import BatchSource

SETTINGS = {"max_epochs": 60, "hidden_layer_sizes": (16,), "learning_rate": 0.02, "random_state": 0}


def drawn(rows, share, keys, has_classes=False):
    """The data of members that are judged at random."""
    return judged_parts(rows, "random", share, keys, lambda y: y.long() if has_classes else None).data()


@pytest.fixture
def noise():
    """A weak signal in ten columns: a fit that is judged by rows it knows learns the noise by heart."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2400, 10))
    return X, X[:, 0] + rng.normal(size=2400)


WEIGHTS = {"2": 2, "2.5": 2.5, "5": 5, "11": 11, "1e300": 1e300, "rows five times": None}


@pytest.mark.parametrize("weight", WEIGHTS.values(), ids=WEIGHTS)
def test_equal_weights_and_rows_that_are_all_repeated_change_nothing(noise, weight):
    X, y = noise
    settings = {"mixup": "erm", "max_epochs": 15, "random_state": 0}
    plain = DensityRegressor(**settings, preset="plain").fit(X[:400], y[:400])
    if weight is None:
        rows = np.random.default_rng(1).permutation(np.repeat(np.arange(400), 5))
        other = DensityRegressor(**settings, preset="plain").fit(X[rows], y[rows])
    else:
        other = DensityRegressor(**settings, preset="plain").fit(X[:400], y[:400], sample_weight=np.full(400, weight))
    assert plain.score(X[400:], y[400:]) > -1.55
    np.testing.assert_array_equal(other.validation_curve_, plain.validation_curve_)
    np.testing.assert_array_equal(other.predict(X), plain.predict(X))


@pytest.mark.parametrize("mixup", ["erm", "probmix", "local-mixup"])
def test_the_unit_of_weights_is_irrelevant(problem, mixup):
    """Exactly for powers of two, which round nothing."""
    X, y = problem
    weight = np.random.default_rng(1).uniform(0, 4, len(y))
    settings = SETTINGS | {"mixup": mixup, "max_epochs": 8}
    fits = [
        DensityRegressor(**settings, preset="plain").fit(X, y, sample_weight=unit * weight)
        for unit in (1, 2.0**-30, 5, 1e-305)
    ]
    np.testing.assert_array_equal(fits[1].predict(X), fits[0].predict(X))
    for other in fits[2:]:
        np.testing.assert_allclose(other.predict(X), fits[0].predict(X), rtol=1e-4)


def test_equal_rows_become_one_whatever_their_order():
    rng = np.random.default_rng(0)
    base = rows_of(rng.normal(size=(30, 2)).round(), rng.normal(size=(30, 2)), log_exposure=rng.normal(size=30))
    numbers = rng.integers(0, 30, 200)
    many = replace(base.take(numbers), weight=torch.from_numpy(rng.choice([0, 0.1, 0.2, 0.3, 1 / 3], 200)))
    rows, place = canonical_rows(many)
    kept = many.weight.numpy() > 0
    assert (place[~kept] == -1).all()
    assert len(rows.x) == len(np.unique(numbers[kept])) == place.max() + 1
    for name in ("x", "y", "log_exposure"):
        np.testing.assert_array_equal(getattr(rows, name)[place[kept]], getattr(many, name)[kept])
    totals = np.bincount(place[kept], many.weight[kept])
    np.testing.assert_allclose(rows.weight, totals / totals.mean(), rtol=1e-14)
    for seed in range(20):
        other, _ = canonical_rows(many.take(np.random.default_rng(seed).permutation(200)))
        for name in ("x", "y", "weight", "log_exposure"):
            np.testing.assert_array_equal(getattr(other, name), getattr(rows, name))


def test_rows_that_differ_in_target_or_exposure_are_not_equal():
    x, y = np.zeros((4, 1)), np.array([0.0, 0.0, 1.0, 1.0])
    rows, place = canonical_rows(rows_of(x, y))
    assert (rows.y.tolist(), place.tolist(), rows.weight) == ([0, 1], [0, 0, 1, 1], None)
    rows, _ = canonical_rows(rows_of(x, y, log_exposure=np.array([0.0, 1.0, 1.0, 1.0])))
    assert rows.weight.tolist() == [0.75, 0.75, 1.5]


@pytest.mark.parametrize("seed", range(5))
def test_equal_rows_are_on_one_side(seed):
    """Of rows drawn with replacement, with weights, and of rounded ones, of which many are equal by chance."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(80, 2)).round(1)
    y = rng.poisson(np.exp(x[:, 0])).astype(float)
    numbers = rng.integers(0, 80, 300)
    for has_classes in (False, True):
        rows, _ = canonical_rows(rows_of(x[numbers], y[numbers], weight=rng.integers(1, 9, 300).astype(float)))
        data = drawn(rows, 0.2, member_keys(seed, 4), has_classes)
        table = torch.cat([data.rows.x, data.rows.y.unsqueeze(1)], 1)
        for train, validation in zip(data.train_rows, data.validation_rows, strict=True):
            sides = [{tuple(row) for row in table[part].tolist()} for part in (train, validation)]
            assert len(sides[0]) == len(train)
            assert len(sides[1]) == len(validation) == round(0.2 * len(rows.x))
            assert not sides[0] & sides[1]


def test_weights_make_no_epoch_longer(noise, monkeypatch):
    """A step for as many rows as there are different ones."""
    X, y = noise
    weight = np.random.default_rng(0).integers(1, 9, 400)
    seen, losses = [], Task.losses
    monkeypatch.setattr(
        Task, "losses", lambda task, network, batch: seen.append(batch.inputs.x.shape) or losses(task, network, batch)
    )
    for weights in (None, weight, 0.1 * weight):
        DensityRegressor("gaussian", "probmix", max_epochs=2, random_state=0, preset="plain").fit(
            X[:400], y[:400], weights
        )
    assert len(seen) == 3 * 2 * 5
    assert seen[:10] == seen[10:20] == seen[20:]


def test_copies_of_a_row_are_not_its_neighbours(problem):
    X, y = problem
    settings = SETTINGS | {"mixup": "local-probmix", "max_epochs": 5}
    plain = DensityRegressor(**settings, preset="plain").fit(X, y)
    copied = DensityRegressor(**settings, preset="plain").fit(X.repeat(9, 0), y.repeat(9))
    np.testing.assert_array_equal(copied.predict(X), plain.predict(X))


def test_a_row_is_its_own_partner_as_often_as_it_weighs():
    """The pairs of a full batch, over all shifts: those of a table with every row as many times as it weighs."""
    weight = torch.tensor([3.0, 1.0, 1.0, 1.0], dtype=torch.float64)
    x, rows = torch.arange(4.0, dtype=torch.float64).unsqueeze(1), torch.arange(4).unsqueeze(0)
    data = TrainingData(rows_of(x, x[:, 0], weight=weight), rows, rows[:, :0], rows)
    family = families.get("gaussian")
    network = build_network(MLP(()), family, (1,), None, member_keys(0, 1), preset("probmix"))
    network.initialize_(member_keys(0, 1), data.input_units(), torch.zeros(1, 1, 2))
    task = Task(objective("nll", family), data, preset("probmix"), TrainingOptions(batch_size=None), member_keys(0, 1))
    source = BatchSource(task, network, KeyedRandom(task.keys))
    for epoch in range(1, 30):
        (batch,) = source.epoch(epoch, KeyedRandom(member_keys(0, 1)))
        (term,) = batch.terms
        own = batch.inputs.x[0, :, 0]
        partner = own.roll([-shift for shift in term.groups.partners])
        is_own = own == partner
        expected = weight[own.long()] * torch.where(is_own, torch.ones(4), weight[partner.long()])
        assert term.row_weight[0].tolist() == pytest.approx((expected / 1.5 ** torch.where(is_own, 1, 2)).tolist())


@pytest.mark.parametrize("mixup", ["erm", "probmix", "mixup"])
def test_an_integer_weight_is_the_row_so_many_times(problem, mixup):
    X, y = problem
    weight = np.random.default_rng(1).integers(0, 4, len(y))
    weighted = DensityRegressor(mixup=mixup, **SETTINGS, preset="plain").fit(X, y, sample_weight=weight)
    repeated = DensityRegressor(mixup=mixup, **SETTINGS, preset="plain").fit(X.repeat(weight, axis=0), y.repeat(weight))
    np.testing.assert_array_equal(weighted.predict(X), repeated.predict(X))


@pytest.mark.parametrize("mixup", preset_names())
def test_weights_that_depend_on_the_target_are_honoured(mixup):
    """With no signal in X, rare and heavy rows shift the mean to the weighted mean, for pairs as for single rows."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(1500, 1)), rng.poisson(0.8, 1500)
    weight = np.where(y > 0, 0.25, 1.5) + 0.01 * rng.random(1500)
    hidden = (4,) if "m-probmix" in mixup or "manifold" in mixup else ()
    settings = {"max_epochs": 40, "hidden_layer_sizes": hidden, "n_members": 4, "random_state": 0}
    model = DensityRegressor("poisson", mixup, **settings, preset="plain").fit(X, y, sample_weight=weight)
    assert model.predict(X).mean() == pytest.approx(np.average(y, weights=weight), rel=0.12)


def cells(counts, share=False):
    """Rows of a table: X is the number of a row of `counts`, y that of a column."""
    x, y = np.indices(np.shape(counts)).reshape(2, -1)
    weight = np.ravel(counts) * (0.37 if share else 1)
    return rows_of(np.repeat(x, 1).astype(float)[:, None], y.astype(float), weight=weight.astype(float))


COUNTED = {
    "two categories": ([[1200, 300], [450, 1050]], [1, 1, 1, 1]),
    "all five times": (5 * np.array([[21, 9]] * 25 + [[4, 2]] * 5), [1, 1] * 25 + [0, 0] * 5),
    "few rows": (np.r_[[[3, 2]], np.ones((60, 2))], [0] * 122),
    "one target for each X": ([[1000], [50], [1]], [0, 0, 0]),
    "none is heavy": (np.r_[[np.arange(20, 60)], np.ones((1, 40))], [0] * 80),
}


@pytest.mark.parametrize("case", COUNTED)
@pytest.mark.parametrize("has_other_unit", [False, True])
def test_which_rows_are_counts(case, has_other_unit):
    counts, expected = COUNTED[case]
    rows = cells(counts, has_other_unit)
    order = np.argsort(canonical_rows(rows)[1])
    assert counted_rows(canonical_rows(rows)[0]).astype(int).tolist() == np.asarray(expected)[order].tolist()


@pytest.mark.parametrize("fraction", [0.2, 0.5])
def test_counted_rows_share_their_weight_out(fraction):
    rows, _ = canonical_rows(cells([[1187, 313, 2], [441, 1059, 1]]))
    data = drawn(rows, fraction, member_keys(0, 3))
    assert data.train_rows.shape[1] < 1010
    for part, share in ((data.train_rows, 1 - fraction), (data.validation_rows, fraction)):
        for m in range(3):
            found = np.zeros((2, 3))
            np.add.at(found, (data.rows.x[part[m], 0].long(), data.rows.y[part[m]].long()), data.rows.weight[part[m]])
            np.testing.assert_allclose(found * 3003 / 6, share * np.array([[1187, 313, 2], [441, 1059, 1]]), rtol=1e-12)
    # written out for steps that are as many as those of observations, and as quiet
    assert data.rows.weight[data.train_rows].max() < 0.02


@pytest.mark.parametrize("mixup", ["erm", "probmix"])
@pytest.mark.parametrize("seed", range(3))
def test_tables_of_a_few_categories_are_samples_and_not_sets(mixup, seed):
    """Equal rows are many observations: a split that kept them together would drop whole cells of the table."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 2, (3000, 1)).astype(float)
    settings = {"max_epochs": 30, "hidden_layer_sizes": (8,), "random_state": seed}
    counts = rng.poisson(np.where(X[:, 0] == 1, 0.3, 0.1))
    rates = DensityRegressor("poisson", mixup, **settings, preset="plain").fit(X, counts).predict([[0.0], [1.0]])
    labels = rng.random(3000) < np.where(X[:, 0] == 1, 0.7, 0.2)
    shares = DensityClassifier("erm", **settings, preset="plain").fit(X, labels).predict_proba([[0.0], [1.0]])[:, 1]
    for x in (0, 1):
        assert rates[x] == pytest.approx(counts[X[:, 0] == x].mean(), rel=0.25)
        assert shares[x] == pytest.approx(labels[X[:, 0] == x].mean(), rel=0.15)


def test_rare_classes_have_their_share_of_the_validation_rows():
    classes = torch.tensor([0] * 180 + [1] * 20)
    _, validation = split_rows(200, 40, KeyedRandom(member_keys(0, 50)), classes)
    assert validation.shape == (50, 40)
    assert (classes[validation].sum(1) == 4).all()
    assert len(validation.unique()) == 200
    train, validation = split_rows(200, 40, KeyedRandom(member_keys(0, 50)))
    assert torch.equal(torch.cat([train, validation], 1).sort(1).values, torch.arange(200).expand(50, 200))
    assert classes[validation].sum(1).unique().numel() > 3


def test_a_target_that_is_constant_among_training_rows_has_the_unit_of_all_rows():
    y = np.zeros(40)
    y[7] = 1e5
    model = DensityRegressor(n_members=8, **SETTINGS, preset="plain").fit(
        np.random.default_rng(0).normal(size=(40, 2)), y
    )
    assert model.scaler_.scale.min() > 1e3


def test_weights_pull_the_fit():
    X = np.linspace(-1, 1, 200)[:, None]
    y = np.where(np.arange(200) % 2 == 0, 1.0, 5.0) + 0.1 * np.sin(np.arange(200))
    model = DensityRegressor(**SETTINGS | {"random_state": 1}, preset="plain").fit(
        X, y, sample_weight=np.where(y < 3, 9.0, 1.0)
    )
    assert model.predict(X).mean() == pytest.approx(1.4, abs=0.25)
