"""Shared by the tests of training."""

import pytest

from probmix.training import loop, memory


@pytest.fixture
def beside(monkeypatch):
    """Members one by one, and so many of them at a time as it is called with."""
    monkeypatch.setattr(memory, "_CPU_BYTES", 1)
    return lambda number: monkeypatch.setattr(loop, "groups_beside", lambda *_: number)
