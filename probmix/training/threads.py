"""How many of torch's threads a fit takes: small matrices are multiplied sooner by one than by several."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock, local

import torch

from ..networks import MemberNetwork

# Multiplications in the forward pass of a step. Below it a second thread makes a fit 1.4 to 1.6 times as fast where
# nothing else runs, and 8 to 50 times as slow beside other work: threads wait for each other in every product, and
# where two of them share a processor each wait lasts until the other's turn is over (benchmarks/threads.py).
_WORTH_SHARING = 1_000_000_000


def threads_for(network: MemberNetwork, rows: int, members: int) -> int:
    """Threads for steps of so many rows: one, or for a large network as many as there are.

    Parameters
    ----------
    network : MemberNetwork
    rows : int
        Of a batch.
    members : int
        How many are trained at a time.
    """
    if network.loc.device.type != "cpu":
        return available_threads()
    shape = network.seen_shape
    # weights of layers over sequences and images are used at every step and pixel
    places = math.prod(shape) // shape[0 if len(shape) > 2 else -1]
    weights = sum(tensor[0].numel() for tensor in network.state.values() if tensor.requires_grad)
    rows *= network.n_predictions
    return 1 if members * rows * places * weights < _WORTH_SHARING else available_threads()


class _Threads:
    """The number of torch's threads, which is one of each thread of the process; a new thread begins with the last set.

    So a thread that begins while another fits finds one, and is to have in the end what there was before all of them.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._active, self._before = 0, 1
        # what this thread found where its fit began
        self._found = local()

    @property
    def found(self) -> int | None:
        """What this thread has outside its fit, None where it is not in one."""
        return getattr(self._found, "threads", None)

    @contextmanager
    def single(self) -> Iterator[None]:
        """One thread for this fit, and then what there was before."""
        with self._lock:
            found = torch.get_num_threads()
            if not self._active:
                self._before = found
            self._active += 1
            self._found.threads = found
            torch.set_num_threads(1)
        try:
            yield
        finally:
            with self._lock:
                self._active -= 1
                self._found.threads = None
                torch.set_num_threads(self._before if found == 1 else found)

    @contextmanager
    def several(self, threads: int) -> Iterator[None]:
        """So many for a part of this fit."""
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(1)


_THREADS = _Threads()


def available_threads() -> int:
    """Those that torch has here, or had where the fit began that this is a part of."""
    return _THREADS.found or torch.get_num_threads()


@contextmanager
def limited_to(threads: int) -> Iterator[None]:
    """While it lasts, torch has so many threads, one or all that are available, and never more."""
    found = _THREADS.found
    if threads == 1 and found is None:
        with _THREADS.single():
            yield
    elif threads > 1 and found is not None and found > 1:
        with _THREADS.several(found):
            yield
    else:
        yield
