"""Groups of members whose turn comes one after the other, some of them beside each other."""

from collections.abc import Sequence
from contextlib import nullcontext
from threading import Event, Lock, Thread
from time import perf_counter
from typing import NoReturn

import torch
from torch import Tensor
from tqdm.auto import tqdm

from .._told import speaking_from_here
from .checkpoint import Checkpoint
from .course import Course
from .deadline import Deadline
from .floors import SHARES
from .run import EndedError, Run, with_prefix
from .task import Task

# Epochs between two updates of what the progress bar says of the losses: for a GPU every one is a wait.
_TELL_EVERY = 10
# Out-of-fold densities, and the weights and scores of a stack, take about as long as to judge members so many times.
_JUDGED_AFTERWARDS = 4
# Where a wait for other threads cannot be interrupted, the user need not press for longer than this.
_SECONDS_OF_A_WAIT = 0.2


def train_groups(
    course: Course,
    size: int,
    beside: int,
    checkpoint: Checkpoint | None,
    stored: dict[str, Tensor] | None,
) -> None:
    """Train all members, from what a checkpoint holds, if it holds anything.

    Parameters
    ----------
    course : Course
        Takes what comes of the members.
    size : int
        How many members are trained as one, at most.
    beside : int
        How many groups are trained at a time, each in a thread of its own. What a group is trained to does not depend
        on the others, and torch leaves Python to the other threads in all of its operations.
    checkpoint : Checkpoint or None
    stored : dict of str to Tensor, or None
        What the checkpoint held.
    """
    options, groups = course.task.options, groups_of(course.task, size)
    with nullcontext() if not options.verbose else _bar(len(groups) * options.max_epochs) as bar:
        _Turns(course, size, groups, beside, checkpoint, stored or {}, bar).train()


def _bar(epochs: int) -> "tqdm[NoReturn]":
    """A bar of all epochs. One that shows nothing is no bar: tqdm would begin a thread that never ends."""
    return tqdm(total=epochs, desc="training", unit="epoch")


def groups_of(task: Task, size: int) -> list[Tensor]:
    """Numbers of the members that are trained as one: with equally many rows, and so many at most.

    As few groups as can be, as equal as can be: beside each other the largest says how long all of them take.
    """
    return [group for alike in task.data.alike() for group in alike.tensor_split(-(-len(alike) // size))]


def place(size: int, done: Sequence[bool]) -> dict[str, Tensor]:
    """What a checkpoint says of the groups: how large they are, and which of them are done."""
    return {"size": torch.tensor(size), "done": torch.tensor(done)}


class _Turns:
    """Groups in the order of their turns, and the threads that take them.

    A checkpoint has of each group whether it is done, or the state of its run after an epoch. What it has of the course
    is written while other groups go on, and so their entries count for nothing until their runs do.
    """

    def __init__(
        self,
        course: Course,
        size: int,
        groups: list[Tensor],
        beside: int,
        checkpoint: Checkpoint | None,
        stored: dict[str, Tensor],
        bar: "tqdm[NoReturn] | None",
    ) -> None:
        self._course, self._size, self._groups, self._beside = course, size, groups, beside
        self._checkpoint, self._bar = checkpoint, bar
        self._turns = iter(range(len(groups)))
        # of what is known of more than one group
        self._lock = Lock()
        # runs are prepared one by one: to look for neighbours sets the threads of the whole process for a while
        self._preparing = Lock()
        # no group takes another step: the user has interrupted, or one of them has failed
        self._ended = Event()
        self._errors: list[BaseException] = []
        self._running: dict[int, Run] = {}
        self._done = stored["done"].tolist() if stored else [False] * len(groups)
        runs = [with_prefix(stored, f"run.{number}.") for number in range(len(groups))]
        self._stored = {number: run for number, run in enumerate(runs) if run}
        for number, group in enumerate(groups):
            if stored and not self._done[number]:
                course.reset_(self._stored[number]["members"] if number in self._stored else group, 0)

    def train(self) -> None:
        """Take all turns, in this thread and beside it."""
        others = [
            Thread(target=speaking_from_here(self._help), name="probmix members") for _ in range(self._beside - 1)
        ]
        try:
            for other in others:
                other.start()
            self._take_turns()
            _join(others)
        except KeyboardInterrupt:
            # Ctrl-C, which reaches the main thread alone
            begun = self._course.has_begun
            self._ended.set()
            if not begun:
                raise
            # a second one is raised
            _join(others)
            self._course.interrupt_(self._running.values())
        except EndedError:
            # another group has failed
            assert self._errors
        finally:
            self._ended.set()
            _join(others)
        if self._errors:
            raise self._errors[0]

    def _help(self) -> None:
        """Take turns beside the thread that has to be told of errors."""
        # a new thread has as many as any other was given last
        torch.set_num_threads(1)
        try:
            self._take_turns()
        except EndedError:
            pass
        except BaseException as error:
            self._errors.append(error)
            self._ended.set()

    def _take_turns(self) -> None:
        """Train one group after the other, until none is left."""
        while (number := self._next()) is not None:
            if not self._done[number]:
                self._train(number)
            else:
                with self._lock:
                    self._advance(self._course.task.options.max_epochs)

    def _next(self) -> int | None:
        with self._lock:
            return None if self._ended.is_set() else next(self._turns, None)

    def _train(self, number: int) -> None:
        course = self._course
        run = self._running[number] = self._begun(number)
        while self._goes_on(number, run):
            run.train_epoch()
            self._note(number, run)
        with self._lock:
            course.take_over(run)
            self._done[number] = True
            del self._running[number]
            self._stored.pop(number, None)
            self._advance(course.task.options.max_epochs - run.epoch)

    def _begun(self, number: int) -> Run:
        """The run of a group, as far as it is."""
        course, members = self._course, self._groups[number]
        with self._preparing:
            run = Run(course.network.members(members), course.task.members(members), members, self._ended)
        run.deadline = Deadline(self._seconds(number, run))
        if number in self._stored:
            # a run changes what it has taken over
            run.load_({name: tensor.clone() for name, tensor in self._stored[number].items()})
            with self._lock:
                course.reset_(run.members, run.epoch)
                self._advance(run.epoch)
        return run

    def _goes_on(self, number: int, run: Run) -> bool:
        """Whether a run has another epoch before it; those that have stopped leave it."""
        if run.epoch >= self._course.task.options.max_epochs or run.deadline.is_over:
            return False
        before = len(run.members)
        with self._lock:
            goes_on = not self._course.dismiss(run)
            if self._checkpoint is not None and len(run.members) < before:
                # what the course has taken over of a run is no part of it any more
                self._store(number, run)
        return goes_on

    def _note(self, number: int, run: Run) -> None:
        """Write down what came of an epoch."""
        self._course.note(run)
        with self._lock:
            self._advance(1)
            if self._bar is not None and run.task.validates and run.epoch % _TELL_EVERY == 0:
                score = f"{run.best.score.mean().item():.4f}"
                self._bar.set_postfix(validation_loss=score, members=len(run.members), refresh=False)
            # of an epoch that was cut short nobody could tell where it goes on
            if self._checkpoint is not None and not run.deadline.is_over and self._checkpoint.is_due(number):
                self._store(number, run)
                runs = {f"run.{of}.{name}": one for of, state in self._stored.items() for name, one in state.items()}
                self._checkpoint.write(place(self._size, self._done) | runs | self._course.state())
                self._checkpoint.wait_again(number)

    def _advance(self, epochs: int) -> None:
        """Move the bar, if there is one; others wait meanwhile."""
        if self._bar is not None:
            self._bar.update(epochs)

    def _store(self, number: int, run: Run) -> None:
        """Keep the state of a run for the checkpoint: others are written while it is in the middle of a step."""
        self._stored[number] = {name: tensor.detach().clone() for name, tensor in run.state().items()}

    def _seconds(self, number: int, run: Run) -> float | None:
        """How long the steps of a group may take: its share of the time, which is that of the rounds that are left.

        After the last epoch its members are judged once more, and at the end all of them, with every floor and
        otherwise.
        """
        ends_at = self._course.task.options.ends_at
        if ends_at is None:
            return None
        starts = range(0, len(self._groups), self._beside)
        rounds = [max(map(len, self._groups[start : start + self._beside])) for start in starts]
        now = number // self._beside
        judging = run.judging_seconds / len(run.members)
        afterwards = (len(SHARES) + _JUDGED_AFTERWARDS) * self._course.network.n_members * judging
        left = ends_at - perf_counter() - afterwards
        return rounds[now] * (left / sum(rounds[now:]) - judging)


def _join(threads: list[Thread]) -> None:
    for thread in threads:
        while thread.is_alive():
            thread.join(_SECONDS_OF_A_WAIT)
