"""Fits of all specifications: members, predictions, files, killed runs."""

import numpy as np
import pytest
import torch
from parts_cases import SPECS, with_layers
from training_cases import FEATURES, MEMBERS, make_data, task_of

import probmix
from probmix import DensityClassifier, DensityRegressor, families
from probmix.mixup import Mixup, preset
from probmix.networks import DensityNetwork, SharedMLP
from probmix.training import TrainingOptions, checkpoint, train

rng = np.random.default_rng(0)
X = rng.normal(size=(70, 3))
Y = np.sin(X[:, 0]) + 0.1 * rng.normal(size=70)
FAST = {"max_epochs": 3, "random_state": 0, "batch_size": 16, "learning_rate": 0.02, "n_draws": 3}
PRESETS = ["erm", "probmix", "m-probmix", "manifold-mixup"]
OPTIONS = TrainingOptions(max_epochs=4, batch_size=16, patience=2)


@pytest.mark.parametrize(("name", "mixup"), with_layers(SPECS, PRESETS))
def test_a_member_of_a_joint_run_is_the_member_alone(name, mixup):
    joint, _, result = run_spec(make_data(), name, mixup)
    alone, _, own = run_spec(make_data(members=slice(2, 3)), name, mixup, members=slice(2, 3))
    for key, value in joint.state.items():
        torch.testing.assert_close(alone.state[key][0], value[2], rtol=2e-3, atol=2e-4)
    assert result.best_epoch[2] == own.best_epoch[0]


def run_spec(data, name, mixup, members=slice(None)):
    task = task_of(data, mixup, options=OPTIONS, members=members)
    place = task.mixup.layers[0] if task.mixup.layers else "embedding"
    network = DensityNetwork(
        task.objective.family, FEATURES, SPECS[name], None, len(task.keys), task.mixup.embedding, place
    )
    scaler, result = train(network, task)
    return network, scaler, result


@pytest.mark.parametrize(("name", "mixup"), with_layers(SPECS, [*PRESETS, "mixup"]))
def test_every_specification_fits_saves_and_loads(name, mixup, tmp_path):
    before = torch.get_rng_state()
    model = DensityRegressor(network=SPECS[name], mixup=mixup, n_members=2, **FAST, preset="plain").fit(X, Y)
    again = DensityRegressor(network=SPECS[name], mixup=mixup, n_members=2, **FAST, preset="plain").fit(X, Y)
    assert torch.equal(torch.get_rng_state(), before)
    model.save(tmp_path / "model")
    loaded = probmix.load(tmp_path / "model")
    assert loaded.network == SPECS[name]
    for other in (again, loaded):
        assert np.array_equal(other.log_prob(X, Y), model.log_prob(X, Y))
    draws = 3 if mixup == "m-probmix" else 1
    shape = (2, SPECS[name].n_predictions * draws, len(X), 2)
    assert model._component_params(X).shape == shape
    assert np.isfinite(model.log_prob(X, Y)).all()


def test_a_prediction_of_a_shared_perceptron_is_the_mixture_of_its_predictions():
    spec = SharedMLP((8,), k=3)
    model = DensityRegressor(network=spec, n_members=2, **FAST | {"max_epochs": 10}, preset="plain").fit(X, Y)
    eta = model.predict_natural_params(X)
    assert eta.shape == (2, 3, 70, 2)
    assert bool((eta.std(1) > 0).any())
    family = families.get("gaussian")
    log_prob = family.distribution(eta).log_prob(torch.tensor(Y)).exp().mean((0, 1)).log()
    np.testing.assert_allclose(model.log_prob(X, Y), log_prob, rtol=1e-10)
    model.set_params(pool="log-linear")
    log_prob = family.distribution(eta.mean(0)).log_prob(torch.tensor(Y)).exp().mean(0).log()
    np.testing.assert_allclose(model.log_prob(X, Y), log_prob, rtol=1e-10)


def test_rows_judge_the_mixture_of_predictions():
    network, scaler, _ = run_spec(make_data(), "shared, embedding", "erm")
    task = task_of(make_data(), "erm", options=OPTIONS)
    found = task.validation_loss(network, None)
    eta = network(task.data.rows.x).unflatten(0, (MEMBERS, 2))
    for m in range(MEMBERS):
        rows = task.data.validation_rows[m]
        family, own = families.get("gaussian"), families.TargetScaler(scaler.loc[m], scaler.scale[m])
        density = (
            family.distribution(family.rescale(eta[m][:, rows], own)).log_prob(task.data.rows.y[rows]).exp().mean(0)
        )
        torch.testing.assert_close(found[m], -density.log().mean(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["shared", "resnet", "mlp, embedding"])
def test_out_of_fold_exposures_crps_and_classes(name):
    counts = rng.poisson(np.exp(X[:, 0]))
    settings = FAST | {"network": SPECS[name], "n_members": 3, "validation": "folds"}
    exposure = np.linspace(0.5, 2, 70)
    model = DensityRegressor("poisson", **settings, preset="plain").fit(X, counts, exposure=exposure)
    assert np.isfinite(model.oof_log_prob_).all()
    twice = model.predict(X, exposure=2 * exposure)
    np.testing.assert_allclose(twice, 2 * model.predict(X, exposure=exposure), rtol=1e-9)
    assert np.isfinite(DensityRegressor(loss="crps", **settings, preset="plain").fit(X, Y).oof_log_prob_).all()
    classes = DensityClassifier(**settings, preset="plain").fit(X, Y > 0)
    np.testing.assert_allclose(classes.predict_proba(X).sum(1), 1)


@pytest.mark.parametrize("mixup", ["meta-mixup", "probmix", "m-probmix"])
def test_learned_weights_and_rows_without_labels(mixup):
    model = DensityRegressor(network=SPECS["shared"], mixup=mixup, n_members=2, **FAST, preset="plain")
    model.fit(X, Y, X_unlabelled=rng.normal(size=(30, 3)))
    assert np.isfinite(model.log_prob(X, Y)).all()


def test_rescaled_predictions_of_a_shared_perceptron():
    mixup = preset("mixup", rescale=True)
    model = DensityRegressor(network=SPECS["shared"], mixup=mixup, n_members=2, **FAST, preset="plain").fit(X, Y)
    z, centre, theta = model.network_.standardize(torch.tensor(X)), model.rescaling_.centre, model.rescaling_.theta_bar
    eta = model.network_.on_standardized(centre + theta * (z - centre))
    marginal = model.rescaling_.marginal.repeat_interleave(3, 0)
    stretched = model.family_.stretch(eta, marginal, 1 / theta).view(2, 3 * 70, 2)
    expected = model.family_.rescale(stretched, model.scaler_).view(2, 3, 70, 2)
    torch.testing.assert_close(model.predict_natural_params(X), expected)


def test_the_quadratic_criterion_is_refused_with_several_predictions():
    mixup = Mixup(at="input", criterion="quadratic")
    with pytest.raises(
        ValueError,
        match=r"^criterion='quadratic' expands the loss of one prediction for each row, and SharedMLP makes 3\. Use ",
    ):
        DensityRegressor(network=SPECS["shared"], mixup=mixup, **FAST, preset="plain").fit(X, Y)


@pytest.mark.parametrize(
    ("name", "at", "message"),
    [
        (
            "mlp",
            "hiden.0",
            r"^unknown layer 'hiden\.0'; did you mean 'hidden\.0' or 'hidden\.1\.0'",
        ),
        ("resnet", "block.0", r"^unknown layer 'block\.0'; did you mean 'blocks\.0'"),
        ("mlp", "input_embedding", r"^unknown layer 'input_embedding'"),
    ],
)
def test_layers_are_checked_by_name(name, at, message):
    with pytest.raises(ValueError, match=message):
        DensityRegressor(network=SPECS[name], mixup=Mixup(at=at), **FAST, preset="plain").fit(X, Y)


@pytest.mark.parametrize("name", ["mlp, dropout", "shared", "mlp, bins"])
def test_a_killed_fit_goes_on(name, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "_SECONDS_BETWEEN", 0.0)
    settings = FAST | {"network": SPECS[name], "n_members": 2, "mixup": "m-probmix"}
    straight = DensityRegressor(**settings, preset="plain").fit(X, Y)
    model = DensityRegressor(checkpoint=tmp_path / "run", **settings, preset="plain")
    write, written = checkpoint.Checkpoint.write, []

    def write_then_kill(self, state):
        write(self, state)
        written.append(1)
        raise SystemExit

    monkeypatch.setattr(checkpoint.Checkpoint, "write", write_then_kill)
    with pytest.raises(SystemExit):
        model.fit(X, Y)
    monkeypatch.setattr(checkpoint.Checkpoint, "write", write)
    assert np.array_equal(model.fit(X, Y).log_prob(X, Y), straight.log_prob(X, Y))
    assert written == [1]
