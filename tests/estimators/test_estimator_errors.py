"""Bad input: a clear error before training, and an estimator that is unfitted afterwards."""

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from probmix import DensityClassifier, DensityRegressor, fit_together
from probmix.estimators import base
from probmix.mixup import NearestNeighbours, preset

X = np.random.default_rng(0).normal(size=(40, 2))
Y = np.arange(1.0, 41.0)
NAN = np.where(np.arange(40) == 3, np.nan, Y)


def with_nan(column):
    bad = X.copy()
    bad[3, column] = np.nan
    return bad


CASES = {
    "infinity in X": (
        {}, np.where(np.isnan(with_nan(1)), np.inf, X), Y,
        r"^`X` must be finite; got infinity at row 3 of column 1\. ",
    ),
    "NaN in y": ({}, X, NAN, r"^`y` must be finite; got NaN at row 3\. Drop such rows\.$"),
    "one-dimensional X": ({}, X[:, 0], Y, "Expected 2D array, got 1D array instead"),
    "row counts": ({}, X, Y[:-1], r"Found input variables with inconsistent numbers of samples: \[40, 39\]"),
    "one row": ({}, X[:1], Y[:1], r"Found array with 1 sample\(s\)"),
    "negative counts": (
        {"family": "poisson"}, X, Y - 2,
        r"^Poisson targets must be non-negative integers; got -1 at row 0\. "
        r"Use counts, or a family for real targets such as 'gamma' or 'gaussian'\.$",
    ),
    "fractional counts": (
        {"family": "poisson"}, X, Y + 0.5,
        r"^Poisson targets must be non-negative integers; got 1\.5 at row 0\. ",
    ),
    "fractional count in the second target": (
        {"family": "poisson"}, X, np.column_stack([Y, Y + 0.25]),
        r"^Poisson targets must be non-negative integers; got 1\.25 at index \(0, 1\)\. ",
    ),
    "zero for Gamma": (
        {"family": "gamma"}, X, Y - 1,
        r"^Gamma targets must be positive; got 0 at row 0\. "
        r"For targets with exact zeros take 'zero-adjusted-gamma' or 'tweedie'\.$",
    ),
    "unknown family": (
        {"family": "gausian"}, X, Y,
        r"^unknown family 'gausian'; did you mean 'gaussian' or 'inverse-gaussian' or 'gaussian-mixture'\?$",
    ),
    "no near miss": (
        {"family": "zipf"}, X, Y,
        r"^unknown family 'zipf'; known are .*'gamma', .*'gaussian', .*'zero-inflated-poisson'\.$",
    ),
    "classes in a regressor": (
        {"family": "categorical"}, X, Y,
        r"^the categorical family is for classes; use DensityClassifier\.$",
    ),
    "classes in a list of a regressor": (
        {"family": ["gaussian", "categorical"]}, X, Y,
        r"^the categorical family is for classes; use DensityClassifier\.$",
    ),
    "listed with classes in a regressor": (
        {"family": ["gaussian", "categorical"]}, X, Y,
        r"^the categorical family is for classes; use DensityClassifier\.$",
    ),
    "unknown layer": (
        {"mixup": preset("manifold-mixup", at="hiden.0")},
        X,
        Y,
        r"^unknown layer 'hiden\.0'; did you mean 'hidden\.0' or ",
    ),
    "unknown preset": ({"mixup": "probmx"}, X, Y, r"^unknown mixup preset 'probmx'; did you mean 'probmix' or"),
    "unknown device": ({"device": "gpu"}, X, Y, r"^unknown device 'gpu'; did you mean 'cpu'\?$"),
    "unknown pool": ({"pool": "log"}, X, Y, r"^unknown pool 'log'; known are 'linear', 'log-linear'\.$"),
    "fewer rows than neighbours": (
        {"mixup": preset("local-probmix", partners=NearestNeighbours(40))}, X, Y,
        r"^NearestNeighbours\(k=40\) needs at least 41 rows to find partners among; got 32\. ",
    ),
    "no training rows left": (
        {"validation_fraction": 0.99}, X, Y,
        r"^validation_fraction=0\.99 leaves no training row of 40 sample\(s\) that differ and have positive weight\. "
        r"Pass more rows or a smaller `validation_fraction`\.$",
    ),
    "n_members": ({"n_members": 0}, X, Y, r"^`n_members` must be an integer of at least 1; got 0\.$"),
    "max_epochs": ({"max_epochs": 2.5}, X, Y, r"^`max_epochs` must be an integer of at least 1; got 2\.5\.$"),
    "batch_size": ({"batch_size": 0}, X, Y, r"^`batch_size` must be an integer of at least 1; got 0\.$"),
    "batches of one": (
        {"batch_size": 1},
        X,
        Y,
        r"^`batch_size` must be at least 2 for rows to be mixed; got 1\. Use mixup='erm' for single rows\.$",
    ),
    "patience": ({"patience": 0}, X, Y, r"^`patience` must be an integer of at least 1; got 0\.$"),
    "learning_rate": ({"learning_rate": 0}, X, Y, r"^`learning_rate` must be a number in \(0, inf\); got 0\.$"),
    "weight_decay": ({"weight_decay": -1}, X, Y, r"^`weight_decay` must be a number in \[0, inf\); got -1\.$"),
    "fraction": ({"validation_fraction": 1}, X, Y, r"^`validation_fraction` must be a number in \[0, 1\); got 1\.$"),
    "hidden layers": (
        {"hidden_layer_sizes": (8, 0)}, X, Y,
        r"^`hidden_layer_sizes` must be an integer of at least 1; got 0\.$",
    ),
    "hidden layer": (
        {"hidden_layer_sizes": 8}, X, Y,
        r"^`hidden_layer_sizes` must be a sequence of integers such as \(128, 64\); got 8\.$",
    ),
    "checkpoint without seed": (
        {"checkpoint": "run", "random_state": None},
        X,
        Y,
        r"^`checkpoint` needs a fixed `random_state`: another seed is another run, and a generator gives another to "
        r"every fit\. Pass an integer; got None\.$",
    ),
    "checkpoint with a generator": (
        {"checkpoint": "run", "random_state": np.random.default_rng(0)}, X, Y,
        r"^`checkpoint` needs a fixed `random_state`.* Pass an integer; got Generator",
    ),
    "seed": ({"random_state": -1}, X, Y, r"^`random_state` must be an integer of at least 0; got -1\.$"),
}  # fmt: skip


@pytest.fixture
def _no_training(monkeypatch):
    def train(*args):
        pytest.fail("training started")

    monkeypatch.setattr(base, "train", train)


@pytest.mark.parametrize("case", [name for name in CASES if name != "fewer rows than neighbours"])
@pytest.mark.usefixtures("_no_training")
def test_bad_input_is_an_error_before_training(case):
    params, x, y, message = CASES[case]
    with pytest.raises(ValueError, match=message):
        DensityRegressor(**params, preset="plain").fit(x, y)


@pytest.mark.parametrize("case", CASES)
def test_a_failed_fit_leaves_the_estimator_unfitted(case):
    params, x, y, message = CASES[case]
    model = DensityRegressor(max_epochs=2, random_state=0, preset="plain").fit(X, Y)
    with pytest.raises(ValueError, match=message):
        model.set_params(**params).fit(x, y)
    with pytest.raises(NotFittedError):
        check_is_fitted(model)
    assert [name for name in vars(model) if name.endswith("_")] == []


def test_an_interrupted_fit_leaves_the_estimator_unfitted(monkeypatch):
    def train(*args):
        raise KeyboardInterrupt

    model = DensityRegressor(max_epochs=2, preset="plain").fit(X, Y)
    monkeypatch.setattr(base, "train", train)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y)
    with pytest.raises(NotFittedError):
        model.predict(X)


@pytest.mark.parametrize("method", ["predict", "predict_dist", "predict_natural_params", "predict_interval", "sample"])
def test_an_unfitted_estimator_says_so(method):
    with pytest.raises(NotFittedError, match="is not fitted yet"):
        getattr(DensityRegressor(preset="plain"), method)(X)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.usefixtures("_no_training")
def test_a_missing_gpu_is_an_error_and_no_silent_fallback():
    message = r"^`device` is 'cuda', but torch sees no CUDA device\. Use 'auto' or 'cpu'\.$"
    with pytest.raises(ValueError, match=message):
        DensityRegressor(device="cuda", preset="plain").fit(X, Y)


@pytest.mark.usefixtures("_no_training")
def test_bad_sample_weights():
    with pytest.raises(ValueError, match=r"^`sample_weight` must be finite and not negative; got -1 at row 0"):
        DensityRegressor(preset="plain").fit(X, Y, sample_weight=-np.ones(40))
    with pytest.raises(ValueError, match=r"^`sample_weight` must be positive in at least one row; got zeros only"):
        DensityRegressor(preset="plain").fit(X, Y, sample_weight=np.zeros(40))


@pytest.mark.usefixtures("_no_training")
def test_one_class_is_no_classification():
    message = r"^a classifier needs at least 2 classes in y; got one class, np\.str_\('a'\)\.$"
    with pytest.raises(ValueError, match=message):
        DensityClassifier(preset="plain").fit(X, np.full(40, "a"))
    with pytest.raises(
        ValueError, match=r"^a classifier needs at least 2 classes in y among the rows of positive weight"
    ):
        DensityClassifier(preset="plain").fit(X, Y > 20, sample_weight=(Y > 20).astype(float))


def test_bad_requests_after_the_fit():
    model = DensityRegressor("poisson", max_epochs=2, random_state=0, preset="plain").fit(X, Y)
    with pytest.raises(ValueError, match=r"^`q` must be one level or a vector of levels in \(0, 1\); got 1\.0\.$"):
        model.predict_quantile(X, 1.0)
    with pytest.raises(ValueError, match=r"^`coverage` must be a number in \(0, 1\); got 90\.$"):
        model.predict_interval(X, coverage=90)
    with pytest.raises(ValueError, match=r"^`n_samples` must be an integer of at least 1; got 0\.$"):
        model.sample(X, 0)
    with pytest.raises(ValueError, match=r"^y must have shape \(40,\), as X and the fit say; got \(39,\)\.$"):
        model.score(X, Y[:-1])
    with pytest.raises(ValueError, match=r"^Poisson targets must be non-negative integers; got 0\.5 at row 0\. "):
        model.score(X, Y - 0.5)
    classifier = DensityClassifier(max_epochs=2, random_state=0, preset="plain").fit(X, Y > 20)
    with pytest.raises(ValueError, match=r"^y has the class 'x', which the fit did not see; classes are"):
        classifier.score(X, np.full(40, "x"))


@pytest.mark.parametrize("preset", ["plain", "fast"])
@pytest.mark.usefixtures("_no_training")
def test_a_checkpoint_that_cannot_be_written_is_an_error_before_training(tmp_path, preset):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for path, error in ((tmp_path / "file" / "run", NotADirectoryError), (tmp_path / "folder", IsADirectoryError)):
        if error is IsADirectoryError and preset == "fast":
            continue  # candidates have files beside it
        with pytest.raises(error, match=str(path)):
            DensityRegressor(checkpoint=path, random_state=0, preset=preset).fit(X, Y)
    assert {path.name for path in tmp_path.iterdir()} == {"file", "folder"}


@pytest.mark.parametrize("given", [{"groups": np.zeros(40)}, {}], ids=["one group", "equal rows"])
@pytest.mark.usefixtures("_no_training")
def test_folds_that_are_asked_for_need_two_of_what_differs(given):
    x, y = (X, Y) if given else (np.ones((40, 2)), np.ones(40))
    with pytest.raises(ValueError, match=r"got 1(\.| different sample)"):
        DensityRegressor("gaussian", validation="folds").fit(x, y, **given)


def test_a_fit_without_gradients_is_refused_and_predictions_are_not():
    model = DensityRegressor("gaussian", n_members=2, max_epochs=1, random_state=0).fit(X, Y)
    with torch.inference_mode():
        assert model.predict(X).shape == (40,)
        with pytest.raises(RuntimeError, match=r"^`fit` needs gradients, and torch\.inference_mode\(\) has none"):
            model.fit(X, Y)
        with pytest.raises(RuntimeError, match=r"^`fit` needs gradients"):
            fit_together(model, X, Y, [np.arange(40)], [0])
    with pytest.raises(NotFittedError):
        check_is_fitted(model)
