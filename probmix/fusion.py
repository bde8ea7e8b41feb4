"""Making rows meet at a named layer of any module."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import is_dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ._names import unknown_name

_COMPILED = "_orig_mod"


def take_rows(values: Tensor, index: Tensor) -> Tensor:
    """Rows by number, member by member: (*L, N, *F), (*L, B) -> (*L, B, *F), with at most one leading axis L.

    The rows are taken from the flattened members by `index_select`, whose backward pass is much quicker than that of a
    gather along expanded features.
    """
    if index.ndim == 1:
        return values.index_select(0, index)
    members, rows = values.shape[:2]
    offset = torch.arange(0, members * rows, rows, device=index.device).unsqueeze(-1)
    taken = values.flatten(0, 1).index_select(0, (index + offset).flatten())
    return taken.view(*index.shape, *values.shape[2:])


def pair_up(values: Tensor, partners: Tensor | int, row_dim: int) -> tuple[Tensor, Tensor]:
    """The first B rows, and their partners: (*L, N, *F), (*L, B) -> two of (*L, B, *F).

    As a number, `partners` says how many places further on, cyclically, every row has its partner.
    """
    if isinstance(partners, int):
        return values, values.roll(-partners, row_dim)
    return values.narrow(row_dim, 0, partners.shape[-1]), take_rows(values, partners)


def meet(one: Tensor, other: Tensor, weights: Tensor) -> Tensor:
    """The weighted mean of two points, (*L, B, *F) twice and (*L, B, 2) -> (*L, B, *F), exact where they are equal."""
    share = weights[..., 1].to(one.dtype)
    return torch.lerp(one, other, share.reshape(share.shape + (1,) * (one.ndim - share.ndim)))


def find_layer(module: nn.Module, layer: str | nn.Module) -> nn.Module:
    """The submodule that a place of meeting names; the module itself for "input" and "output".

    Raises
    ------
    ValueError
        For a name or a submodule that the module does not have, with the near misses, or a layer inside a compiled one.
    """
    if layer in ("input", "output"):
        return module
    named: dict[str, nn.Module] = dict(module.named_modules(remove_duplicate=False))
    if isinstance(layer, nn.Module):
        names = [name for name, one in named.items() if one is layer]
        if not names:
            raise ValueError(
                f"`layer` must be a submodule of `module` itself, not a copy; got a {type(layer).__name__} that is "
                f"none of its {len(named)} modules. Name it, or take it from the module."
            )
        layer = names[0]
    elif layer not in named or not layer:
        raise unknown_name("layer", layer, ["input", "output", *filter(None, named)])
    if _COMPILED in layer.split("."):
        raise ValueError(
            f"the layer {layer!r} is inside a compiled module, whose graph knows no new hooks. "
            f"Meet at 'input' or 'output', or train the original module, `module.{_COMPILED}`."
        )
    return named[layer]


@contextmanager
def fuse_at(
    module: nn.Module,
    layer: str | nn.Module,
    partners: Tensor | int,
    weights: Tensor,
    *,
    element: int | str | None = None,
    call: int | None = None,
    batch_dim: int = 0,
) -> Iterator[None]:
    r"""While it lasts, rows meet at a layer of a module: its output becomes :math:`w_1 h_b + w_2 h_{j(b)}`.

    Works on any module through forward hooks, which are removed afterwards, also after an exception. Partners within
    the batch cost nothing but the mean. Stack partners from outside under the batch: N rows enter the layer, B leave.

    Parameters
    ----------
    module : nn.Module
        What is called inside the context.
    layer : str or nn.Module
        "input" (the first argument), "output", a dotted name as in `module.get_submodule`, or the submodule itself.
    partners : Tensor, (B,), int64, or int
        The first B <= N rows meet these rows. With a member axis (M, B), for outputs (M, N, ...). A number means the
        row so many places further on, cyclically, which is quicker.
    weights : Tensor, (B, 2) or (M, B, 2)
        On the simplex over the last axis.
    element : int or str, optional
        Which element meets, for a layer that returns a tuple, list, dict or dataclass; the others stay as they are.
    call : int, optional
        Which call meets, counted from 0, for a layer that runs several times in one forward pass.
    batch_dim : int
        Axis of the rows in the output, such as 1 for sequence-first recurrent layers. Not with a member axis.

    Raises
    ------
    ValueError
        For an unknown layer, with the near misses.
    TypeError
        If the output, or its element, is no tensor.
    RuntimeError
        If the layer runs several times and `call` is not given, or if a forward pass never reaches it.

    References
    ----------
    Verma et al. (2019), Manifold Mixup: Better Representations by Interpolating Hidden States, ICML.

    Examples
    --------
    >>> import torch
    >>> from probmix import fuse_at
    >>> network = torch.nn.Sequential(torch.nn.Linear(1, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1))
    >>> partners, weights = torch.tensor([1, 0]), torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    >>> with fuse_at(network, "1", partners, weights):
    ...     network(torch.zeros(2, 1)).shape
    torch.Size([2, 1])
    """
    target = find_layer(module, layer)
    name = layer if isinstance(layer, str) else type(layer).__name__
    row_dim = weights.ndim - 2
    calls, fused, passes = 0, 0, 0

    def fuse(values: Any) -> Tensor:
        nonlocal fused
        if not isinstance(values, Tensor):
            raise TypeError(
                f"the layer {name!r} gives {_described(values)}, not a tensor. Say which element meets with `element`."
            )
        fused += 1
        rows = values.movedim(batch_dim, 0) if batch_dim else values
        if rows.shape[row_dim] < weights.shape[row_dim]:
            raise ValueError(
                f"the layer {name!r} gives {rows.shape[row_dim]} rows along dim {batch_dim}, fewer than the "
                f"{weights.shape[row_dim]} that meet. Set `batch_dim`, or meet at a layer that keeps the rows."
            )
        met = meet(*pair_up(rows, partners, row_dim), weights)
        return met.movedim(0, batch_dim) if batch_dim else met

    def before_pass(_: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
        nonlocal calls, passes
        calls, passes = 0, passes + 1
        if layer != "input":
            return None
        return (fuse(arguments[0] if arguments else None), *arguments[1:])

    def after_layer(_: nn.Module, arguments: tuple[Any, ...], output: Any) -> Any:
        nonlocal calls
        calls += 1
        if call is None and calls > 1:
            raise RuntimeError(
                f"the layer {name!r} runs more than once in a forward pass; say which call meets with call=0, 1, ..."
            )
        return None if call is not None and calls - 1 != call else _replace(output, element, fuse)

    handles = [module.register_forward_pre_hook(before_pass)]
    if layer != "input":
        handles.append(target.register_forward_hook(after_layer))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
    if passes and not fused:
        reached = f"runs {calls} time(s), and call={call} is asked for" if call is not None else "does not run"
        raise RuntimeError(f"nothing met: the layer {name!r} {reached} in the forward pass.")


def _replace(output: Any, element: int | str | None, fuse: Callable[[Any], Tensor]) -> Any:
    """The output with its element fused, of the type that it had."""
    if element is None:
        return fuse(output)
    if isinstance(output, dict):
        return type(output)({**output, element: fuse(output.get(element))})
    if isinstance(element, str) and is_dataclass(output) and not isinstance(output, type):
        return replace(output, **{element: fuse(getattr(output, element, None))})
    if isinstance(element, int) and isinstance(output, (tuple, list)) and -len(output) <= element < len(output):
        values = list(output)
        values[element] = fuse(values[element])
        # named tuples are made from their fields, other sequences from one iterable
        return type(output)(*values) if hasattr(output, "_fields") else type(output)(values)
    raise TypeError(f"`element` {element!r} is not in what the layer gives, {_described(output)}.")


def _described(values: Any) -> str:
    if isinstance(values, dict):
        return f"a {type(values).__name__} with the keys {', '.join(map(repr, values))}"
    if isinstance(values, (tuple, list)):
        return f"a {type(values).__name__} of {len(values)} ({', '.join(type(one).__name__ for one in values)})"
    return "None" if values is None else f"a {type(values).__name__}"
