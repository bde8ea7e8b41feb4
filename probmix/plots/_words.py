"""Names as pictures say them: of scores, and long ones."""

from ..scores._named import level_of

_NAMES = {
    "nll": "NLL",
    "crps": "CRPS",
    "brier": "Brier score",
    "rps": "ranked probability score",
    "accuracy": "accuracy",
    "rmse": "RMSE",
    "mae": "MAE",
}
# Those with a level in percent.
_NAMES_AT_LEVEL = {
    "coverage": "coverage of the {:g} % interval",
    "interval": "score of the {:g} % interval",
    "quantile": "quantile score at {:g} %",
    "pinball": "quantile score at {:g} %",
}


def score_in_words(score: str) -> str:
    """What an axis calls a score of `probmix.scores.evaluate`.

    >>> score_in_words("interval90")
    'score of the 90 % interval'
    """
    level = level_of(score)
    return _NAMES.get(score, score) if level is None else _NAMES_AT_LEVEL[level[0]].format(100 * level[1])


def shortened(name: str, longest: int) -> str:
    """A name of so many letters at most, without its middle: long names often begin alike.

    >>> shortened("distance to the river", 11)
    'dista…river'
    """
    name, half = " ".join(name.split()), longest // 2
    return name if len(name) <= longest else f"{name[:half].rstrip()}…{name[-half:].lstrip()}"
