"""The share of the marginal in what is predicted where the preset chooses the families."""

import json
import pickle

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from scipy.integrate import quad
from scipy.special import logsumexp
from sklearn.model_selection import KFold

from probmix import DensityClassifier, DensityRegressor, load

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

QUICK = {"n_members": 2, "max_epochs": 3, "hidden_layer_sizes": (8,), "random_state": 0}
RNG = np.random.default_rng(0)
N = 120
X = RNG.normal(size=(N, 2))
SHIFT = X[:, 0] + 0.3 * RNG.normal(size=N)
EXPOSURE = RNG.uniform(5, 10, N)
ZEROS = np.where(RNG.uniform(size=N) < 0.4, 0.0, 1.0)
TARGETS = {
    "real": SHIFT,
    "positive": np.exp(SHIFT),
    "totals": np.exp(SHIFT) * ZEROS,
    "shares": 1 / (1 + np.exp(-SHIFT)),
    "counts": RNG.poisson(np.exp(SHIFT)).astype(float),
    "exposed": RNG.poisson(EXPOSURE * np.exp(SHIFT)).astype(float),
    "binary": (SHIFT > 0).astype(float),
    "two": np.stack([SHIFT, -SHIFT], 1),
}
# Targets that are far from all others, of those that there can be.
FAR = {"real": [40.0, -40.0], "positive": [1e3, 1e-6], "totals": [1e3, 1e-6], "counts": [300.0], "exposed": [5e3]}


def fitted(kind, **settings):
    given = {"exposure": EXPOSURE} if kind == "exposed" else {}
    return DensityRegressor(**QUICK | settings).fit(X, TARGETS[kind], **given), given


def rows(kind, y):
    """Rows with these targets, as arguments of `log_prob`."""
    exposure = {"exposure": EXPOSURE[: len(y)]} if kind == "exposed" else {}
    return (X[: len(y)], y), exposure


def log_marginal(model, kind, y):
    """What the marginal says of the same rows."""
    units = torch.tensor(EXPOSURE[: len(y)] / EXPOSURE.mean()).log() if kind == "exposed" else None
    return model.marginal_.dist(len(y), units).log_prob(torch.tensor(y)).numpy()


@pytest.mark.parametrize("kind", TARGETS)
def test_a_prediction_is_the_mixture_of_candidates_and_one_density_for_all_rows(kind):
    model, _ = fitted(kind)
    share = model.marginal_.share
    assert share == 1 / (N + 1)
    args, exposure = rows(kind, TARGETS[kind][:9])
    weights = model.stack_["weight"].to_numpy()
    assert weights.sum() == pytest.approx(1)
    networks = weights @ np.exp([one.log_prob(*args, **exposure) for one in model.candidates_])
    expected = np.log((1 - share) * networks + share * np.exp(log_marginal(model, kind, args[1])))
    np.testing.assert_allclose(model.log_prob(*args, **exposure), expected, rtol=1e-9)


@pytest.mark.parametrize("kind", FAR)
@pytest.mark.parametrize("preset", ["fast", "default"])
def test_no_target_costs_much_more_than_under_the_marginal_and_none_a_whole_share_more_than_without(kind, preset):
    model, _ = fitted(kind, preset=preset)
    y = np.array([*FAR[kind], *TARGETS[kind][:5]])
    args, exposure = rows(kind, y)
    cost = -model.log_prob(*args, **exposure)
    assert np.isfinite(cost).all()
    assert (cost <= np.log(N + 1) - log_marginal(model, kind, y) + 1e-9).all()
    weights = model.stack_["weight"].to_numpy()
    log_prob = [one.log_prob(*args, **exposure) for one in model.candidates_]
    networks = -logsumexp(log_prob, axis=0, b=weights[:, None])
    assert (cost <= networks + np.log(1 + 1 / N) + 1e-9).all()


def test_the_marginal_is_a_density_of_the_targets():
    model, _ = fitted("real")
    one = model.marginal_.dist(1, None)
    assert quad(lambda y: one.log_prob(torch.tensor([y])).exp().item(), -30, 30, limit=200)[0] == pytest.approx(1)
    assert one.mean.item() == pytest.approx(SHIFT.mean(), abs=0.05)
    assert one.stddev.item() == pytest.approx(SHIFT.std(), rel=0.1)


def test_the_marginal_of_counts_is_one_rate_for_all_exposures():
    model, _ = fitted("exposed")
    rate = TARGETS["exposed"].sum() / EXPOSURE.sum()
    exposures = torch.tensor([0.5, 1.0, 20.0], dtype=torch.float64)
    found = model.marginal_.dist(3, exposures.log() - model.log_exposure_unit_).mean
    np.testing.assert_allclose(found, rate * exposures, rtol=1e-3)
    # without exposures a prediction is that of one unit
    y = np.array([3.0, 50.0])
    np.testing.assert_allclose(
        model.log_prob(X[:2], y, exposure=[1.0, 1.0]), model.predict_dist(X[:2]).log_prob(torch.tensor(y)), rtol=1e-12
    )


def test_rows_of_weight_zero_have_no_part_in_it():
    weight = np.where(np.arange(N) < 40, 0.0, RNG.uniform(0.5, 2, N))
    model = DensityRegressor(**QUICK).fit(X, SHIFT, sample_weight=weight)
    alone = DensityRegressor(**QUICK).fit(X[40:], SHIFT[40:], sample_weight=weight[40:])
    assert model.marginal_.n_rows == N - 40
    # a whole weight is that many equal rows
    counted = DensityRegressor(**QUICK).fit(X, SHIFT, sample_weight=np.where(np.arange(N) < 40, 0, 3))
    assert counted.marginal_.n_rows == 3 * (N - 40)
    np.testing.assert_allclose(model.marginal_.eta, alone.marginal_.eta, rtol=1e-9)
    np.testing.assert_array_equal(np.isnan(model.oof_log_prob_), weight == 0)


@pytest.mark.parametrize("kind", TARGETS)
def test_out_of_fold_densities_have_the_same_share(kind):
    model, _ = fitted(kind)
    share = model.marginal_.share
    log_prob = np.stack([one.oof_log_prob_ for one in model.candidates_])
    networks = model.stack_["weight"].to_numpy() @ np.exp(log_prob)
    expected = np.log((1 - share) * networks + share * np.exp(model.marginal_.out_of_fold.log_prob))
    np.testing.assert_allclose(model.oof_log_prob_, expected, rtol=1e-9)
    found = model.oof_dist().log_prob(torch.tensor(TARGETS[kind]))
    np.testing.assert_allclose(found, model.oof_log_prob_, rtol=1e-9, atol=1e-12)


def test_out_of_fold_it_is_a_rate_by_the_exposure_of_the_row():
    model, _ = fitted("exposed", n_members=3)
    rate = TARGETS["exposed"].sum() / EXPOSURE.sum()
    first = model.candidates_[int(model.stack_["weight"].argmax())]
    found = first._pooled(model.marginal_.out_of_fold.params(torch.device("cpu"))).mean
    # each fold has a rate of its own, a little off
    np.testing.assert_allclose(found / torch.tensor(EXPOSURE), np.full(N, rate), rtol=0.25)


def test_out_of_fold_it_has_the_family_with_the_most_weight():
    # one round, in which all candidates are
    model, _ = fitted("positive", max_epochs=1)
    family = model.stack_["family"]
    assert family.nunique() == 2
    heavy = int(model.stack_["weight"].argmax())
    light = int(family.ne(family[heavy]).argmax())
    model.stack_ = model.stack_.assign(
        weight=[{heavy: 0.7, light: 0.3}.get(place, 0.0) for place in range(len(family))]
    )
    found = model.oof_dist().log_prob(torch.tensor(TARGETS["positive"]))
    np.testing.assert_allclose(found, model.oof_log_prob_, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", ["real", "exposed", "two"])
def test_files_and_pickles_have_it(kind, tmp_path):
    model, given = fitted(kind)
    model.save(tmp_path / "model.safetensors")
    for again in (load(tmp_path / "model.safetensors"), pickle.loads(pickle.dumps(model))):
        assert again.marginal_.n_rows == N
        assert again.marginal_.family == model.marginal_.family
        np.testing.assert_array_equal(
            again.log_prob(X, TARGETS[kind], **given), model.log_prob(X, TARGETS[kind], **given)
        )
        np.testing.assert_array_equal(again.oof_log_prob_, model.oof_log_prob_)


def test_files_from_before_it_predict_what_they_did(tmp_path):
    model, _ = fitted("real")
    model.save(tmp_path / "new.safetensors")
    with safe_open(tmp_path / "new.safetensors", "pt") as file:
        metadata = file.metadata()
        names = file.keys()  # the file itself cannot be iterated over
        tensors = {name: file.get_tensor(name) for name in names if not name.startswith("marginal.")}
    header = json.loads(metadata["estimator"])
    del header["marginal"]
    save_file(tensors, tmp_path / "old.safetensors", metadata | {"estimator": json.dumps(header)})
    old = load(tmp_path / "old.safetensors")
    assert old.marginal_ is None
    networks = old.stack_["weight"].to_numpy() @ np.exp([one.log_prob(X, SHIFT) for one in old.candidates_])
    np.testing.assert_allclose(old.log_prob(X, SHIFT), np.log(networks), rtol=1e-9)


def test_of_other_rows_that_judge_it_knows_nothing():
    weight = np.r_[np.zeros(10), np.ones(70)]
    model = DensityRegressor(**QUICK).fit(
        X[:80], SHIFT[:80], sample_weight=weight, X_val=X[80:], y_val=1e3 * SHIFT[80:] + 500
    )
    assert model.marginal_.n_rows == 70
    assert model.marginal_.dist(1).mean.item() == pytest.approx(SHIFT[10:80].mean(), abs=0.05)
    assert model.marginal_.out_of_fold is None
    assert np.isfinite(model.log_prob(X, SHIFT + 50)).all()
    with pytest.raises((ValueError, AttributeError), match="out-of-fold"):
        model.oof_dist()


@pytest.mark.parametrize(
    ("settings", "judges"),
    [({}, 40), ({"validation": "last"}, 0), ({"validation": KFold(2)}, 40), ({"n_members": 1}, 0)],
    ids=["folds", "last", "splits", "one"],
)
def test_rows_are_those_of_the_user_however_many_are_equal(settings, judges):
    cells = RNG.integers(0, 2, (400, 1)).astype(float)
    y = (RNG.uniform(size=400) < 0.1 + 0.8 * cells[:, 0]).astype(float)
    model = DensityRegressor(**QUICK | settings).fit(cells, y)
    assert model.marginal_.n_rows == 400
    assert model.marginal_.dist(1).mean.item() == pytest.approx(y.mean(), rel=1e-3)
    assert (model.marginal_.out_of_fold is not None) == hasattr(model.candidates_[0], "out_of_fold_")
    if judges:
        assert len(model.oof_log_prob_) == 400


def test_out_of_fold_a_row_is_judged_by_the_targets_of_the_others():
    y = SHIFT.copy()
    y[7] = 40.0
    splits = [(np.arange(N)[np.arange(N) % 4 != fold], np.arange(N)[np.arange(N) % 4 == fold]) for fold in range(4)]
    model = DensityRegressor(**QUICK | {"n_members": 4, "validation": splits}).fit(X, y)
    others = DensityRegressor(**QUICK).fit(X[splits[3][0]], y[splits[3][0]])
    found = model.marginal_.out_of_fold.log_prob[splits[3][1]]
    expected = others.marginal_.dist(len(found)).log_prob(torch.tensor(y[splits[3][1]]))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    # of all targets it has learned the outlier by heart
    assert found[1] < -200 < -50 < model.marginal_.dist(1).log_prob(torch.tensor([40.0])).item()
    assert model.oof_log_prob_[7] < -200


@pytest.mark.parametrize("family", ["gaussian-mixture", ["gaussian", "student-t"], "auto"])
def test_families_that_are_set_are_left_alone(family):
    model = DensityRegressor(family, "erm", **QUICK).fit(X, SHIFT)
    assert getattr(model, "marginal_", None) is None
    if hasattr(model, "stack_"):
        networks = model.stack_["weight"].to_numpy() @ np.exp([one.log_prob(X, SHIFT) for one in model.candidates_])
        np.testing.assert_allclose(model.log_prob(X, SHIFT), np.log(networks), rtol=1e-9)


def test_what_a_preset_sets_without_looking_at_the_targets_is_left_alone():
    model = DensityRegressor(mixup=["erm", "probmix"], preset="plain", **QUICK).fit(X, SHIFT)
    assert len(model.candidates_) == 2
    assert model.marginal_ is None


def test_classes_have_none():
    model = DensityClassifier(mixup=["erm", "probmix"], **QUICK).fit(X, SHIFT > 0)
    assert model.marginal_ is None


def test_a_mixture_has_no_natural_parameters():
    model, _ = fitted("counts")
    with pytest.raises(ValueError, match=r"candidates_\[k\]"):
        model.predict_natural_params(X)
    assert model.candidates_[0].predict_natural_params(X).shape[-2] == N
