"""Versions of what a result depends on."""

import platform
from importlib.metadata import version

_PACKAGES = ("probmix", "torch", "pyro-ppl", "numpy", "scipy", "scikit-learn", "pandas")


def versions() -> dict[str, str]:
    """Names of Python and of packages, with their versions."""
    return {"Python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}
