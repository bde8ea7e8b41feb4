"""The order of the gallery names every script, and no other."""

from docs_pages import ROOT, docs_module

gallery_order = docs_module("gallery_order")


def test_every_script_has_its_place():
    assert sorted(gallery_order.ORDER) == sorted(path.stem for path in (ROOT / "examples" / "gallery").glob("*.py"))


def test_scripts_without_a_place_come_last():
    names = ["zebra.py", "claims.py", "antelope.py", "bayesian_layer.py"]
    assert sorted(names, key=gallery_order.ByUse("")) == ["claims.py", "bayesian_layer.py", "antelope.py", "zebra.py"]
