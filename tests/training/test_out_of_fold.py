"""What members say of the rows that they were not trained by."""

import numpy as np
import pytest
import torch
from sklearn.model_selection import GroupKFold, KFold, TimeSeriesSplit

import probmix
from probmix import DensityClassifier, DensityRegressor
from probmix.training import loop

FAST = {"max_epochs": 6, "hidden_layer_sizes": (8, 4), "random_state": 0, "learning_rate": 0.02}


@pytest.fixture
def subjects():
    """Measurements of subjects who have features, and a level, of their own."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 10)
    X = rng.normal(size=(40, 10))[groups]
    return X, X[:, 0] + rng.normal(size=40)[groups] + 0.1 * rng.normal(size=400), groups


@pytest.fixture
def noise():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(203, 3))
    return X, X[:, 0] + rng.normal(size=203)


@pytest.mark.parametrize("mixup", ["erm", "m-probmix"])
@pytest.mark.parametrize("family", ["gaussian", "poisson"])
def test_out_of_fold_densities_are_those_of_the_member_that_has_not_seen_the_row(noise, mixup, family, monkeypatch):
    X, y = noise
    y = y if family == "gaussian" else np.floor(np.exp(y))
    exposure = None if family == "gaussian" else np.random.default_rng(1).uniform(0.5, 2, len(y))
    kept = {} if exposure is None else {"exposure": exposure}
    # the curve knows nothing of the floor of the scale, which is raised when training is over
    monkeypatch.setattr(loop, "raise_floors_", lambda *_: None)
    model = DensityRegressor(family, mixup, validation="folds", n_members=5, n_draws=3, **FAST, preset="plain").fit(
        X, y, **kept
    )
    components = model._component_params(X, exposure)
    target = torch.from_numpy(y)
    by_member = torch.stack([
        model._pooled(components[m : m + 1]).log_prob(target) for m in range(5)
    ]).numpy()  # fmt: skip
    is_own = np.isclose(by_member, model.oof_log_prob_, rtol=1e-9)
    assert (is_own.sum(0) == 1).all()
    assert np.ptp(is_own.sum(1)) <= 1
    # each fold is that by which the member was judged
    for m in range(5):
        judged = model.validation_curve_[model.best_epoch_[m] - 1, m]
        if mixup == "erm":
            assert -by_member[m][is_own[m]].mean() == pytest.approx(judged, abs=2e-4)
    distribution = model.oof_dist()
    assert distribution.batch_shape == (len(y),)
    np.testing.assert_allclose(distribution.log_prob(target).numpy(), model.oof_log_prob_, rtol=1e-12)


def test_out_of_fold_densities_of_classes_and_of_several_targets(noise):
    X, y = noise
    names = np.where(y > 0.5, "high", "low")
    model = DensityClassifier(validation="folds", n_members=3, **FAST, preset="plain").fit(X, names)
    probs = model.oof_dist().probs.numpy()
    np.testing.assert_allclose(
        model.oof_log_prob_, np.log(probs[np.arange(len(y)), np.searchsorted(model.classes_, names)])
    )
    both = DensityRegressor(validation="folds", n_members=3, **FAST, preset="plain").fit(X, np.stack([y, -y], 1))
    assert both.oof_dist().mean.shape == (203, 2)
    assert both.oof_log_prob_.shape == (203,)


def test_out_of_fold_densities_follow_rows_and_copies(noise):
    X, y = noise
    settings = {"validation": "folds", "n_members": 4, "mixup": "erm", **FAST}
    order = np.random.default_rng(0).permutation(np.r_[np.arange(203), np.arange(50)])
    plain = DensityRegressor(**settings, preset="plain").fit(X, y, sample_weight=np.r_[np.full(50, 2), np.ones(153)])
    copied = DensityRegressor(**settings, preset="plain").fit(X[order], y[order])
    np.testing.assert_array_equal(copied.oof_log_prob_, plain.oof_log_prob_[order])


def test_rows_of_weight_zero_have_no_out_of_fold_density(noise):
    X, y = noise
    weight = np.ones(203)
    weight[[3, 8]] = 0
    model = DensityRegressor(validation="folds", n_members=4, **FAST, preset="plain").fit(X, y, weight)
    assert np.flatnonzero(np.isnan(model.oof_log_prob_)).tolist() == [3, 8]
    with pytest.raises(ValueError, match="weight zero") as error:
        model.oof_dist()
    assert str(error.value) == (
        "rows of weight zero have no out-of-fold density; the first is row 3. Use `oof_log_prob_`, where they are NaN, "
        "or fit without them."
    )


@pytest.mark.parametrize(("n_members", "components"), [(4, None), (8, 2)])
def test_splits_that_cover_the_rows_give_out_of_fold_densities(noise, n_members, components):
    X, y = noise
    model = DensityRegressor(validation=KFold(4), n_members=n_members, **FAST, preset="plain").fit(X, y)
    distribution = model.oof_dist()
    if components:
        assert distribution.component_distribution.mean.shape == (203, components)
    fold = np.repeat(np.arange(4), [51, 51, 51, 50])
    single = model.family_.distribution(model.predict_natural_params(X))
    expected = torch.stack([single.mean[fold + 4 * k, np.arange(203)] for k in range(n_members // 4)]).mean(0)
    torch.testing.assert_close(distribution.mean, expected)


NO_FOLDS = (
    "out-of-fold densities need members that are judged by parts of their own: fit with validation='folds' and at "
    "least 2 `n_members`, or with a splitter."
)
GAPS = {
    "random": ("random", 3, NO_FOLDS),
    "last": ("last", 3, NO_FOLDS),
    "first rows": (
        TimeSeriesSplit(3),
        3,
        "53 row(s) judge no member and have no out-of-fold density: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, .... Take a splitter "
        "whose validation parts cover all rows, and as many `n_members` as it has splits.",
    ),
    "too few members": (
        [(np.arange(2, 203), [0, 1]), (np.arange(200), [200, 201, 202])],
        2,
        "198 row(s) judge no member and have no out-of-fold density: 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, .... Take a "
        "splitter whose validation parts cover all rows, and as many `n_members` as it has splits.",
    ),
    "some twice": (
        KFold(2),
        3,
        "out-of-fold densities need rows that judge equally many members; row 102 judges 1, row 0 2. Take as many "
        "`n_members` as there are splits.",
    ),
}


@pytest.mark.parametrize("case", GAPS)
def test_where_there_are_no_out_of_fold_densities(noise, tmp_path, case):
    validation, n_members, message = GAPS[case]
    model = DensityRegressor(validation=validation, n_members=n_members, **FAST, preset="plain").fit(*noise)
    model.save(tmp_path / "model")
    for one in (model, probmix.load(tmp_path / "model")):
        assert not hasattr(one, "oof_log_prob_")
        with pytest.raises(ValueError, match="out-of-fold") as error:
            one.oof_dist()
        assert str(error.value) == message


@pytest.mark.parametrize("validation", ["folds", KFold(3)])
def test_saved_and_loaded(noise, tmp_path, validation):
    X, y = noise
    model = DensityRegressor(
        validation=validation, n_members=3, mixup="m-probmix", n_draws=4, **FAST, preset="plain"
    ).fit(X, y)
    model.save(tmp_path / "model")
    loaded = probmix.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.oof_log_prob_, model.oof_log_prob_)
    torch.testing.assert_close(loaded.oof_dist().mean, model.oof_dist().mean, rtol=0, atol=0)
    if validation == "folds":
        assert loaded.validation == "folds"
        return
    assert loaded.validation == "lost splitter"
    with pytest.raises(ValueError, match="validation") as error:
        loaded.fit(X, y)
    assert str(error.value) == "`validation` was a splitter. A splitter is not saved with an estimator: set it again."


def test_out_of_fold_scores_are_those_of_new_rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1600, 6))
    y = X[:, 0] + np.abs(X[:, 1]) * rng.normal(size=1600)
    model = DensityRegressor(
        mixup="erm",
        validation="folds",
        n_members=5,
        max_epochs=60,
        hidden_layer_sizes=(32, 16),
        random_state=0,
        preset="plain",
    ).fit(X[:500], y[:500])
    members = model.family_.distribution(model.predict_natural_params(X[500:]))
    new = -members.log_prob(torch.from_numpy(y[500:])).mean(0).numpy()
    own = -model.oof_log_prob_
    error = np.hypot(own.std() / np.sqrt(len(own)), new.std() / np.sqrt(len(new)))
    assert abs(own.mean() - new.mean()) < 2 * error


@pytest.mark.parametrize("kind", ["folds", "last", "splitter", "groups"])
def test_a_member_knows_nothing_of_the_rows_that_judge_it(kind):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(120, 2)), rng.normal(size=120)
    groups = np.repeat(np.arange(4), 30)
    params = {
        "folds": {"validation": "folds", "n_members": 4},
        "last": {"validation": "last", "validation_fraction": 0.25},
        "splitter": {"validation": [(np.arange(90), np.arange(90, 120))]},
        "groups": {"validation_fraction": 0.25},
    }[kind]
    given = {} if kind in ("last", "splitter") else {"groups": groups}
    first = DensityRegressor(mixup="erm", **params, **FAST, preset="plain").fit(X, y, **given)
    # which rows judge the first member
    judging = groups == 3
    if given:
        judging = next(
            groups == g
            for g in range(4)
            if np.isclose(y[groups != g].mean(), first.scaler_.loc[0].item(), rtol=1e-12, atol=0)
        )
    moved = DensityRegressor(mixup="erm", **params, **FAST, preset="plain").fit(
        X + judging[:, None] * 50, y + judging * 1e3, **given
    )
    for name in ("loc", "scale"):
        assert torch.equal(getattr(first.scaler_, name)[0], getattr(moved.scaler_, name)[0])
        assert torch.equal(getattr(first.network_, name)[0], getattr(moved.network_, name)[0])


def test_splitters_that_end_or_lack_groups_are_refused(noise):
    X, y = noise
    message = r"^`validation` must be there for more than one fit; got <generator .*>, which ends\. Pass the splitter "
    with pytest.raises(ValueError, match=message):
        DensityRegressor(validation=KFold(2).split(X), **FAST, preset="plain").fit(X, y)
    message = (
        r"^`validation` is GroupKFold\(.*\), which splits groups, and there are none\. Pass fit\(\.\.\., groups=\)"
    )
    with pytest.raises(ValueError, match=message):
        DensityRegressor(validation=GroupKFold(3), **FAST, preset="plain").fit(X, y)


def test_what_is_no_checkpoint_is_named(noise, tmp_path):
    X, y = noise
    path = tmp_path / "run"
    path.write_bytes(b"no")
    message = rf"^the checkpoint {str(path)!r} cannot be read: .*\. Remove it, or choose another `checkpoint`\.$"
    with pytest.raises(ValueError, match=message):
        DensityRegressor(checkpoint=path, **FAST, preset="plain").fit(X, y)
