"""Any mixup with any family trains, and members as they would alone; or it is refused with a reason."""

import re
import warnings

import numpy as np
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from probmix import DensityClassifier, DensityRegressor, families, mixup
from probmix.mixup import Mixup

ROWS, FEATURES = 36, 3
rng = np.random.default_rng(0)
X = rng.normal(size=(ROWS, FEATURES))
REAL = X[:, 0] + 0.3 * rng.normal(size=ROWS)
COUNTS = rng.poisson(np.exp(0.5 * X[:, 0] + 0.5)).astype(float)
TARGETS = {
    "real": REAL,
    "positive": np.exp(0.5 * REAL),
    "zeros and positive": np.where(REAL > 0, REAL, 0.0),
    "counts": COUNTS,
    "shares": 1 / (1 + np.exp(-REAL)),
    "vectors": np.stack([REAL, X[:, 1]], 1),
    "classes": (REAL > 0).astype(int) + (REAL > 1),
}
KINDS = {
    "bernoulli": "classes", "categorical": "classes", "beta": "shares", "exponential": "positive", "gamma": "positive",
    "inverse-gaussian": "positive", "lognormal": "positive", "gaussian": "real", "student-t": "real",
    "histogram": "real",
    "multivariate-gaussian": "vectors", "tweedie": "zeros and positive", "zero-adjusted-gamma": "zeros and positive",
    "zero-adjusted-lognormal": "zeros and positive",
}  # fmt: skip


def kind_of(family):
    """The targets of a family; those of a mixture are those of its base."""
    return KINDS.get(family.removesuffix("-mixture"), "counts")


LAWS = [
    mixup.BetaWeights(0.5), mixup.DirichletWeights(), mixup.FoldedBetaWeights(), mixup.WWeights(),
    mixup.UniformWeights(0.5, 1.0), mixup.FixedWeights(0.7), mixup.TwoPointWeights(), mixup.SimilarityWeights(),
    mixup.LearnedWeights(),
]  # fmt: skip
PARTNERS = [
    mixup.UniformPartners(), mixup.NearestNeighbours(3), mixup.LabelKernel(), mixup.DistanceKernel(),
    mixup.WithinDistance(1.0), mixup.BatchNeighbours(k=2), mixup.ClassBalanced(),
]  # fmt: skip

MIXUPS = st.fixed_dictionaries(
    {},
    optional={
        "at": st.sampled_from(["output", "input", "hidden.0", "embedding", ("input", "output"), None]),
        "weights": st.sampled_from(LAWS),
        "partners": st.sampled_from(PARTNERS),
        "label_pool": st.sampled_from(["log-linear", "linear", "average", "calibrated"]),
        "label_spread": st.sampled_from([0.0, 0.05]),
        "embedding": st.sampled_from(["point", "point", "gaussian", "gaussian-separate", "gaussian-constant"]),
        "pool": st.sampled_from(["log-linear", "linear"]),
        "draws": st.sampled_from([0, 1, 3]),
        "criterion": st.sampled_from(["expected-log", "log-expected"]),
        "order": st.sampled_from([2, 3, 4]),
        "label_weights": st.sampled_from([None, *LAWS]),
        "clean": st.sampled_from([0.0, 0.4]),
        "until": st.sampled_from([None, 0.5, "validation"]),
    },
)

# What is refused, and in which words.
REASONS = [
    r"as densities rows are mixed at one layer",
    r"calibrated labels (belong|have|follow)",
    r"where rows are not mixed, at=None, `\w+` has no meaning",
    r".* is a law of pairs; got order=",
    r"weights are learned for rows",
    r"the family '.*' is no exponential family and has neither calibrated labels nor a label kernel",
    r"the family '.*' (defines|has) no label kernel",
    r"the likelihood of the family 'tweedie' has no second derivatives",
    r"the family .* has no calibrated label side",
    r"the CRPS looks at one target at a time",
    r"loss='crps' (knows labels|has no second)",
    r"ClassBalanced",
    r"the label kernel",
]


def fit(family, loss, mixing, n_members):
    options = {
        "mixup": mixing, "n_members": n_members, "max_epochs": 2, "batch_size": 10, "random_state": 0,
        "hidden_layer_sizes": (6, 4), "n_draws": 4,
    }  # fmt: skip
    kind = kind_of(family)
    with warnings.catch_warnings():
        # two epochs are no fit
        warnings.simplefilter("ignore")
        if kind == "classes":
            return DensityClassifier(**options, preset="plain").fit(X, TARGETS[kind])
        return DensityRegressor(family, loss=loss, **options, preset="plain").fit(X, TARGETS[kind])


@settings(max_examples=40, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(family=st.sampled_from(families.names()), fields=MIXUPS, crps=st.sampled_from([False, False, False, True]))
def test_any_mixup_trains_or_is_refused_with_a_reason(family, fields, crps):
    loss = "crps" if crps and kind_of(family) != "classes" and family != "tweedie" else "nll"
    try:
        joint = fit(family, loss, Mixup(**fields), 2)
    except ValueError as error:
        if not any(re.match(reason, str(error)) for reason in REASONS):
            raise
        return
    assert np.isfinite(joint.validation_curve_).all()
    assert all(tensor.isfinite().all() for tensor in joint.network_.state.values())
    alone = fit(family, loss, Mixup(**fields), 1)
    np.testing.assert_allclose(joint.validation_curve_[: len(alone.validation_curve_), 0],
                               alone.validation_curve_[:, 0], rtol=2e-3, atol=2e-3)  # fmt: skip
    for name, tensor in alone.network_.state.items():
        torch.testing.assert_close(joint.network_.state[name][0], tensor[0], rtol=2e-2, atol=2e-3)
