"""A report on a fitted model: what it is, how well it predicts, and how far it can be trusted."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from .calibration import calibration_section, coverage_in_words, coverages
from .choice import choice_section
from .data import columns_section, data_section
from .effects import effects_section
from .far_out import far_out_in_words, far_out_rows, far_out_section
from .intervals import intervals_section
from .page import Code, Page, Part, Points, Section, Settings
from .scores import comparison, first_score, scored, scores_section
from .subject import MARGINAL, TARGET, Subject
from .versions import versions


def model_report(
    model: Any,
    X: Any,
    y: Any,
    *,
    exposure: Any = None,
    title: str,
    peers: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    target_name: str | None = None,
    max_rows: int = 10_000,
) -> Page:
    """All there is to say of a fitted model on rows with known targets, as a page.

    The rows should not have trained the model. The page tells what the rows are, what was chosen in the fit and why,
    the scores with standard errors against the distribution of the target without X and against peers, calibration,
    intervals against observed targets, the columns that matter and their effects, rows far outside the training range,
    and the settings with which the fit can be repeated.

    Parameters
    ----------
    model : fitted model
        An estimator of this package, or whatever else predicts distributions; see `probmix.adapters.adapt`.
    X : array-like or DataFrame, (n, F)
    y : array-like, (n,)
        Numbers, or class labels of a classifier.
    exposure : array-like, (n,), optional
        Needed where the model was fitted with exposures.
    title : str
    peers : dict of str to model or prediction, optional
        What `probmix.scores.evaluate` takes: fitted models, or predictions for these very rows.
    settings : dict, optional
        What else is to be known to repeat the fit, such as a command.
    target_name : str, optional
        By default the name of `y` if it is a Series that has one.
    max_rows : int
        Of more rows a random sample is scored and drawn, always the same one; the page says so.

    Returns
    -------
    Page
        Its `html` is the page as a file.

    Raises
    ------
    TypeError
        If the model predicts no distributions.
    ValueError
        If shapes do not match, there are several targets, exposures are missing, a peer is called "model" or
        "without X", or as `probmix.scores.evaluate`.

    Examples
    --------
    >>> import numpy as np
    >>> from probmix import DensityRegressor
    >>> from probmix.reports import model_report
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(120, 2))
    >>> y = X[:, 0] + rng.normal(size=120)
    >>> model = DensityRegressor("gaussian", "erm", preset="plain", max_epochs=5, random_state=0).fit(X[:80], y[:80])
    >>> page = model_report(model, X[80:], y[80:], title="A line with noise")
    >>> [section.heading for section in page.sections][:3]
    ['In short', 'Data', 'What was chosen, and why']
    """
    name = target_name or (str(y.name) if isinstance(y, pd.Series) and y.name is not None else TARGET)
    subject = Subject.of(model, X, y, exposure, peers, max_rows, name)
    table = scored(subject)
    far_out = far_out_rows(subject)
    short = [comparison(table, first_score(table), other) for other in (MARGINAL, *subject.peers)]
    if not subject.of_classes:
        short.append(coverage_in_words(subject, next(one for one in coverages(subject) if one.level == 0.9)))
    if far_out is not None:
        short.append(far_out_in_words(subject, far_out))
    sections = [
        Section("In short", [Points(short)]),
        data_section(subject),
        choice_section(subject),
        scores_section(subject, table),
        calibration_section(subject),
        intervals_section(subject),
        effects_section(subject, table),
        None if far_out is None else far_out_section(subject, far_out),
        columns_section(subject),
        _repeat_section(subject, settings),
    ]
    return Page(title, [section for section in sections if section is not None])


def _repeat_section(subject: Subject, settings: Mapping[str, Any] | None) -> Section:
    """How the fit is made again."""
    parts: list[Part] = [Code(repr(subject.model))]
    told = {name: str(value) for name, value in (settings or {}).items()}
    seed = getattr(subject.inner, "seed_", None)
    seeded = {} if seed is None else {"seed of the fit": str(seed)}
    parts.append(Settings({**told, **seeded, **versions()}))
    return Section("Settings to repeat it", parts)
