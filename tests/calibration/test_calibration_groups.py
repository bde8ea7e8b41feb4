"""Groups of rows in calibration: never on both sides of a split, neither of the calibration nor of the model's own."""

import numpy as np
import pytest
import torch
from sklearn import config_context
from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GroupKFold, KFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from probmix import DensityRegressor
from probmix.calibration import ConformalRegressor, RecalibratedRegressor

SUBJECTS = np.repeat([f"subject {i}" for i in range(12)], 5)
ORDER = np.random.default_rng(0).permutation(60)
GROUPS = SUBJECTS[ORDER]
X = np.arange(60.0)[:, None]
Y = np.random.default_rng(1).normal(size=60)
QUICK = DensityRegressor(hidden_layer_sizes=(8,), max_epochs=2, random_state=0, preset="plain")


class Recorder(BaseEstimator):
    """Notes which rows it was fitted to, by X, and the groups if it takes some; predicts N(0, 1)."""

    fits: list = []  # noqa: RUF012  clones are to write into the same one

    def fit(self, X, y):
        self.fits.append((X[:, 0].astype(int), None))
        self.fitted_ = True
        return self

    def predict_dist(self, X):
        return torch.distributions.Normal(torch.zeros(len(X), dtype=torch.float64), 1.0)


class GroupRecorder(Recorder):
    def fit(self, X, y, groups=None):
        super().fit(X, y)
        self.fits[-1] = (self.fits[-1][0], groups)
        return self


@pytest.fixture
def fits():
    Recorder.fits.clear()
    return Recorder.fits


CALIBRATED = {
    "recalibrated, folds": (RecalibratedRegressor, {"cv": 4}),
    "recalibrated, a share": (RecalibratedRegressor, {"cv": 0.25}),
    "recalibrated, a splitter": (RecalibratedRegressor, {"cv": GroupKFold(3)}),
    "conformal, a share": (ConformalRegressor, {"cv": 0.25}),
}


@pytest.mark.parametrize("case", CALIBRATED)
@pytest.mark.parametrize("model", [Recorder(), GroupRecorder(), make_pipeline(FunctionTransformer(), GroupRecorder())],
                         ids=["takes none", "takes groups", "pipeline"])  # fmt: skip
def test_a_subject_either_fits_or_calibrates(fits, case, model):
    kind, options = CALIBRATED[case]
    kind(model, random_state=0, **options).fit(X, Y, groups=GROUPS)
    parts = fits[:-1] if len(fits) > 1 else fits
    held_out = [np.setdiff1d(np.arange(60), rows) for rows, _ in parts]
    for (rows, given), others in zip(parts, held_out, strict=True):
        assert len(others)
        assert not set(GROUPS[rows]) & set(GROUPS[others])
        assert (given is None) == (type(model) is Recorder)
        if given is not None:
            same = GROUPS[rows][:, None] == GROUPS[rows]
            np.testing.assert_array_equal(np.asarray(given)[:, None] == np.asarray(given), same)
    if kind is RecalibratedRegressor and options["cv"] != 0.25:
        assert sorted(np.concatenate(held_out)) == list(range(60))
        assert len(fits[-1][0]) == 60


@pytest.mark.parametrize("kind", [RecalibratedRegressor, ConformalRegressor])
def test_the_seed_decides_which_groups_calibrate(fits, kind):
    for seed in (0, 0, 1):
        kind(Recorder(), cv=0.25, random_state=seed).fit(X, Y, groups=GROUPS)
    first, again, other = (set(rows) for rows, _ in fits)
    assert first == again != other


@pytest.mark.parametrize("kind", [RecalibratedRegressor, ConformalRegressor])
def test_what_is_wrong_with_groups_is_said_before_any_fit(fits, kind):
    halves = [(np.arange(30), np.arange(30, 60))]
    for cv in (list(KFold(3).split(X)), halves) if kind is RecalibratedRegressor else (halves,):
        with pytest.raises(
            ValueError, match=r"^`cv` must leave each of the `groups` on one side of a split; got rows \d+ "
        ):
            kind(Recorder(), cv=cv).fit(X, Y, groups=GROUPS)
    with pytest.raises(ValueError, match=r"^`groups` must hold one label for each of the 60 rows; got shape \(59,\)"):
        kind(Recorder()).fit(X, Y, groups=GROUPS[:59])
    with pytest.raises(ValueError, match=r"^`groups` must name at least 2 groups, .*; got 1\.$"):
        kind(Recorder(), cv=0.25).fit(X, Y, groups=np.zeros(60))
    frozen = kind(FrozenEstimator(Recorder().fit(X, Y)))
    fits.clear()
    with pytest.raises(ValueError, match=r"^`groups` say which rows are not to be split .* Pass no groups"):
        frozen.fit(X, Y, groups=GROUPS)
    assert not fits


@pytest.mark.parametrize("kind", [RecalibratedRegressor, ConformalRegressor])
def test_cross_validation_routes_groups_to_both_splits(fits, kind):
    with config_context(enable_metadata_routing=True):
        model = kind(Recorder(), cv=0.25, random_state=0).set_fit_request(groups=True)
        found = cross_validate(model, X, Y, cv=GroupKFold(3), params={"groups": GROUPS}, scoring=lambda *_: 0.0)
    assert len(found["test_score"]) == len(fits) == 3
    for rows, _ in fits:
        # whole subjects: five rows of each
        assert set(np.unique(GROUPS[rows], return_counts=True)[1]) == {5}


def test_the_model_keeps_its_own_validation_to_whole_groups():
    model = RecalibratedRegressor(QUICK, cv=2, random_state=0).fit(X / 60, Y, groups=GROUPS)
    alone, without = (clone(QUICK).fit(X / 60, Y, groups=groups) for groups in (GROUPS, None))
    np.testing.assert_array_equal(model.estimator_.predict(X / 60), alone.predict(X / 60))
    assert not np.array_equal(without.predict(X / 60), alone.predict(X / 60))
