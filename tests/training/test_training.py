"""Training members as one: each is what it would be alone, stops by itself, and survives being killed."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from training_cases import FEATURES, MEMBERS, OPTIONS, Killed, N, make_data, run, task_of

from probmix import families
from probmix.fusion import fuse_at
from probmix.mixup import Mixup, preset, preset_names
from probmix.networks import MLP, DensityNetwork, MemberMLP
from probmix.pairs import columns
from probmix.random import KeyedRandom, member_keys
from probmix.training import checkpoint
from probmix.training.batches import BatchSource
from probmix.training.data import target_scaler


def with_columns(data, **columns):
    return dataclasses.replace(data, rows=dataclasses.replace(data.rows, **columns))


def test_mlp_members_are_separate_networks():
    mlp = MemberMLP(3, (5, 4), 2, n_members=2)
    mlp.initialize_(KeyedRandom(member_keys(0, 2)), torch.zeros(2, 1, 2))
    x = torch.randn(2, 7, 3)
    out = mlp(x)
    for m in range(2):
        layers = []
        for layer in (*(hidden[0] for hidden in mlp.hidden), mlp.output):
            linear = nn.Linear(layer.weight.shape[1], layer.weight.shape[2])
            linear.weight.data, linear.bias.data = layer.weight[m].T, layer.bias[m, 0]
            layers += [linear, nn.ReLU()]
        torch.testing.assert_close(out[m], nn.Sequential(*layers[:-1])(x[m]))


def test_initial_weights_have_torchs_linear_law():
    mlp = MemberMLP(100, (50,), 1, n_members=3)
    mlp.initialize_(KeyedRandom(member_keys(0, 3)), torch.full((3, 1, 1), 7.0))
    weights = mlp.hidden[0][0].weight
    assert weights.abs().max() <= 0.1
    assert weights.std().item() == pytest.approx(0.1 / 3**0.5, rel=0.02)
    assert torch.equal(mlp.output.bias, torch.full((3, 1, 1), 7.0))
    assert not torch.equal(weights[0], weights[1])


def test_a_fresh_network_predicts_the_marginal_distribution():
    data = make_data()
    network = DensityNetwork(families.get("gaussian"), FEATURES, MLP(()), None, MEMBERS)
    family = network.family
    scaler = target_scaler(family, data)
    marginal = family.marginal_params(scaler.transform(data.rows.y[data.train_rows]), dim=1)
    network.initialize_(member_keys(0, MEMBERS), data.input_units(), marginal)
    nn.init.zeros_(network.trunk.output.weight)
    predicted = family.distribution(family.rescale(network(data.rows.x[:1]), scaler))
    for m in range(MEMBERS):
        y = data.rows.y[data.train_rows[m]]
        assert predicted.mean[m, 0].item() == pytest.approx(y.mean().item(), rel=1e-5)
        assert predicted.stddev[m, 0].item() == pytest.approx(y.std(correction=0).item(), rel=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
def test_features_are_standardised_over_each_members_rows(weighted):
    data = make_data(sample_weight=weighted)
    data = with_columns(data, x=torch.stack([data.rows.x, data.rows.x.flip(0) + 1], 1))
    units = data.input_units()
    for m in range(MEMBERS):
        rows = data.rows.x[data.unit_rows[m]]
        w = torch.ones(len(rows)) if data.rows.weight is None else data.rows.weight[data.unit_rows[m]]
        w = (w / w.sum() / 2).view(-1, 1, 1)
        mean = (w * rows).sum((0, 1))
        torch.testing.assert_close(units.loc[m, 0, 0], mean)
        torch.testing.assert_close(units.scale[m, 0, 0], (w * (rows - mean) ** 2).sum((0, 1)).sqrt())
    assert bool(units.limit.isinf().all())


def test_constant_features_keep_their_unit():
    for shape in ((N, FEATURES), (N, 2, FEATURES)):
        data = with_columns(make_data(), x=torch.full(shape, 1e6 + 0.1, dtype=torch.float64))
        scale = data.input_units().scale
        assert torch.equal(scale, torch.ones_like(scale))


METHODS = [
    *preset_names(),
    preset("probmix", label_pool="calibrated"),
    preset("manifold-mixup", label_pool="calibrated"),
    Mixup(at=("input", "hidden.0", "hidden.1", "output")),
    preset("probmix", pool="linear"),
    preset("m-probmix", pool="linear", label_pool="linear"),
    preset("m-probmix", at="hidden.1", embedding="gaussian-constant", draws=3, criterion="log-expected"),
    preset("local-m-probmix", draws=0),
]


@pytest.mark.parametrize("place", ["hidden.0", "hidden.1", "embedding"])
def test_points_may_as_well_be_mixed_behind_the_next_linear_layer(place):
    """Where the network averages fewer numbers, it computes what `fuse_at` does at the layer itself."""
    data = make_data()
    network, _, _ = run(data)
    partners, share = KeyedRandom(member_keys(2, MEMBERS)).permutations(N), torch.rand(MEMBERS, N)
    weights = torch.stack([1 - share, share], -1)
    with fuse_at(network.trunk, "hidden.0" if place == "embedding" else place, partners, weights):
        expected = network(data.rows.x)
    torch.testing.assert_close(
        network.fused(data.rows.x, place, partners, weights, None), expected, rtol=1e-4, atol=1e-4
    )


def test_draws_that_go_on_as_rows_are_those_of_single_passes():
    data = make_data()
    network, _, _ = run(data, preset("m-probmix", at="hidden.1"))
    noise = network.draw_noise(member_keys(0, MEMBERS), 5)
    expected = super(DensityNetwork, network).draws(data.rows.x, noise)
    torch.testing.assert_close(network.draws(data.rows.x, noise), expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(expected[:, 0], expected[:, 1])
    assert not any(module._forward_hooks for module in network.modules())


def test_a_separate_variance_network_halves_the_first_hidden_layer():
    star = preset("m-probmix-star")
    network = DensityNetwork(families.get("gaussian"), 13, MLP((128, 32)), None, 2, star.embedding)
    plain = DensityNetwork(families.get("gaussian"), 13, MLP((128, 32)), None, 2)
    assert network.trunk.sizes == (64, 32)
    assert network.embedding.output.weight.shape == (2, 64, 64)
    count = [sum(parameter.numel() for parameter in one.parameters()) for one in (network, plain)]
    assert 0.7 < count[0] / count[1] < 1.5


@pytest.mark.parametrize("batch_size", [None, 16])
@pytest.mark.parametrize("mixup", METHODS, ids=str)
def test_a_member_of_a_joint_run_is_the_member_alone(mixup, batch_size):
    options = dataclasses.replace(OPTIONS, batch_size=batch_size)
    joint, _, joint_result = run(make_data(), mixup, options=options)
    one = slice(2, 3)
    alone, _, alone_result = run(make_data(members=one), mixup, options=options, members=one)
    for a, b in zip(joint.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(a[one], b, rtol=0, atol=1e-4)
    assert joint_result.best_epoch[2] == alone_result.best_epoch[0]


@pytest.mark.parametrize("family", ["gaussian", "gamma", "poisson"])
@pytest.mark.parametrize("several", [False, True])
def test_training_lowers_the_validation_score(family, several):
    data = make_data(family, several=several)
    _, _, result = run(data, "probmix", family, dataclasses.replace(OPTIONS, max_epochs=60, patience=None))
    assert (result.validation_curve.min(0) < result.validation_curve[0] - 0.02).all()


def test_validation_curve_is_in_the_users_units():
    data = make_data()
    network, scaler, result = run(data)
    family, learned = network.family, result.best_epoch.nonzero()[0]
    assert len(learned) >= 2  # the others kept the marginal distribution, from which they started
    for m in learned:
        rows = data.validation_rows[m]
        eta = family.rescale(network(data.rows.x[rows].expand(MEMBERS, -1, -1)), scaler)[m]
        nll = -family.distribution(eta).log_prob(data.rows.y[rows]).mean()
        assert nll.item() == pytest.approx(result.validation_curve[result.best_epoch[m] - 1, m], abs=1e-4)


def test_members_stop_by_themselves_and_keep_their_best_weights():
    options = dataclasses.replace(OPTIONS, max_epochs=200, patience=3)
    _, _, result = run(make_data(), options=options)
    epochs = len(result.validation_curve)
    assert epochs < 200
    assert result.best_epoch.max() == epochs - 3  # the last to stop
    learned = result.best_epoch.nonzero()[0]
    assert len(learned) >= 2
    for m, best in zip(learned, result.best_epoch[learned], strict=True):
        until_stop = result.validation_curve[: best + 3, m]
        assert until_stop.argmin() == best - 1


def test_without_validation_rows_the_last_epoch_counts():
    _, _, result = run(make_data(n_validation=0))
    assert result.validation_curve.shape == (12, 0)
    assert (result.best_epoch == 12).all()


@pytest.mark.parametrize("mixup", ["erm", "mixup", "probmix"])
def test_weights_that_are_equal_change_nothing(mixup):
    plain, _, _ = run(make_data(), mixup)
    data = with_columns(make_data(), weight=torch.full((N,), 3.0, dtype=torch.float64))
    weighted, _, _ = run(data, mixup)
    for a, b in zip(plain.parameters(), weighted.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5)


@pytest.mark.parametrize("batch_size", [None, 16])
def test_neighbours_of_a_batch_are_neighbours_among_the_members_training_rows(batch_size):
    data = make_data()
    network = DensityNetwork(families.get("gaussian"), FEATURES, MLP(()), None, MEMBERS)
    for name, value in vars(data.input_units()).items():
        getattr(network, name).copy_(value)
    task = task_of(data, "local-probmix", options=dataclasses.replace(OPTIONS, batch_size=batch_size))
    source = BatchSource(task, network, KeyedRandom(task.keys))
    for batch in source.epoch(1, KeyedRandom(member_keys(0, MEMBERS))):
        for m in range(MEMBERS):
            rows = network.standardize(data.rows.x[data.train_rows[m]].expand(MEMBERS, -1, -1))[m]
            (term,) = batch.terms
            size = term.groups.partners.shape[1]
            chosen = network.standardize(batch.inputs.x)[m]
            distance = torch.cdist(chosen[:size], rows).sort(1).values
            to_partner = (chosen[:size] - chosen[term.groups.partners[m].squeeze(-1)]).norm(dim=1)
            assert (to_partner > 0).all()
            assert (to_partner <= distance[:, 5] * (1 + 1e-4)).all()


@pytest.mark.parametrize("batch_size", [None, 16])
def test_uniform_partners_stay_in_their_batch_and_every_row_is_one(batch_size):
    data, family = make_data(), families.get("gaussian")
    scaler = target_scaler(family, data)
    network = DensityNetwork(family, FEATURES, MLP(()), None, MEMBERS)
    task = task_of(data, "probmix", options=dataclasses.replace(OPTIONS, batch_size=batch_size))
    source = BatchSource(task, network, KeyedRandom(task.keys))
    sizes, shifts = [], set()
    for epoch in range(1, 40):
        for batch in source.epoch(epoch, KeyedRandom(member_keys(0, MEMBERS))):
            x, (term,) = batch.inputs.x, batch.terms
            sizes.append(x.shape[1])
            _, partners = columns(x, term.groups.partners, 1)
            for m in range(MEMBERS):
                assert torch.equal(partners[m].unique(dim=0), x[m].unique(dim=0))
                # targets and features of a row and of its partner belong together
                known = {tuple(one.tolist()): y.item() for one, y in zip(data.rows.x, data.rows.y, strict=True)}
                rows = torch.stack([x[m], partners[m]], 1)
                pairs = term.targets[m] * scaler.scale[m] + scaler.loc[m]
                expected = [[known[tuple(one.tolist())] for one in pair] for pair in rows]
                torch.testing.assert_close(pairs, torch.tensor(expected, dtype=torch.float64))
            shifts.update(term.groups.partners)
        assert set(sizes) == ({70} if batch_size is None else {14})
    assert shifts == set(range(14)) if batch_size else len(shifts) > 25


@pytest.mark.parametrize("mixup", ["erm", "local-probmix", Mixup(until="validation")])
def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path, monkeypatch, mixup):
    monkeypatch.setattr(checkpoint, "_SECONDS_BETWEEN", 0.0)
    path = tmp_path / "folder" / "run.safetensors"
    options = dataclasses.replace(OPTIONS, checkpoint=path)
    straight, _, straight_result = run(make_data(), mixup)
    write = checkpoint.Checkpoint.write
    for kill_after in (3, 5):
        written = []

        def write_then_kill(self, state, written=written, kill_after=kill_after):
            write(self, state)
            written.append(1)
            if len(written) == kill_after:
                raise Killed

        monkeypatch.setattr(checkpoint.Checkpoint, "write", write_then_kill)
        with pytest.raises(Killed):
            run(make_data(), mixup, options=options)
        assert path.exists()
    monkeypatch.setattr(checkpoint.Checkpoint, "write", write)
    resumed, _, resumed_result = run(make_data(), mixup, options=options)
    for a, b in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)
    assert np.array_equal(straight_result.validation_curve, resumed_result.validation_curve, equal_nan=True)
    assert np.array_equal(straight_result.training_curve, resumed_result.training_curve, equal_nan=True)
    assert np.array_equal(straight_result.mixup_until, resumed_result.mixup_until)
    assert not path.exists()
    assert list(path.parent.iterdir()) == []


def test_a_checkpoint_of_another_version_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "_SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr(checkpoint.Checkpoint, "remove", lambda self: None)
    options = dataclasses.replace(OPTIONS, checkpoint=tmp_path / "run.safetensors")
    monkeypatch.setattr(checkpoint, "_FORMAT", "1")
    run(make_data(), options=options)
    monkeypatch.undo()
    with pytest.raises(
        ValueError, match=r"^the checkpoint '.*' was written by another version of probmix\. Remove it, or"
    ):
        run(make_data(), options=options)


def test_a_checkpoint_of_other_data_or_settings_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "_SECONDS_BETWEEN", 0.0)
    path = tmp_path / "run.safetensors"
    monkeypatch.setattr(checkpoint.Checkpoint, "remove", lambda self: None)
    run(make_data(), options=dataclasses.replace(OPTIONS, checkpoint=path))
    message = r"^the checkpoint '.*run\.safetensors' belongs to other data or settings\. Remove it, or choose another"
    with pytest.raises(ValueError, match=message):
        run(make_data(), "probmix", options=dataclasses.replace(OPTIONS, checkpoint=path))
    with pytest.raises(ValueError, match=message):
        run(make_data(family="poisson"), options=dataclasses.replace(OPTIONS, checkpoint=path))


def test_diverged_training_is_an_error():
    options = dataclasses.replace(OPTIONS, learning_rate=1e30)
    with pytest.raises(RuntimeError, match=r"^training diverged: the loss of 4 of 4 members ceased to be a finite"):
        run(make_data(), options=options)
    with pytest.raises(RuntimeError, match=r"^training diverged"):
        run(make_data(n_validation=0), options=options)


def test_no_epoch_worse_than_the_start_is_kept():
    """A rate that is much too high throws the weights away; what is left is close to the marginal distribution."""
    network, scaler, result = run(make_data(), options=dataclasses.replace(OPTIONS, learning_rate=30.0))
    assert (result.best_epoch == 0).all()
    data = make_data()
    predicted = network.family.distribution(network.family.rescale(network(data.rows.x), scaler))
    nll = -predicted.log_prob(data.rows.y).mean(1)
    marginal = torch.distributions.Normal(data.rows.y.mean(), data.rows.y.std())
    assert (nll < -marginal.log_prob(data.rows.y).mean() + 0.3).all()


@pytest.mark.parametrize("unit", [1e-150, 1e150])
def test_features_in_extreme_units(unit):
    data = make_data()
    network, _, _ = run(with_columns(data, x=data.rows.x * unit))
    plain, _, _ = run(data)
    torch.testing.assert_close(network(data.rows.x * unit), plain(data.rows.x), rtol=1e-3, atol=1e-3)


def test_numbers_beyond_float64_are_an_error_before_training():
    x = make_data().rows.x - 2000
    data = with_columns(make_data(), x=x * (1.7e308 / x.abs().max()))
    with pytest.raises(ValueError, match=r"^X holds numbers whose sum overflows; divide by a power of ten\.$"):
        run(data)


@pytest.mark.cuda
@pytest.mark.parametrize("mixup", METHODS, ids=str)
def test_cuda_trains_the_same_members(mixup):
    mixup = mixup if isinstance(mixup, Mixup) else preset(mixup)
    # the noise of embeddings comes from the generator of the device
    mixup = dataclasses.replace(mixup, draws=0)
    network, _, _ = run(make_data().to(torch.device("cuda")), mixup)
    cpu, _, _ = run(make_data(), mixup)
    for a, b in zip(network.parameters(), cpu.parameters(), strict=True):
        torch.testing.assert_close(a.cpu(), b, rtol=0, atol=1e-3)
