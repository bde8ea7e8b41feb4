"""Training: members in groups that fit, and what comes of them."""

from dataclasses import replace

from ..families import TargetScaler
from ..networks import InputUnits, MemberNetwork
from .bins import quantile_bins
from .checkpoint import Checkpoint
from .course import Course
from .data import marginal, raw_bounds
from .description import UndescribableError, description
from .floors import raise_floors_
from .groups import groups_of, place, train_groups
from .memory import groups_beside, members_at_once
from .options import TrainingResult
from .task import Task
from .threads import limited_to, threads_for


def train(network: MemberNetwork, task: Task) -> tuple[TargetScaler, TrainingResult]:
    """Train M members, as many at a time as fit.

    Member m depends on its key, its rows and the data only: it is, to rounding, what it would be alone. A network that
    draws by torch's own generator, as `torch.nn.Dropout` does, is an exception: its group draws as one.

    Parameters
    ----------
    network : MemberNetwork
        With M members, on the device of the data; initialised here and trained in place.
    task : Task
        Of the members.

    Returns
    -------
    scaler : TargetScaler
        Takes natural parameters of the network back to the user's units; (M, 1[, d]).
    result : TrainingResult

    Raises
    ------
    DivergenceError
        If a member diverged before it learned anything.
    KeyboardInterrupt
        If the user interrupts the run before its first epoch has ended. Later, members keep the best weights that they
        have, and those whose turn had not come start at the distribution of the targets without features.
    ValueError
        If features or targets are too large for float64, or the network was built for another kind of embedding.
    """
    data, mixup, options = task.data, task.mixup, task.options
    if (mixup.embedding == "point") != (network.density_place is None):
        raise ValueError(f"the network must be built for the embedding {mixup.embedding!r} of the mixup; it is not.")
    family, scaler, units = task.objective.family, task.scaler, data.input_units(network.layout)
    _check_units(scaler, units)
    network.initialize_(task.keys, units, marginal(family, data, scaler), raw_bounds(family, data, scaler))
    if network.n_bins:
        network.set_bins_(quantile_bins(network, data))
    course = Course(network, task)
    checkpoint = None if options.checkpoint is None else _checkpoint(network, task)
    stored = None if checkpoint is None else checkpoint.load(data.device)
    if stored is not None:
        course.load_(stored)
    size = members_at_once(network, task) if stored is None else int(stored["size"])
    groups = len(groups_of(task, size))
    rows = data.train_rows.shape[1]
    threads = threads_for(network, min(rows, options.batch_size or rows), size)
    beside = groups_beside(network, task, size, groups) if threads == 1 else 1
    with limited_to(threads):
        train_groups(course, size, beside, checkpoint, stored)
        if checkpoint is not None and options.keeps_checkpoint and not course.interrupted:
            # as it was before the floors
            checkpoint.write(place(size, [True] * groups) | course.state())
        if task.validates:
            try:
                raise_floors_(network, task, size)
            except KeyboardInterrupt:
                # all is trained, and members that have not had their turn keep the floor of training
                course.interrupted = True
    try:
        result = course.result(max(threads, beside))
    finally:
        # a run that diverged would diverge again
        if checkpoint is not None and not (course.interrupted or options.keeps_checkpoint):
            checkpoint.remove()
    return scaler, result


def _check_units(scaler: TargetScaler, units: InputUnits) -> None:
    for name, tensors in (("X", (units.loc, units.scale)), ("y", (scaler.loc, scaler.scale))):
        if not all(bool(tensor.isfinite().all()) for tensor in tensors):
            raise ValueError(f"{name} holds numbers whose sum overflows; divide by a power of ten.")


def _checkpoint(network: MemberNetwork, task: Task) -> Checkpoint:
    data, options = task.data, task.options
    assert options.checkpoint is not None  # the caller asked
    # where a run may go on is decided by what it computes, not by how long it may take or how it looks
    settings = replace(options, checkpoint=None, keeps_checkpoint=False, verbose=False, ends_at=None)
    try:
        run = description(
            network=network.description, objective=task.objective, mixup=task.mixup, settings=settings, keys=task.keys,
            rows=data.to_hash(), state=list(network.state.values()),
        )  # fmt: skip
    except UndescribableError as error:
        raise ValueError(
            f"`checkpoint` must tell a run from any other: {error}. Make it of plain values, tensors, functions and "
            "objects with attributes, or set checkpoint=None."
        ) from None
    return Checkpoint(options.checkpoint, run)
