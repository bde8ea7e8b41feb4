"""What the tests of calibration share."""

import re

import pytest
import torch

DTYPES = [torch.float32, torch.float64]


def raises(kind, message):
    return pytest.raises(kind, match=f"^{re.escape(message)}$")
