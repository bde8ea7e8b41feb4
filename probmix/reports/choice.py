"""What a fit has chosen, and why."""

from typing import Any

import numpy as np
import pandas as pd

from ..estimators.candidates import mixup_label, network_label
from ..plots import TrainingDisplay
from .figures import new_axes
from .page import Cell, Part, Picture, Points, Section, Settings, Table, with_error
from .subject import Subject

_SCORES = {"nll": "NLL", "crps": "CRPS", "brier": "Brier score"}
_CAPTION = (
    "NLL and CRPS (of classes the Brier score) are means over the rows that judge; smaller is better. Errors are those "
    "of the differences to the best candidate, row by row, so that the best has none."
)


def choice_section(subject: Subject) -> Section | None:
    """Families, mixups and weights of a stack, or what a single fit became; None of models of other libraries."""
    model = subject.inner
    if not hasattr(model, "params_"):
        return None
    parts = _of_stack(model) if hasattr(model, "candidates_") else _of_single(model)
    parts += _training(model)
    values = {name: _in_words(value) for name, value in model.params_.items()}
    return Section("What was chosen, and why", [*parts, Settings(values)])


def _training(model: Any) -> list[Part]:
    """Losses by epoch of a single fit, or of the first candidate by weight; none where nothing judged its members."""
    of = "the model"
    if hasattr(model, "candidates_"):
        place = int(model.stack_["weight"].to_numpy().argmax())
        model, of = model.candidates_[place], _named(model.stack_.iloc[place])
    if not model.validation_curve_.shape[1]:
        return []
    figure, ax = new_axes()
    TrainingDisplay.from_estimator(model, ax=ax)
    caption = (
        f"The training of {of}, a line for each member; a dot is the epoch whose weights are kept. Where the loss of "
        "validation rows rises while that of training rows falls, rows are learned by heart."
    )
    return [Picture.of(figure, caption)]


def _of_stack(model: Any) -> list[Part]:
    table = model.stack_
    used = table[table["weight"] > 0]
    first = used.sort_values("weight", ascending=False).iloc[0]
    by_crps = getattr(model, "loss", "nll") == "crps"
    said = [
        f"{len(table)} {'candidate was' if len(table) == 1 else 'candidates were'} trained to the end, each as "
        f"{model.n_members_} members, and judged by rows that had not trained the members in question.",
    ]
    if len(used) > 1:
        goal = "the mean CRPS of these rows smallest" if by_crps else "these rows most likely"
        said.append(
            f"The prediction is a mixture of {len(used)} of them. Their weights make {goal}; the most has "
            f"{_named(first)}, {first['weight']:.2f}."
        )
    else:
        said.append(f"The prediction is that of {_named(first)} alone.")
    if model.marginal_ is not None:
        said[-1] += (
            f" Of it 1 in {model.marginal_.n_rows + 1:,} is the distribution of the targets without X, lest a single "
            "row be far less likely than without X."
        )
    said += _reasons(table)
    parts: list[Part] = [Points(said), _as_table(table, _CAPTION)]
    runs = model.search_
    if len(runs) > len(table):
        parts += [
            Points([
                f"{len(runs)} runs were made in search of these; the loss is that of the rows that judge, at the best "
                "epochs of each run, and smaller is better."
            ]),
            _as_table(runs),
        ]  # fmt: skip
    return parts


def _reasons(table: pd.DataFrame) -> list[str]:
    """How far the second best candidate is from the best, in the log score of rows that judge."""
    if len(table) < 2:
        return []
    ordered = table.sort_values("nll")
    best, second = ordered.iloc[0], ordered.iloc[1]
    gap, error = second["nll"] - best["nll"], second["nll_error"]
    digits = with_error(best["nll"], error).partition(" ±")[0]
    clear = "which chance hardly explains" if gap > 2 * error else "which may be chance"
    return [
        f"On these rows {_named(best)} has the smallest negative log likelihood (NLL), {digits}; that of "
        f"{_named(second)} is larger by {with_error(gap, error)}, {clear}."
    ]


def _named(line: "pd.Series[Any]") -> str:
    names = [str(line["family"]), f"mixup {line['mixup']}"]
    return ", ".join([*names, *([str(line["network"])] if "network" in line.index else [])])


def _as_table(table: pd.DataFrame, caption: str = "") -> Table:
    """A line of each candidate or run, errors behind what they are the errors of."""
    columns = [str(name) for name in table.columns if not str(name).endswith("_error")]
    best = table["weight"].max() if "weight" in table else None

    def cell(line: dict[Any, Any], name: str) -> Cell | str | float:
        value = line[name]
        if isinstance(value, str):
            return value
        if name == "weight":
            return Cell(f"{value:.3f}", "strong" if value == best else "")
        if f"{name}_error" not in line:
            return float(value)
        errors = table[f"{name}_error"]
        # the best has none, and as many digits as the others
        error = line[f"{name}_error"] or errors[errors > 0].min()
        told = with_error(value, error)
        return told if line[f"{name}_error"] else told.partition(" ±")[0]

    rows = [[cell(line, name) for name in columns] for line in table.to_dict("records")]
    return Table([_SCORES.get(name, name) for name in columns], rows, caption)


def _of_single(model: Any) -> list[Part]:
    spec = getattr(model.network_, "spec", None)
    network = type(model.network_).__name__ if spec is None else network_label(spec)
    best, run = np.asarray(model.best_epoch_), np.asarray(model.n_epochs_)
    said = [
        f"The family is {model.family_.name} with the mixup {mixup_label(model.mixup_)}; nothing else was compared.",
        f"{len(best)} {'member has' if len(best) == 1 else 'members have'} the network {network}.",
        f"Of {_range(run)} epochs the best by rows that did not train were {_range(best)}; their weights are kept.",
    ]
    if (best == 0).any():
        said.append(
            f"{(best == 0).sum()} of {len(best)} members never beat the distribution of the target without X, and "
            "predict it for all rows."
        )
    return [Points(said)]


def _range(numbers: Any) -> str:
    return str(numbers.min()) if numbers.min() == numbers.max() else f"{numbers.min()} to {numbers.max()}"


def _in_words(value: Any) -> str:
    """A parameter as it is written in code."""
    if value is None or isinstance(value, str | int | float):
        return str(value)
    return ", ".join(map(_in_words, value)) if isinstance(value, list | tuple) else repr(value)
