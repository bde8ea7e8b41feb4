"""The names of families: those of the field lead to the right one, ambiguous ones and near misses are told."""

import numpy as np
import pytest
import torch

import probmix
from probmix import DensityRegressor, families
from probmix.families import registry
from probmix.families.aliases import ALIASES, AMBIGUOUS, plain
from probmix.plots import FusionDisplay

SETTINGS = {"hidden_layer_sizes": (4,), "max_epochs": 1, "random_state": 0}


@pytest.mark.parametrize(("name", "canonical"), [
    ("normal", "gaussian"),
    ("Normal", "gaussian"),
    ("GAUSSIAN", "gaussian"),
    ("mvn", "multivariate-gaussian"),
    ("multivariate_normal", "multivariate-gaussian"),
    ("t", "student-t"),
    ("student", "student-t"),
    ("StudentT", "student-t"),
    ("Student's t", "student-t"),
    ("student_t", "student-t"),
    ("log-normal", "lognormal"),
    ("LogNormal", "lognormal"),
    ("wald", "inverse-gaussian"),
    ("inverse_gaussian", "inverse-gaussian"),
    ("nb", "negative-binomial"),
    ("negbin", "negative-binomial"),
    ("NegativeBinomial", "negative-binomial"),
    ("negative binomial", "negative-binomial"),
    ("bernoulli", "bernoulli"),
    ("binary", "bernoulli"),
    ("multinomial", "categorical"),
    ("softmax", "categorical"),
    ("zip", "zero-inflated-poisson"),
    ("ZINB", "zero-inflated-negative-binomial"),
    ("zero_inflated_poisson", "zero-inflated-poisson"),
    ("hurdle_nb", "hurdle-negative-binomial"),
])  # fmt: skip
def test_names_of_the_field_lead_to_the_family(name: str, canonical: str) -> None:
    assert families.canonical_name(name) == canonical
    options = {"categorical": {"num_classes": 3}, "multivariate-gaussian": {"num_targets": 2}}.get(canonical, {})
    assert families.get(name, **options) == families.get(canonical, **options)


def test_every_alias_leads_to_a_registered_family_and_hides_none() -> None:
    for alias, canonical in ALIASES.items():
        assert alias == plain(alias) != canonical
        assert canonical in families.names()
        assert alias not in families.names()
        assert families.canonical_name(alias.replace("-", "_").upper()) == canonical
    for name, candidates in AMBIGUOUS.items():
        assert name == plain(name) not in ALIASES
        assert set(candidates) <= set(families.names())


@pytest.mark.parametrize(("name", "message"), [
    ("counts", "the family name 'counts' may mean 'poisson' or 'negative-binomial'. Pass one of these."),
    ("Binomial", "the family name 'Binomial' may mean 'bernoulli' or 'negative-binomial'. Pass one of these."),
    ("studnet", "unknown family 'studnet'; did you mean 'student-t'?"),
    ("negbim", "unknown family 'negbim'; did you mean 'negative-binomial'?"),
    ("Gama", "unknown family 'Gama'; did you mean 'gamma'?"),
    ("hurdle-zipf", "unknown family 'hurdle-zipf'; did you mean 'hurdle-poisson'?"),
])  # fmt: skip
def test_others_are_errors(name: str, message: str) -> None:
    with pytest.raises(ValueError, match="family") as error:
        families.get(name)
    assert str(error.value) == message
    with pytest.raises(ValueError, match="family") as error:
        DensityRegressor(name, **SETTINGS, preset="plain").fit(np.arange(6.0)[:, None], np.ones(6))
    assert str(error.value) == message


def test_names_of_third_parties_come_first_and_cannot_be_aliases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_FAMILIES", dict(registry._FAMILIES))
    families.register("My_Counts", families.Poisson)
    assert families.get("my counts") == families.Poisson()
    assert families.get("My_Counts") == families.Poisson()
    with pytest.raises(ValueError, match=r"^the family name 'Normal' means 'gaussian'\. Choose another name\.$"):
        families.register("Normal", families.Gamma)


def test_fitted_and_saved_models_hold_the_canonical_name(tmp_path) -> None:
    X = np.linspace(-1, 1, 40)[:, None]
    y = X[:, 0] + np.sin(9 * X[:, 0])
    model = DensityRegressor("Normal", **SETTINGS, preset="plain").fit(X, y)
    assert model.get_params()["family"] == "Normal"
    assert model.family_.name == "gaussian"
    same = DensityRegressor("gaussian", **SETTINGS, preset="plain").fit(X, y)
    assert np.array_equal(model.predict(X), same.predict(X))
    model.save(tmp_path / "model")
    assert b"Normal" not in (tmp_path / "model").read_bytes()
    loaded = probmix.load(tmp_path / "model")
    assert loaded.get_params()["family"] == "gaussian"
    assert np.array_equal(loaded.predict(X), model.predict(X))


def test_aliases_of_families_that_look_at_the_data() -> None:
    X = np.linspace(-1, 1, 40)[:, None]
    Y = np.column_stack([X[:, 0] + np.sin(9 * X[:, 0]), np.cos(7 * X[:, 0])])
    assert DensityRegressor("mvn", **SETTINGS, preset="plain").fit(X, Y).family_ == families.MultivariateGaussian(2)
    with pytest.raises(ValueError, match=r"^the categorical family is for classes; use DensityClassifier\.$"):
        DensityRegressor("softmax", **SETTINGS, preset="plain").fit(X, np.ones(40))
    two = torch.distributions.Categorical(logits=torch.tensor([[0.0, 1.0, 2.0], [1.0, 0.0, 0.0]]))
    assert FusionDisplay.from_predictions(two, family="softmax").discrete
