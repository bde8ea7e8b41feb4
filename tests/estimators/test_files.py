"""Files are written whole or not at all, into folders that are made for them, and errors name the user's path."""

import errno
import os
import stat
from pathlib import Path

import numpy as np
import pytest

import probmix
from probmix import DensityRegressor
from probmix._files import write_atomically

X = np.linspace(-1, 1, 40)[:, None]


@pytest.fixture(scope="module")
def model():
    return DensityRegressor(max_epochs=1, hidden_layer_sizes=(4,), random_state=0, preset="plain").fit(X, X[:, 0])


def test_save_makes_the_folder(tmp_path, model):
    path = tmp_path / "models" / "of today" / "model.safetensors"
    model.save(path)
    np.testing.assert_array_equal(probmix.load(path).predict(X), model.predict(X))
    assert [one.name for one in path.parent.iterdir()] == ["model.safetensors"]


def test_a_file_is_replaced_and_its_name_may_be_long(tmp_path):
    path = tmp_path / ("n" * 255)
    for content in (b"old", b"new"):
        write_atomically(path, content)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_others_may_read_it_as_they_may_any_new_file(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    write_atomically(tmp_path / "ours", b"")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "ours")]
    assert modes[0] == modes[1]


def test_a_folder_in_the_place_of_the_file(tmp_path, model):
    with pytest.raises(IsADirectoryError) as caught:
        model.save(tmp_path)
    assert str(caught.value) == f"[Errno 21] there is a folder of that name; name a file: {str(tmp_path)!r}"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("below", ["model", "deep/model"])
def test_a_file_in_the_place_of_the_folder(tmp_path, model, below):
    (tmp_path / "notes").write_text("")
    path = tmp_path / "notes" / below
    with pytest.raises(NotADirectoryError) as caught:
        model.save(path)
    assert str(caught.value) == f"[Errno 20] {str(tmp_path / 'notes')!r} is a file and no folder: {str(path)!r}"


def refuse(number):
    def refusing(*args, **kwargs):
        raise OSError(number, os.strerror(number), "a temporary file")

    return refusing


@pytest.mark.parametrize(
    ("where", "number"), [((Path, "open"), errno.EACCES), ((os, "fsync"), errno.ENOSPC), ((Path, "replace"), errno.EIO)]
)
def test_errors_of_the_system_name_the_users_path(tmp_path, monkeypatch, model, where, number):
    path = tmp_path / "model"
    path.write_bytes(b"the last one")
    with monkeypatch.context() as patch:
        patch.setattr(*where, refuse(number))
        with pytest.raises(OSError, match=str(path)) as caught:
            model.save(path)
    assert (caught.value.errno, caught.value.filename) == (number, str(path))
    assert caught.value.__suppress_context__
    assert path.read_bytes() == b"the last one"
    assert list(tmp_path.iterdir()) == [path]
