"""Larger groups, weights of labels, the clean share, and mixup that ends early."""

import dataclasses
import re

import numpy as np
import pytest
import torch
from mixup_cases import GAUSSIAN, FixedWeights, generator
from training_cases import MEMBERS, OPTIONS, make_data, run, task_of

import probmix
from probmix import DensityClassifier, DensityRegressor, GaussianEmbedding, NaturalHead, families, log_linear_pool
from probmix.mixup import BetaWeights, Mixup, NearestNeighbours, SimilarityWeights, mixup_loss, preset
from probmix.mixup.terms import group_weights
from probmix.networks import MLP, DensityNetwork
from probmix.random import KeyedRandom, member_keys
from probmix.training import TrainingOptions
from probmix.training.batches import BatchSource
from probmix.training.data import target_scaler

X = torch.randn(6, 2, generator=generator(3), dtype=torch.float64)
Y = torch.randn(6, generator=generator(4), dtype=torch.float64)


def network(family="gaussian"):
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Tanh(), NaturalHead(family, 4)).double()


class Counted:
    """A module that counts its passes."""

    def __init__(self, module):
        self.module, self.passes = module, 0

    def __call__(self, x):
        self.passes += 1
        return self.module(x)


@pytest.mark.parametrize("order", [2, 3, 5])
def test_groups_are_pooled_at_the_output_in_one_pass(order):
    counted, mixup = Counted(network()), Mixup(order=order, weights=FixedWeights(0.5), label_pool="average")
    partners = torch.stack([(torch.arange(6) + k) % 6 for k in range(1, order)], -1)
    loss = mixup_loss(counted, "gaussian", X, Y, mixup, partners=partners)
    assert counted.passes == 1
    groups = torch.cat([torch.arange(6).unsqueeze(-1), partners], -1)
    weights = FixedWeights(0.5).sample((6,), None, order)
    pooled = log_linear_pool(network()(X)[groups], weights)
    label = (weights * Y[groups]).sum(-1)
    expected = -GAUSSIAN.distribution(pooled).log_prob(label).mean()
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("at", "pool"), [("input", "log-linear"), ("1", "log-linear"), ("output", "linear")])
def test_groups_are_mixed_anywhere(at, pool):
    mixup = Mixup(at=at, pool=pool, order=3, weights=FixedWeights(0.5), label_pool="average")
    partners = torch.tensor([[1, 2], [2, 0], [5, 5]])
    loss = mixup_loss(network(), "gaussian", X, Y, mixup, partners=partners)
    groups = torch.cat([torch.arange(3).unsqueeze(-1), partners], -1)
    weights = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64)
    model, label = network(), Y[groups] @ weights
    if at == "input":
        eta = model(torch.einsum("bkf,k->bf", X[groups], weights))
    elif at == "1":
        eta = model[2](torch.einsum("bkf,k->bf", model[:2](X)[groups], weights))
    else:
        densities = GAUSSIAN.distribution(model(X)[groups])
        likelihood = (weights * densities.log_prob(label.unsqueeze(-1)).exp()).sum(-1)
        torch.testing.assert_close(loss, -likelihood.log().mean(), rtol=1e-12, atol=1e-12)
        return
    expected = -GAUSSIAN.distribution(eta).log_prob(label).mean()
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)


def test_labels_may_have_weights_of_their_own():
    partners = torch.tensor([1, 2, 3, 4, 5, 0])
    mixup = Mixup(at="input", weights=FixedWeights(0.9), label_weights=FixedWeights(0.6), label_pool="average")
    loss = mixup_loss(network(), "gaussian", X, Y, mixup, partners=partners)
    eta = network()(0.9 * X + 0.1 * X[partners])
    expected = -GAUSSIAN.distribution(eta).log_prob(0.6 * Y + 0.4 * Y[partners]).mean()
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)


def test_labels_of_a_linear_pool_have_their_weights():
    partners = torch.tensor([1, 2, 3, 4, 5, 0])
    mixup = Mixup(pool="linear", weights=FixedWeights(0.9), label_weights=FixedWeights(0.6), label_pool="linear")
    loss = mixup_loss(network(), "gaussian", X, Y, mixup, partners=partners)
    densities = GAUSSIAN.distribution(network()(X))

    def nll(y):
        own, other = densities.log_prob(y).exp(), GAUSSIAN.distribution(network()(X)[partners]).log_prob(y).exp()
        return -(0.9 * own + 0.1 * other).log()

    expected = (0.6 * nll(Y) + 0.4 * nll(Y[partners])).mean()
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)


def test_both_laws_see_the_same_numbers():
    same = Mixup(at="input", weights=BetaWeights(0.3), label_pool="average")
    twice = dataclasses.replace(same, label_weights=BetaWeights(0.3))
    for seed in range(3):
        one, other = (mixup_loss(network(), "gaussian", X, Y, m, generator=generator(seed)) for m in (same, twice))
        assert torch.equal(one, other)


@pytest.mark.parametrize("laws", [(SimilarityWeights(), BetaWeights()), (BetaWeights(), SimilarityWeights())])
def test_one_of_the_laws_may_depend_on_distances_of_members(laws):
    weights, label_weights = laws
    mixup = Mixup(at="input", weights=weights, label_weights=label_weights, label_pool="average")
    joint, _, _ = run(make_data(), mixup)
    alone, _, _ = run(make_data(members=slice(1, 2)), mixup, members=slice(1, 2))
    for name, tensor in alone.state.items():
        torch.testing.assert_close(joint.state[name][1], tensor[0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("at", ["output", "input", "1"])
def test_the_clean_share(at, weighted):
    weight = torch.tensor([1.0, 2.0, 0.0, 1.0, 1.0, 5.0], dtype=torch.float64) if weighted else None
    losses = {}
    for clean in (0.0, 0.3):
        counted, mixup = network(), Mixup(at=at, clean=clean)
        passes = []
        counted.register_forward_pre_hook(lambda *_, passes=passes: passes.append(1))
        losses[clean] = mixup_loss(counted, "gaussian", X, Y, mixup, generator=generator(1), sample_weight=weight)
        assert len(passes) == (1 if at == "output" or not clean else 2)
    clean = mixup_loss(network(), "gaussian", X, Y, "erm", sample_weight=weight)
    torch.testing.assert_close(losses[0.3], 0.7 * losses[0.0] + 0.3 * clean, rtol=1e-12, atol=1e-12)


def test_the_clean_rows_of_an_embedding_are_drawn_from_their_own_densities():
    embedding = GaussianEmbedding(4).double()
    mixup = preset("m-probmix", at="1", clean=0.5, draws=3)
    loss = mixup_loss(network(), "gaussian", X, Y, mixup, embedding=embedding, generator=generator(2))
    draw = generator(2)
    mixed = mixup_loss(
        network(), "gaussian", X, Y, dataclasses.replace(mixup, clean=0.0), embedding=embedding, generator=draw
    )
    # what comes next from the generator is the noise of the clean rows
    hidden, noise = network()[:2](X), torch.randn(18, 4, generator=draw).double()
    own = hidden.repeat(3, 1) + noise * embedding(hidden, X).repeat(3, 1).rsqrt()
    clean = -GAUSSIAN.distribution(network()[2](own)).log_prob(Y.repeat(3)).mean()
    torch.testing.assert_close(loss, 0.5 * mixed + 0.5 * clean, rtol=1e-6, atol=1e-6)


def test_a_group_weighs_as_often_as_it_would_be_drawn_among_copies():
    weights = torch.tensor([2.0, 3.0, 5.0])
    groups = torch.tensor([[0, 1, 2], [0, 0, 1], [1, 2, 2], [2, 2, 2]])
    assert group_weights(weights[groups], groups).tolist() == [30.0, 6.0, 15.0, 5.0]


def test_a_row_that_is_its_own_partner_weighs_once_in_a_loop_of_ones_own():
    weight = torch.tensor([1.0, 2.0, 3.0, 1.0, 1.0, 1.0], dtype=torch.float64)
    own = mixup_loss(network(), "gaussian", X, Y, partners=torch.arange(6), sample_weight=weight)
    torch.testing.assert_close(own, mixup_loss(network(), "gaussian", X, Y, "erm", sample_weight=weight))


def source(mixup, batch_size=16):
    options = TrainingOptions(max_epochs=1, batch_size=batch_size)
    net = DensityNetwork(families.get("gaussian"), 3, MLP(()), None, MEMBERS)
    random = KeyedRandom(member_keys(0, MEMBERS))
    return BatchSource(task_of(make_data(sample_weight=True), mixup, options=options), net, random)


@pytest.mark.parametrize("partners", [Mixup().partners, NearestNeighbours(4)])
@pytest.mark.parametrize("batch_size", [None, 16])
def test_groups_of_four_in_estimators_are_rows_with_their_targets(batch_size, partners):
    data, mixup = make_data(sample_weight=True), Mixup(order=4, weights=FixedWeights(0.4), partners=partners)
    batches = list(source(mixup, batch_size).epoch(1, KeyedRandom(member_keys(0, MEMBERS))))
    for batch in batches:
        (term,) = batch.terms
        x, rows = batch.inputs.x, term.groups.partners
        size = term.targets.shape[1]
        if isinstance(rows, tuple):
            rows = torch.stack([(torch.arange(size) + shift) % size for shift in rows], -1).expand(MEMBERS, -1, -1)
        scaler = target_scaler(families.get("gaussian"), data)
        for m in range(MEMBERS):
            groups = torch.cat([torch.arange(size).unsqueeze(-1), rows[m]], -1)
            known = {tuple(one.tolist()): y.item() for one, y in zip(data.rows.x, data.rows.y, strict=True)}
            expected = [[known[tuple(one.tolist())] for one in group] for group in x[m][groups]]
            found = term.targets[m] * scaler.scale[m] + scaler.loc[m]
            torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_members_that_no_longer_mix_see_their_rows_as_they_are():
    mixing = torch.tensor([True, False, True, False])
    random = KeyedRandom(member_keys(0, MEMBERS))
    some, every, plain = (next(iter(source(Mixup()).epoch(1, random, one))).terms for one in (mixing, True, False))
    assert torch.equal(some[0].groups.weights[mixing], every[0].groups.weights[mixing])
    assert (some[0].groups.weights[~mixing] == torch.tensor([1.0, 0.0])).all()
    assert torch.equal(some[0].row_weight[mixing], every[0].row_weight[mixing])
    assert torch.equal(some[0].row_weight[~mixing], plain[0].row_weight[~mixing])
    assert torch.equal(some[0].label.value[~mixing], plain[0].label.value[~mixing])
    assert plain[0].groups is None


def test_a_share_of_the_epochs_is_mixed_and_the_rest_is_plain():
    options = dataclasses.replace(OPTIONS, max_epochs=4)
    data = make_data(n_validation=0)
    early, _, result = run(data, Mixup(until=0.5), options=options)
    assert result.mixup_until.tolist() == [2] * MEMBERS
    for until in (1.0, None):
        whole, _, _ = run(data, Mixup(until=until), options=options)
        straight, _, _ = run(data, Mixup(), options=options)
        for one, other in zip(whole.parameters(), straight.parameters(), strict=True):
            assert torch.equal(one, other)
    short, _, _ = run(data, Mixup(), options=dataclasses.replace(options, max_epochs=2))
    assert any(not torch.equal(*pair) for pair in zip(early.parameters(), straight.parameters(), strict=True))
    assert any(not torch.equal(*pair) for pair in zip(early.parameters(), short.parameters(), strict=True))


def test_each_member_leaves_when_its_validation_loss_stops_gaining():
    options = dataclasses.replace(OPTIONS, max_epochs=200, patience=5, learning_rate=0.02)
    _, _, plain = run(make_data(), Mixup(), options=options)
    network, _, result = run(make_data(), Mixup(until="validation"), options=options)
    assert len(set(result.mixup_until.tolist())) > 1
    for m in range(MEMBERS):
        # mixup alone would have stopped there, and this one has as many epochs to gain anew
        assert result.mixup_until[m] == plain.n_epochs[m]
        since = max(result.best_epoch[m], result.mixup_until[m])
        assert result.n_epochs[m] == min(since + 5, 200)
        alone, _, own = run(
            make_data(members=slice(m, m + 1)), Mixup(until="validation"), options=options, members=slice(m, m + 1)
        )
        assert own.mixup_until.tolist() == [result.mixup_until[m]]
        for name, one in alone.state.items():
            torch.testing.assert_close(one[0], network.state[name][m], rtol=1e-3, atol=1e-4)


FIELDS = {
    "groups": Mixup(order=3, weights=FixedWeights(0.5)),
    "labels": Mixup(label_weights=BetaWeights(1.0)),
    "clean": Mixup(clean=0.5),
    "share": Mixup(at="input", until=0.5),
    "validation": Mixup(at="input", until="validation", clean=0.25),
    "embedding": preset("m-probmix", clean=0.5, until=0.5),
    "linear": Mixup(pool="linear", order=3, weights=FixedWeights(0.5)),
}


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("kind", ["gaussian", "poisson", "student-t", "classes"])
def test_estimators_have_every_field(kind, name):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    y = rng.poisson(np.exp(0.3 * x[:, 0])).astype(float)
    options = {"mixup": FIELDS[name], "n_members": 2, "max_epochs": 4, "random_state": 0, "batch_size": 16}
    if kind == "classes":
        model = DensityClassifier(**options, preset="plain").fit(x, (y > 0).astype(int))
    else:
        model = DensityRegressor(kind, **options, preset="plain").fit(x, y)
    assert np.isfinite(model.predict(x)).all()
    assert (model.mixup_until_ is None) == (FIELDS[name].until is None)


def test_how_long_members_mixed_is_saved(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    model = DensityRegressor(
        mixup=preset("probmix", until=0.5, clean=0.1), n_members=2, max_epochs=4, random_state=0, preset="plain"
    )
    model.fit(x, x[:, 0])
    assert model.mixup_until_.tolist() == [2, 2]
    model.save(tmp_path / "model")
    loaded = probmix.load(tmp_path / "model")
    assert loaded.mixup_until_.tolist() == [2, 2]
    assert loaded.mixup_ == model.mixup_


def test_integers_of_numpy_are_integers():
    mixup = Mixup(order=np.int64(3), draws=np.int32(2))
    assert (mixup.order, mixup.draws) == (3, 2)
    assert type(mixup.order) is type(mixup.draws) is int


def test_an_early_end_in_a_loop_of_ones_own():
    mixup = Mixup(until=0.5)

    def loss(mixup, progress=None):
        return mixup_loss(network(), "gaussian", X, Y, mixup, progress=progress, generator=generator(1))

    assert torch.equal(loss(mixup, 0.49), loss(Mixup()))
    assert torch.equal(loss(mixup, 0.5), loss("erm"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Mixup(order=1), "`order` must be an integer of at least 2; got 1."),
        (lambda: Mixup(order=2.0), "`order` must be an integer of at least 2; got 2.0."),
        (lambda: Mixup(clean=1), "`clean` must be a share of the loss, at least 0 and below 1; got 1. Use the preset "),
        (lambda: Mixup(clean="half"), "`clean` must be a share of the loss, at least 0 and below 1; got 'half'."),
        (lambda: Mixup(until=0), "`until` must be a share of the epochs above 0 and up to 1, 'validation', or None; "),
        (lambda: Mixup(until="epoch"), "`until` must be a share of the epochs above 0 and up to 1, 'validation', or "),
        (lambda: Mixup(label_weights=BetaWeights(), label_pool="calibrated"),
         "calibrated labels have the weights of the rows, and no `label_weights`; leave these out, or choose another "),
        (lambda: preset("erm", clean=0.5), "where rows are not mixed, at=None, `clean` has no meaning; got 0.5. "),
        (lambda: Mixup(at=None, order=3), "where rows are not mixed, at=None, `order` has no meaning; got 3. "),
        (lambda: mixup_loss(network(), "gaussian", X, Y, Mixup(until=0.5)),
         "until=0.5 needs `progress`, the share of the training that is done, from 0 to 1; got None."),
        (lambda: mixup_loss(network(), "gaussian", X, Y, Mixup(until=0.5), progress="half"),
         "until=0.5 needs `progress`, the share of the training that is done, from 0 to 1; got 'half'."),
        (lambda: mixup_loss(network(), "gaussian", X, Y, Mixup(until="validation")),
         "until='validation' is the estimators': a loop of your own knows its validation loss. Pass preset('erm'), "),
        (lambda: DensityRegressor(mixup=Mixup(until="validation"), patience=None, preset="plain").fit(X, Y),
         "until='validation' ends the mixing of a member that has not gained for `patience` epochs; got patience="),
        (lambda: DensityRegressor(mixup=Mixup(until="validation"), validation_fraction=0.0, preset="plain").fit(X, Y),
         "until='validation' ends the mixing of a member that has not gained for `patience` epochs, and no "
         "`validation` rows judge whether it has. Let some judge, or pass a share of the epochs, say until=0.5."),
        (lambda: mixup_loss(network(), "gaussian", X, Y, Mixup(order=3, weights=FixedWeights(0.5)),
                            partners=torch.tensor([1, 2])),
         "`partners` must be int64 row numbers from 0 to 5, for at most 6 rows 2 each; got torch.int64 of shape (2,)."),
    ],
)  # fmt: skip
def test_errors(call, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        call()
