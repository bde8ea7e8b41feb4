"""The order of the gallery."""

from pathlib import Path

# from the jobs that most have to those that need code of one's own
ORDER = (
    "claims",
    "severities",
    "houses",
    "demand",
    "patients",
    "load",
    "counts",
    "wine",
    "mixing",
    "stack",
    "residual_network",
    "bayesian_layer",
)


class ByUse:
    """What sphinx-gallery sorts its scripts by; those that are not listed come last, by name."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __call__(self, filename: str) -> tuple[int, str]:
        name = Path(filename).stem
        return (ORDER.index(name) if name in ORDER else len(ORDER), name)
