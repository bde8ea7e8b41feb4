"""Every public name has a page of the API, and the API names nothing else."""

import re

import pytest
from docs_pages import docs_module, pages

from probmix import scores

public_names = docs_module("public_names")


def names_in_the_api(texts):
    """The qualified names in the tables of the API's pages."""
    found = []
    for text in texts:
        module = None
        for line in text.splitlines():
            if place := re.match(r"\.\. currentmodule:: (\S+)$", line):
                module = place[1]
            elif entry := re.match(r"   (\w+)$", line):
                found.append(f"{module}.{entry[1]}")
    return found


def api_texts():
    texts = {name: text for name, text in pages().items() if name.startswith("api/") and name != "api/index"}
    assert len(texts) >= 10
    return list(texts.values())


def test_every_public_name_has_its_page_and_no_page_is_of_something_that_is_gone():
    named = names_in_the_api(api_texts())
    shown = set(public_names.shown_names().values())
    assert shown - set(named) == set(), "public names without a page: put them into a table of docs/api"
    assert set(named) - shown == set(), "tables of docs/api name what is not public, or not by its shortest name"


def test_no_name_stands_in_two_tables():
    named = names_in_the_api(api_texts())
    assert sorted(named) == sorted(set(named))


def test_a_new_public_name_is_missed(monkeypatch):
    before = set(public_names.shown_names().values())
    monkeypatch.setattr(scores, "__all__", [*scores.__all__, "sharpness"])
    monkeypatch.setattr(scores, "sharpness", lambda distribution: None, raising=False)
    assert set(public_names.shown_names().values()) - before == {"probmix.scores.sharpness"}
    assert "probmix.scores.sharpness" not in names_in_the_api(api_texts())


def test_a_name_is_shown_where_it_is_shortest():
    shown = public_names.shown_names()
    assert shown["probmix.mixup.Mixup"] == shown["probmix.Mixup"] == "probmix.Mixup"
    assert shown["probmix.estimators.load"] == "probmix.load"
    assert shown["probmix.datasets.load"] == "probmix.datasets.load"
    assert shown["probmix.stacking.stack_weights"] == "probmix.stacking.stack_weights"


def test_short_names_lead_to_pages_where_they_mean_one_thing():
    pages_of = public_names.pages_by_short_name()
    assert pages_of["Mixup"] == "probmix.Mixup"
    assert pages_of["crps"] == "probmix.scores.crps"
    assert "load" not in pages_of  # of models, of data sets
    assert "Gamma" not in pages_of  # the family, the distribution


@pytest.mark.parametrize(
    ("name", "method"),
    [("DensityRegressor", "fit"), ("DensityRegressor", "predict_interval"), ("DensityClassifier", "predict_proba")],
)
def test_pages_of_estimators_show_their_methods_those_of_bases_included(name, method):
    assert method in public_names.own_members(f"probmix.{name}")["methods"]


def test_pages_of_classes_leave_out_what_other_libraries_document():
    assert "get_params" not in public_names.own_members("probmix.DensityRegressor")["methods"]
    assert "expand" not in public_names.own_members("probmix.distributions.Gamma")["methods"]
