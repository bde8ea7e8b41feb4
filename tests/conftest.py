"""Shared by all tests."""

import pytest
import torch


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available():
        return
    for item in items:
        if "cuda" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(autouse=True)
def _nothing_global_changes():
    """No test, and so nothing that a test calls, may leave a trace in torch's process-wide state."""
    before = (torch.get_default_dtype(), torch.get_num_threads(), torch.distributions.Distribution._validate_args)
    yield
    assert before == (
        torch.get_default_dtype(),
        torch.get_num_threads(),
        torch.distributions.Distribution._validate_args,
    )
