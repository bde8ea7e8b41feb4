"""What evaluations and reports have in common: models, peers' predictions, and the table by which both are judged."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import click
import pandas as pd

from .cells import Numbers, check_at_least, numbers
from .errors import InputError
from .memory import Model, load_model
from .peers import Peer, open_peer
from .rows import exposure_column, needed_columns, rows_of
from .tables import BLOCK, Source, open_table


@dataclass(frozen=True)
class Judged:
    """Models and predictions, and the rows with their targets.

    Attributes
    ----------
    source : Source
    models : dict of str to Model
    peers : dict of str to Peer
    exposures : dict of str to (str or None)
        The column of exposures of each model.
    target : str
    weights : str or None
    """

    source: Source
    models: Mapping[str, Model]
    peers: Mapping[str, Peer]
    exposures: Mapping[str, str | None]
    target: str
    weights: str | None

    def own_blocks(self, size: int = BLOCK) -> Iterator[pd.DataFrame]:
        """The rows with their targets, some at a time."""
        columns = [self.target, *(name for one, model in self.models.items() for name in self._columns(one, model))]
        if self.weights is not None:
            columns.append(self.weights)
        return self.source.blocks(list(dict.fromkeys(columns)), size)

    def blocks(self, size: int) -> Iterator[tuple[pd.DataFrame, dict[str, Any]]]:
        """The same with what each peer predicts for them; raises if a file has more rows than another."""
        others = [peer.blocks(size) for peer in self.peers.values()]
        for block, *predicted in zip_longest(self.own_blocks(size), *others):
            for peer, rows in zip(self.peers.values(), predicted, strict=True):
                if block is None or rows is None or len(rows) != len(block):
                    raise self._other_length(peer)
            yield (
                block,
                {name: peer.predicted(rows) for (name, peer), rows in zip(self.peers.items(), predicted, strict=True)},
            )

    def all_peers(self, n: int) -> dict[str, Any]:
        """What each peer predicts for all n rows."""
        found = {}
        for name, peer in self.peers.items():
            rows = pd.concat(list(peer.blocks(BLOCK)))
            if len(rows) != n:
                raise self._other_length(peer)
            found[name] = peer.predicted(rows)
        return found

    def tell(self) -> None:
        """Say which columns are what."""
        click.echo(f"target {self.target!r} of {self.source.name!r}", err=True)
        for name, column in self.exposures.items():
            if column is not None:
                click.echo(f"exposure of {name}: {column!r}", err=True)
        for name, peer in self.peers.items():
            click.echo(f"{name}: {peer.form}, of the columns {', '.join(peer.columns)}", err=True)

    def targets(self, block: pd.DataFrame) -> Numbers:
        """The targets of some rows."""
        return numbers(self.source, block[self.target], "--target")

    def weighted(self, block: pd.DataFrame) -> Numbers | None:
        """The weights of some rows."""
        if self.weights is None:
            return None
        values = numbers(self.source, block[self.weights], "--weights")
        first = int(block.index[0])
        check_at_least(self.source, values, self.weights, "--weights", 0.0, strictly=False, first=first)
        return values

    def features(self, name: str, block: pd.DataFrame) -> tuple[pd.DataFrame, Numbers | None]:
        """The features of some rows for a model, and their exposures."""
        return rows_of(self.models[name], self.source, block, self.exposures[name])

    def _other_length(self, peer: Peer) -> InputError:
        return InputError(
            f"--predictions {peer.name}: {peer.source.name!r} must have a row for each of {self.source.name!r}; got "
            f"{_count(peer.source)} for {_count(self.source)}."
        )

    def _columns(self, name: str, model: Model) -> list[str]:
        return needed_columns(model, self.source, self.exposures[name])


def judged(
    data: Path,
    models: Sequence[tuple[str, Path]],
    predictions: Sequence[tuple[str, Path]],
    target: str | None,
    exposure: str | None,
    weights: str | None,
) -> Judged:
    """Everything that is to be compared, checked by the names of columns before any work.

    Raises
    ------
    InputError
        For files and columns that are not there, names that are there twice, and targets on which models disagree.
    """
    names = [name for name, _ in [*models, *predictions]]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two of the models and predictions are called {name!r}. Name them, as NAME=FILE.")
    source = open_table(data)
    opened = {name: load_model(path) for name, path in models}
    peers = {name: open_peer(name, path) for name, path in predictions}
    if target is None:
        target = _remembered(opened, "target")
        if target is None:
            raise InputError("--target: no model remembers the column of the target. Name it.")
    source.check(target, "--target")
    exposures = {
        name: exposure_column(one, source, exposure if one.has_exposure else None) for name, one in opened.items()
    }
    if exposure is not None and not any(one.has_exposure for one in opened.values()):
        raise InputError("--exposure: no model was fitted with exposures. Leave it out.")
    if weights is not None:
        source.check(weights, "--weights")
    for name, one in opened.items():
        needed_columns(one, source, exposures[name])
    return Judged(source, opened, peers, exposures, target, weights)


def _remembered(models: Mapping[str, Model], what: str) -> str | None:
    """The column that models remember; raises where they do not agree."""
    found = {name: value for name, one in models.items() if (value := getattr(one.memory, what)) is not None}
    if len(set(found.values())) > 1:
        told = ", ".join(f"{name!r} {value!r}" for name, value in found.items())
        raise InputError(f"--{what}: the models were fitted to different columns: {told}. Name one.")
    return next(iter(found.values()), None)


def _count(source: Source) -> int:
    return sum(len(block) for block in source.blocks(source.columns[:1]))
