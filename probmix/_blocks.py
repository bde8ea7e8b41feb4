"""Rows in blocks that stay in the cache of the processor, where nothing is kept for a gradient."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor
from torch.autograd import forward_ad

# Up to so many elements torch runs an operation on one thread: none waits for another before a block is done.
_ELEMENTS = 2**15


def in_blocks(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """function(*tensors), evaluated for a block of rows at a time on as many threads as torch has.

    Parameters
    ----------
    function : callable
        Gives one value per row, of each row alone.
    tensors : Tensor, (n, ...)
        On a GPU, or where a gradient is asked for, all rows are one block.

    Returns
    -------
    Tensor, (n,)
    """
    rows = len(tensors[0])
    size = max(1, _ELEMENTS // max(1, *(t[:1].numel() for t in tensors)))
    if rows <= size or not is_plain(*tensors):
        return function(*tensors)
    parts = list(zip(*(t.split(size) for t in tensors), strict=True))
    with torch.no_grad():
        first = function(*parts[0])
    values = first.new_empty(rows)
    places = values.split(size)
    inference, workers = torch.is_inference_mode_enabled(), min(torch.get_num_threads(), len(parts))

    def fill(start: int) -> None:
        # both modes belong to a thread
        with torch.inference_mode(inference), torch.no_grad():
            for part, place in zip(parts[start::workers], places[start::workers], strict=True):
                place.copy_(function(*part))

    if workers == 1:
        fill(0)
    else:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(fill, range(workers)))
    return values


def is_plain(*tensors: Tensor) -> bool:
    """Whether all are memory of the CPU and nothing else: no gradient is asked for, no transform of torch.func acts."""
    return all(t.device.type == "cpu" and not _is_tracked(t) and _has_memory(t) for t in tensors)


def _is_tracked(tensor: Tensor) -> bool:
    backward = torch.is_grad_enabled() and tensor.requires_grad
    return backward or forward_ad.unpack_dual(tensor).tangent is not None


def _has_memory(tensor: Tensor) -> bool:
    try:
        tensor.data_ptr()
    except RuntimeError:
        return False
    return True
