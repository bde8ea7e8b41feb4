"""What a model needs of the rows of a file."""

import warnings

import pandas as pd
from torch.distributions import Distribution

from .cells import Numbers, check_at_least, features, numbers
from .errors import InputError
from .memory import Model
from .tables import Source


def exposure_column(model: Model, source: Source, named: str | None) -> str | None:
    """The column of exposures of rows to predict, for a model that takes them."""
    if not model.has_exposure:
        if named is not None:
            raise InputError(f"--exposure: {str(model.path)!r} was fitted without exposures. Leave it out.")
        return None
    name = named or model.memory.exposure
    if name is None:
        raise InputError(f"{str(model.path)!r} was fitted with exposures: name their column by --exposure.")
    if name not in source.columns and named is None:
        raise InputError(
            f"{str(model.path)!r} was fitted with the exposures {name!r}, and {source.name!r} has no such column. Name "
            "another by --exposure; a column of ones gives predictions for an exposure of one."
        )
    return source.check(name, "--exposure")


def needed_columns(model: Model, source: Source, *further: str | None) -> list[str]:
    """Columns of a file that a model asks for, and others; raises unless all are there."""
    missing = [name for name in model.feature_names if name not in source.columns]
    if missing:
        source.check(missing[0], f"feature {missing[0]!r} of {str(model.path)!r}")
    return list(dict.fromkeys([*model.feature_names, *(name for name in further if name is not None)]))


def rows_of(
    model: Model, source: Source, block: pd.DataFrame, exposures: str | None
) -> tuple[pd.DataFrame, Numbers | None]:
    """What a model is given of some rows of a file: features, and exposures where it takes them."""
    X = features(source, block, model.columns)
    if exposures is None:
        return X, None
    given = numbers(source, block[exposures], "--exposure")
    check_at_least(source, given, exposures, "--exposure", 0.0, strictly=True, first=int(block.index[0]))
    return X, given


def predictions(model: Model, source: Source, block: pd.DataFrame, exposures: str | None) -> Distribution:
    """What a model predicts for some rows of a file; warnings and errors say which, since they count from these."""
    given = rows_of(model, source, block, exposures)
    first, last = int(block.index[0]), int(block.index[-1])
    place = f"in rows {first} to {last}, counted from {first}: " if first else ""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            predicted = model.estimator.predict_dist(*given)
        except ValueError as error:
            raise InputError(f"{place}{error}") from error
    for one in caught:
        warnings.warn(f"{place}{one.message}", one.category, stacklevel=2)
    return predicted
