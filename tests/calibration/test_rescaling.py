"""Predictions that take back what mixup did to rows and labels."""

import pickle
import re
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from mixup_cases import FixedWeights
from sklearn.datasets import load_digits
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GroupKFold, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import probmix
from probmix import DensityClassifier, DensityRegressor, NaturalHead, families
from probmix.calibration import rescaled
from probmix.mixup import BetaWeights, Mixup, NearestNeighbours, Rescaled, WWeights, mixup_loss
from probmix.scores import expected_calibration_error

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 3)) + 2.0
Y = X[:, 0] ** 2 + 0.3 * RNG.normal(size=90)
THETA_BAR = 0.75  # the mean of the larger of two weights that are uniform
RESCALED = Mixup(at="input", weights=BetaWeights(1.0), label_pool="average", rescale=True)
PLAIN = replace(RESCALED, rescale=False)
QUICK = {"max_epochs": 5, "random_state": 0}


def pair(family="gaussian", y=Y, x_val=X[:20], y_val=None, cls=DensityRegressor, **options):
    """A model that rescales and one that does not, trained by all rows of X."""
    y_val = y[:20] if y_val is None else y_val
    start = () if cls is DensityClassifier else (family,)
    fit = {name: options.pop(name) for name in ("sample_weight", "exposure", "exposure_val") if name in options}
    return [
        cls(*start, mixup, preset="plain", **(QUICK | options)).fit(X, y, X_val=x_val, y_val=y_val, **fit)
        for mixup in (RESCALED, PLAIN)
    ]


def by_hand(plain, family, weight=None):
    """Natural parameters in training units, from the network of the model that does not rescale."""
    network = plain.network_
    rows, x = (network.standardize(torch.from_numpy(one)) for one in (X, X))
    centre = np.average(rows[0].double(), axis=0, weights=weight)
    moved = torch.from_numpy(centre) + THETA_BAR * (x - torch.from_numpy(centre))
    with torch.no_grad():
        return network.on_standardized(moved.to(network.dtype)).double()[0]


def test_the_network_sees_moved_rows_and_its_densities_are_moved_back():
    model, plain = pair()
    eta, scaler = by_hand(plain, "gaussian"), plain.scaler_
    mean, sd = -0.5 * eta[:, 0] / eta[:, 1], (-2 * eta[:, 1]).rsqrt()
    centre = (Y.mean() - scaler.loc.item()) / scaler.scale.item()
    expected = scaler.loc.item() + scaler.scale.item() * (centre + (mean - centre) / THETA_BAR)
    found = model.predict_dist(X)
    torch.testing.assert_close(found.mean, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found.stddev, scaler.scale.item() * sd / THETA_BAR, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(model.predict(X), expected, rtol=1e-9)
    torch.testing.assert_close(model.predict_natural_params(X)[:, 1], -0.5 / found.variance)
    np.testing.assert_allclose(model.log_prob(X, Y), found.log_prob(torch.from_numpy(Y)), rtol=1e-9)


def test_training_is_left_as_it_is():
    model, plain = pair(n_members=2)
    assert not np.allclose(model.predict(X), plain.predict(X))
    np.testing.assert_array_equal(model.validation_curve_, plain.validation_curve_)
    for name, tensor in plain.network_.state_dict().items():
        assert torch.equal(model.network_.state_dict()[name], tensor)


def test_of_classes_it_is_the_formula_of_the_paper():
    classes = (X[:, 0] > 2).astype(int) + (X[:, 1] > 2.5)
    model, plain = pair(y=classes, cls=DensityClassifier)
    logits = by_hand(plain, None)
    frequency = torch.from_numpy(np.bincount(classes) / 90).log()
    expected = torch.softmax(logits / THETA_BAR + (1 - 1 / THETA_BAR) * frequency, -1)
    np.testing.assert_allclose(model.predict_proba(X), expected, rtol=1e-9)


def test_a_linear_mean_keeps_its_slope():
    model, plain = pair(hidden_layer_sizes=(), max_epochs=40)
    inside = plain.network_.standardize(torch.from_numpy(X))[0].abs().amax(1) < 1.5
    difference = (model.predict(X) - plain.predict(X))[inside]
    np.testing.assert_allclose(difference, difference[0], rtol=1e-6, atol=1e-6)


def test_rows_count_by_their_weights():
    weight = RNG.integers(0, 3, 90).astype(float)
    model, plain = pair(sample_weight=weight)
    rows = plain.network_.standardize(torch.from_numpy(X))[0].double()
    torch.testing.assert_close(
        model.rescaling_.centre[0, 0], torch.from_numpy(np.average(rows, axis=0, weights=weight)), rtol=1e-6, atol=1e-6
    )
    eta = model.rescaling_.marginal[0, 0]
    mean = model.scaler_.loc.item() + model.scaler_.scale.item() * (-0.5 * eta[0] / eta[1]).item()
    assert mean == pytest.approx(np.average(Y, weights=weight))


def test_under_an_exposure_rates_are_moved():
    exposure = RNG.uniform(0.5, 2, 90)
    counts = RNG.poisson(exposure * np.exp(0.3 * X[:, 0])).astype(float)
    model, plain = pair("poisson", counts, exposure=exposure, exposure_val=exposure[:20])
    log_rate = by_hand(plain, "poisson")[:, 0].numpy()
    unit = np.exp(plain.log_exposure_unit_)  # in which the network has learned its rates
    centre = np.log(counts.sum() / exposure.sum() * unit)
    expected = exposure / unit * np.exp(centre + (log_rate - centre) / THETA_BAR)
    np.testing.assert_allclose(model.predict(X, exposure), expected, rtol=1e-6)


def test_each_member_has_the_means_of_its_own_rows_also_out_of_fold():
    groups = np.repeat(np.arange(9), [2, 18, 10, 10, 10, 10, 10, 10, 10])
    splits = list(GroupKFold(3).split(X, Y, groups))
    model = DensityRegressor("gaussian", RESCALED, n_members=3, validation=splits, **QUICK, preset="plain").fit(X, Y)
    rows = model.network_.standardize(torch.from_numpy(X)).double()
    of_members = model.predict_natural_params(X)
    out_of_fold = families.get("gaussian").natural_params(model.oof_dist())
    for member, (train, test) in enumerate(splits):
        torch.testing.assert_close(model.rescaling_.centre[member, 0], rows[member, train].mean(0))
        torch.testing.assert_close(out_of_fold[test], of_members[member, test], rtol=1e-6, atol=1e-6)


def test_files_and_pickles_keep_it(tmp_path):
    model, _ = pair(n_members=2, y=np.stack([Y, 2 * Y + 1], 1))
    model.save(tmp_path / "model.safetensors")
    expected = model.predict(X)
    loaded = probmix.load(tmp_path / "model.safetensors")
    assert loaded.mixup_ == RESCALED
    np.testing.assert_array_equal(loaded.predict(X), expected)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X), expected)
    # a new fit without it forgets it
    loaded.set_params(mixup=PLAIN).fit(X, Y)
    assert loaded.rescaling_ is None


@dataclass(frozen=True)
class _Case:
    family: str
    y: np.ndarray


COUNTS = RNG.poisson(np.exp(0.3 * X[:, 0])).astype(float)
CASES = [
    *(_Case(name, Y) for name in ("student-t",)),
    _Case("gaussian", np.stack([Y, -Y], 1)),
    _Case("multivariate-gaussian", np.stack([Y, -Y + RNG.normal(size=90)], 1)),
    *(_Case(name, np.exp(X[:, 1])) for name in ("gamma", "exponential", "lognormal", "inverse-gaussian")),
    *(
        _Case(name, COUNTS)
        for name in (
            *("poisson", "fixed-negative-binomial", "negative-binomial", "zero-inflated-poisson"),
            *("hurdle-negative-binomial", "tweedie", "zero-adjusted-gamma", "zero-adjusted-lognormal"),
        )
    ),
    _Case("bernoulli", (COUNTS > 1).astype(float)),
    _Case("beta", RNG.beta(2, 3, 90)),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.family}-{case.y.ndim}")
def test_every_family_has_it(case):
    model, plain = pair(case.family, case.y, n_members=2, max_epochs=2)
    scores = [np.asarray(one.log_prob(X, case.y)) for one in (model, plain)]
    assert np.isfinite(scores).all()
    assert not np.allclose(*scores)


def test_a_network_of_ones_own_in_an_estimator():
    def build(shape):
        return torch.nn.Sequential(torch.nn.Linear(*shape, 8), torch.nn.Tanh())

    model, plain = pair(network=build)
    eta, scaler = by_hand(plain, "gaussian"), plain.scaler_
    centre = (Y.mean() - scaler.loc.item()) / scaler.scale.item()
    mean = centre + (-0.5 * eta[:, 0] / eta[:, 1] - centre) / THETA_BAR
    expected = scaler.loc.item() + scaler.scale.item() * mean
    np.testing.assert_allclose(model.predict(X), expected, rtol=1e-5, atol=1e-5)


# -- a loop of one's own -----------------------------------------------------------------------------------------------


def own_network(family, dtype=torch.float64, targets=None):
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), NaturalHead(family, 4, targets)).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_module_predicts_with_it(dtype):
    x, y, weight = (torch.from_numpy(one).to(dtype) for one in (X, Y, RNG.uniform(size=90)))
    module = own_network("gaussian", dtype)
    model = Rescaled(module, "gaussian", x, y, RESCALED, sample_weight=weight)
    centre, middle = (weight @ x) / weight.sum(), (weight @ y) / weight.sum()
    eta = module(centre + THETA_BAR * (x - centre))
    found = families.get("gaussian").distribution(model(x))
    expected = families.get("gaussian").distribution(eta)
    assert found.mean.dtype == dtype
    torch.testing.assert_close(found.mean, middle + (expected.mean - middle) / THETA_BAR, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.stddev, expected.stddev / THETA_BAR, rtol=1e-4, atol=1e-4)
    assert {"centre", "marginal"} <= set(model.state_dict())
    mixup_loss(model.module, "gaussian", x, y, RESCALED).backward()  # trained or evaluated, it is one network
    model(x).sum().backward()


def test_of_rates_and_of_several_targets():
    exposure = torch.linspace(0.5, 2, 90, dtype=torch.float64)
    x, counts = torch.from_numpy(X), torch.from_numpy(COUNTS)
    model = Rescaled(own_network("poisson"), "poisson", x, counts, RESCALED, exposure=exposure)
    rate = (counts.sum() / exposure.sum()).log()
    torch.testing.assert_close(model.marginal, rate.view(1, 1))
    several = Rescaled(
        own_network("poisson", targets=2), "poisson", x, counts.unsqueeze(1).repeat(1, 2), RESCALED, None, exposure
    )
    torch.testing.assert_close(several.marginal, rate.expand(1, 2, 1))
    assert several(x).shape == (90, 2, 1)


def test_rows_that_do_not_fit_are_refused():
    x, y = torch.from_numpy(X), torch.from_numpy(Y)
    with pytest.raises(ValueError, match=r"^`y` must have as many rows as `x`, 90; got shape \(89,\)\.$"):
        Rescaled(own_network("gaussian"), "gaussian", x, y[1:])
    with pytest.raises(ValueError, match="Poisson targets must be non-negative integers"):
        Rescaled(own_network("poisson"), "poisson", x, y)


# -- a model that is fitted --------------------------------------------------------------------------------------------


def test_a_copy_of_a_fitted_model_is_what_a_fit_would_have_given():
    weight, exposure = RNG.uniform(size=90), RNG.uniform(0.5, 2, 90)
    model, plain = pair(n_members=2, sample_weight=weight)
    before = plain.predict(X)
    found = rescaled(plain, X, Y, sample_weight=weight)
    np.testing.assert_allclose(found.predict(X), model.predict(X), rtol=1e-9)
    np.testing.assert_array_equal(plain.predict(X), before)
    assert found.mixup == found.mixup_ == RESCALED
    model, plain = pair("poisson", COUNTS, exposure=exposure, exposure_val=exposure[:20])
    found = rescaled(plain, X, COUNTS, exposure=exposure)
    np.testing.assert_allclose(found.predict(X, exposure), model.predict(X, exposure), rtol=1e-9)
    classes = np.array(["a", "b", "c"])[(X[:, 0] > 2).astype(int) + (X[:, 1] > 2.5)]
    model, plain = pair(y=classes, cls=DensityClassifier)
    np.testing.assert_allclose(rescaled(plain, X, classes).predict_proba(X), model.predict_proba(X), rtol=1e-9)


def test_so_is_that_of_a_pipeline(tmp_path):
    model = make_pipeline(StandardScaler(), DensityRegressor("gaussian", PLAIN, **QUICK, preset="plain")).fit(X, Y)
    found, through = rescaled(model, X, Y), model[:-1].transform(X)
    alone = rescaled(model[-1], through, Y)
    np.testing.assert_array_equal(found.predict(X), alone.predict(through))
    assert not np.allclose(found.predict(X), model.predict(X))
    alone.save(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(probmix.load(tmp_path / "model.safetensors").predict(through), alone.predict(through))


def test_it_has_no_out_of_fold_densities():
    model = DensityRegressor("gaussian", PLAIN, n_members=3, validation="folds", **QUICK, preset="plain").fit(X, Y)
    found = rescaled(model, X, Y)
    with pytest.raises(ValueError, match="out-of-fold densities are those of the fit, which were not rescaled"):
        found.oof_dist()
    assert np.isfinite(model.oof_log_prob_).all()


def test_models_and_rows_that_do_not_fit_are_refused():
    _, plain = pair()
    message = (
        "`model` must be a DensityRegressor or a DensityClassifier, or a Pipeline that ends in one; got a "
        "LinearRegression."
    )
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        rescaled(LinearRegression().fit(X, Y), X, Y)
    with pytest.raises(ValueError, match=r"^`y` must have shape \(90,\), as the fit had; got \(90, 2\)\.$"):
        rescaled(plain, X, np.stack([Y, Y], 1))
    poisson = DensityRegressor("poisson", PLAIN, **QUICK, preset="plain").fit(X, COUNTS)
    with pytest.raises(ValueError, match=r"^`exposure` must be passed if the fit had exposures, and only then\.$"):
        rescaled(poisson, X, COUNTS, exposure=np.ones(90))
    with pytest.raises(ValueError, match="`at` must be 'input'; got 'output'"):
        rescaled(DensityRegressor("gaussian", **QUICK, preset="plain").fit(X, Y), X, Y)


# -- settings ----------------------------------------------------------------------------------------------------------

RULE = (
    "rescale=True takes back at prediction that rows and labels are drawn towards their means, as they are when "
    "averages of any rows alike are all that a network sees: {}. Change it, or use rescale=False."
)


@pytest.mark.parametrize(
    ("changes", "which"),
    [
        ({"at": "output"}, "`at` must be 'input'; got 'output'"),
        ({"at": ("input", "output")}, "`at` must be 'input'; got ('input', 'output')"),
        ({"pool": "linear"}, "`pool` must be 'log-linear'; got 'linear'"),
        ({"label_pool": "linear"}, "`label_pool` must be 'average'; got 'linear'"),
        ({"partners": NearestNeighbours(3)}, "`partners` must be UniformPartners(); got NearestNeighbours(k=3)"),
        ({"label_weights": BetaWeights(2.0)}, "`label_weights` must be None; got BetaWeights(alpha=2.0)"),
        ({"until": 0.5}, "`until` must be None; got 0.5"),
    ],
)
def test_settings_that_draw_nothing_towards_means_are_refused(changes, which):
    with pytest.raises(ValueError, match=f"^{re.escape(RULE.format(which))}$"):
        replace(RESCALED, **changes)


def test_it_is_true_or_false_and_of_rows_that_are_mixed():
    with pytest.raises(ValueError, match=r"^`rescale` must be True or False; got 1\.$"):
        replace(RESCALED, rescale=1)
    with pytest.raises(ValueError, match="where rows are not mixed, at=None, `rescale` has no meaning; got True"):
        replace(RESCALED, at=None)


def test_a_clean_share_and_larger_groups_draw_less_or_more_to_the_mean():
    for changes, theta_bar in (({"clean": 0.5}, 0.95), ({"order": 3, "weights": FixedWeights(0.8)}, 0.8)):
        mixup = replace(RESCALED, **({"weights": FixedWeights(0.9)} | changes))
        model = DensityRegressor("gaussian", mixup, **QUICK, preset="plain").fit(X, Y)
        assert model.rescaling_.theta_bar == pytest.approx(theta_bar)


# -- what it is for ----------------------------------------------------------------------------------------------------


LAWS = {
    "Beta(.5)": {"weights": BetaWeights(0.5)},
    "Beta(1)": {"weights": BetaWeights(1.0)},
    "Beta(10)": {"weights": BetaWeights(10.0)},
    "W(.5)": {"weights": WWeights(0.5)},
    "W(.1)": {"weights": WWeights(0.1)},
    "RegMixup(10)": {"weights": BetaWeights(10.0), "clean": 0.5},
}


@pytest.mark.filterwarnings("ignore:.* rows of X lie far outside the training range:UserWarning")
@pytest.mark.parametrize("law", LAWS)
def test_digits_are_better_calibrated_and_inputs_alone_would_hurt(law):
    x, y = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(x, y, train_size=150, random_state=0, stratify=y)
    mixup = replace(RESCALED, **LAWS[law])
    model = DensityClassifier(
        mixup, max_epochs=80, batch_size=50, validation_fraction=0.0, random_state=0, preset="plain"
    )
    model.fit(x_train, y_train)
    both, means = model.predict_proba(x_test), model.rescaling_
    # what comes out, moved back to where the network has it
    centre = means.marginal[0].numpy()
    alone = torch.softmax(torch.from_numpy(centre + means.theta_bar * (np.log(both) - centre)), -1).numpy()
    model.rescaling_ = None
    neither = model.predict_proba(x_test)
    errors = [expected_calibration_error(one, y_test).item() for one in (alone, neither, both)]
    assert errors[0] > 1.2 * errors[1]
    assert errors[2] < 0.92 * errors[1]
    # the accuracy stays, within a point
    right = [(one.argmax(1) == y_test).mean() for one in (neither, both)]
    assert abs(right[0] - right[1]) < 0.01
