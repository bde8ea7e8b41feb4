"""Mixing rows at a named layer of any module, as points or as densities."""

import inspect
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import is_dataclass, replace
from typing import Any

import torch
import torch.utils.checkpoint
from torch import Tensor, nn

from ._group_checks import check_groups, check_kept, check_within
from ._names import unknown_name
from .pairs import Partners, draw, mix_rows

# Precision of an embedding from its mean and from the input of the module, such as a `GaussianEmbedding`.
Embedding = Callable[[Tensor, Any], Tensor]
# Standard normal numbers of a shape, such as `torch.randn`.
Noise = Callable[[torch.Size], Tensor]

_COMPILED = "_orig_mod"
_ELEMENT = re.compile(r"(.+)\[(-?\w+)\]")


def find_layer(module: nn.Module, layer: str | nn.Module) -> nn.Module:
    """The submodule that a place names; the module itself for "input" and "output".

    Raises
    ------
    ValueError
        For a name or a submodule that the module does not have, with the near misses, or a layer inside a compiled one.
    """
    if layer in ("input", "output"):
        return module
    layer = _parse(layer)[0] if isinstance(layer, str) else _name_in(module, layer)
    path = layer.split(".")
    try:
        # quicker than listing all modules, in every step; a compiled module answers to the names of what it holds
        on_the_way = [module.get_submodule(".".join(path[:depth])) for depth in range(len(path))]
        found = module.get_submodule(layer or " ")
    except AttributeError:
        names = [name for name, _ in module.named_modules(remove_duplicate=False) if name]
        raise unknown_name("layer", layer, ["input", "output", *names]) from None
    if any(_COMPILED in one._modules for one in on_the_way):
        raise ValueError(
            f"the layer {layer!r} is inside a compiled module, whose graph knows no new hooks. Mix at 'input' or "
            f"'output', train the original module, `module.{_COMPILED}`, or compile it in place, `module.compile()`."
        )
    return found


def _parse(place: str) -> tuple[str, int | str | None]:
    """The layer, and the element of its output, that a place such as "rnn[0]" or "encoder[hidden]" names."""
    match = _ELEMENT.fullmatch(place)
    if match is None:
        return place, None
    return match[1], int(match[2]) if match[2].lstrip("-").isdigit() else match[2]


def _name_in(module: nn.Module, layer: nn.Module) -> str:
    names: list[str] = [name for name, one in module.named_modules(remove_duplicate=False) if one is layer]
    if names:
        return names[0]
    raise ValueError(
        f"`layer` must be a submodule of `module` itself, not a copy; got a {type(layer).__name__} that is none of its "
        "modules. Name it, or take it from the module."
    )


@contextmanager
def fuse_at(
    module: nn.Module,
    layer: str | nn.Module,
    partners: Partners | None,
    weights: Tensor | None,
    *,
    embedding: Embedding | None = None,
    noise: Noise | None = None,
    element: int | str | None = None,
    call: int | None = None,
    batch_dim: int = 0,
) -> Iterator[None]:
    r"""While it lasts, rows are mixed at a layer of a module: its output becomes :math:`\sum_k w_{bk}\,h_{j_k(b)}`.

    Row b is the first of its group of K, :math:`j_1(b) = b`, and its K - 1 partners are the others.

    With an `embedding` the layer's output is the mean of a Gaussian density, the densities of the rows are pooled
    log-linearly, and what goes on through the module is a draw :math:`\tilde\mu + \varepsilon\,\tilde p^{-1/2}` from
    the pool, differentiable in the mean and in the precision.

    Works on any module through forward hooks, which are removed afterwards, also after an exception. Partners within
    the batch cost nothing but the mean. Stack partners from outside under the batch: N rows enter the layer, B leave.

    Parameters
    ----------
    module : nn.Module
        What is called inside the context.
    layer : str or nn.Module
        "input" (the first argument), "output", a dotted name as in `module.get_submodule`, or the submodule itself.
        A name may carry the element, as in "rnn[0]".
    partners : Tensor, (B, K - 1), int64, or int or tuple of K - 1 int, or None
        The first B <= N rows are mixed with these rows; for pairs (B,) will do. With a member axis (M, B, K - 1) or
        (M, B), for outputs (M, N, ...). Numbers mean the rows so many places further on, cyclically, which is quicker.
        None: rows are not mixed, a draw from the `embedding` of each goes on.
    weights : Tensor, (B, K) or (M, B, K), or None
        Of a row and of its partners, on the simplex over the last axis; None where `partners` is.
    embedding : callable, optional
        The layer's output (*L, N, *F) and the first argument of the module to the precision of each coordinate, of the
        shape of that output or one that broadcasts to it, such as a `probmix.GaussianEmbedding`.
    noise : callable, optional
        A shape to standard normal numbers of that shape or one that broadcasts to it, such as `torch.randn`. Without it
        the mean of the pooled density goes on.
    element : int or str, optional
        Which element is mixed, for a layer that returns a tuple, list, dict or dataclass; the others stay as they are.
    call : int, optional
        Which call is mixed, counted from 0, for a layer that runs several times in one forward pass.
    batch_dim : int
        Axis of the rows in the output, such as 1 for sequence-first recurrent layers. Not with a member axis. Along it
        there must be as many rows as the module is given, or as are mixed: if these are steps, it cannot be seen.

    Raises
    ------
    ValueError
        For an unknown layer, with the near misses; without both partners and an embedding; for weights that are not on
        the simplex, partners that do not fit them, or a layer that does not keep the rows. On a GPU, which is not
        waited for, values that are wrong end in an error of CUDA.
    TypeError
        If the output, or its element, is no tensor.
    RuntimeError
        If the layer runs several times and `call` is not given, if a forward pass never reaches it, or if it runs
        inside an activation checkpoint.

    References
    ----------
    Verma et al. (2019), Manifold Mixup: Better Representations by Interpolating Hidden States, ICML.
    El-Laham et al. (2025), Mixup Regularization: A Probabilistic Perspective, UAI, section 4.

    Examples
    --------
    >>> import torch
    >>> from probmix import fuse_at
    >>> network = torch.nn.Sequential(torch.nn.Linear(1, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1))
    >>> partners, weights = torch.tensor([1, 0]), torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    >>> with fuse_at(network, "1", partners, weights):
    ...     network(torch.zeros(2, 1)).shape
    torch.Size([2, 1])

    Three rows, 1, 10 and 100, with the weights 0.2, 0.3 and 0.5:

    >>> rows, weights = torch.tensor([[1.0], [10.0], [100.0]]), torch.tensor([[0.2, 0.3, 0.5]])
    >>> identity = torch.nn.Identity()
    >>> with fuse_at(identity, "output", torch.tensor([[1, 2]]), weights):
    ...     identity(rows)
    tensor([[53.2000]])

    As densities, with a precision of 25 everywhere:

    >>> def precise(mean, x):
    ...     return torch.full_like(mean, 25.0)
    >>> weights = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    >>> with fuse_at(network, "1", partners, weights, embedding=precise, noise=torch.randn):
    ...     network(torch.zeros(2, 1)).shape
    torch.Size([2, 1])
    """
    check_groups(partners, weights)
    with fuse_unchecked(
        module,
        layer,
        partners,
        weights,
        embedding=embedding,
        noise=noise,
        element=element,
        call=call,
        batch_dim=batch_dim,
        within=check_within,
    ):
        yield


@contextmanager
def fuse_unchecked(
    module: nn.Module,
    layer: str | nn.Module,
    partners: Partners | None,
    weights: Tensor | None,
    *,
    embedding: Embedding | None = None,
    noise: Noise | None = None,
    element: int | str | None = None,
    call: int | None = None,
    batch_dim: int = 0,
    within: Callable[[Partners | None, int], None] | None = None,
) -> Iterator[None]:
    """`fuse_at` of partners and weights that are known to be right, in every step of a training."""
    target = find_layer(module, layer)
    if isinstance(layer, str) and element is None:
        layer, element = _parse(layer)
    name = layer if isinstance(layer, str) else type(layer).__name__
    if (partners is None) != (weights is None) or (partners is None and embedding is None):
        raise ValueError("`partners` and `weights` come together, and only an `embedding` can do without both.")
    calls, fused, passes, checkpoints = 0, 0, 0, 0
    given: Any = None

    def fuse(values: Any) -> Tensor:
        nonlocal fused
        if not isinstance(values, Tensor):
            raise TypeError(
                f"the layer {name!r} gives {_described(values)}, not a tensor. Say which element is mixed with "
                "`element`."
            )
        fused += 1
        rows = values.movedim(batch_dim, 0) if batch_dim else values
        if weights is not None:
            check_kept(name, rows.shape[weights.ndim - 2], weights, given, batch_dim)
        if within is not None:
            within(partners, rows.shape[0 if weights is None else weights.ndim - 2])
        if embedding is not None:
            mixed = draw(rows, embedding(rows, given).expand_as(rows), partners, weights, noise)
        elif partners is not None and weights is not None:
            mixed = mix_rows(rows, partners, weights)
        return mixed.movedim(0, batch_dim) if batch_dim else mixed

    def before_pass(_: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        nonlocal calls, passes, checkpoints, given
        calls, passes, checkpoints = 0, passes + 1, _checkpoints_around()
        first = "" if arguments else next(iter(inspect.signature(module.forward).parameters), "")
        given = arguments[0] if arguments else named.get(first)
        if layer != "input":
            return None
        if not arguments and first not in named:
            raise TypeError("rows are mixed at the input, and none came first. Call the module as in `module(x)`.")
        mixed = fuse(given)
        return ((mixed, *arguments[1:]), named) if arguments else ((), {**named, first: mixed})

    def after_layer(_: nn.Module, arguments: tuple[Any, ...], output: Any) -> Any:
        nonlocal calls
        calls += 1
        if _checkpoints_around() > checkpoints:
            raise RuntimeError(
                f"the layer {name!r} runs inside an activation checkpoint, which runs it again in the backward pass, "
                "when rows are no longer mixed. Mix at 'input' or 'output', or at a layer outside of the checkpoint."
            )
        if call is None and calls > 1:
            raise RuntimeError(
                f"the layer {name!r} runs more than once in a forward pass; say which call is mixed with call=0, 1, ..."
            )
        return None if call is not None and calls - 1 != call else _replace(output, element, fuse)

    handles = [module.register_forward_pre_hook(before_pass, with_kwargs=True)]
    if layer != "input":
        handles.append(target.register_forward_hook(after_layer))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
    if passes and not fused:
        reached = f"runs {calls} time(s), and call={call} is asked for" if call is not None else "does not run"
        raise RuntimeError(f"nothing was mixed: the layer {name!r} {reached} in the forward pass.")


def _checkpoints_around() -> int:
    """How many calls of `torch.utils.checkpoint` this one is inside of."""
    found, frame = 0, sys._getframe(1).f_back
    while frame is not None:
        found += frame.f_code.co_filename == torch.utils.checkpoint.__file__
        frame = frame.f_back
    return found


@torch.no_grad()
def layer_shape(module: nn.Module, layer: str | nn.Module, x: Tensor) -> torch.Size:
    """Shape of what a layer gives for an input of the module."""
    shapes = []

    def record(mean: Tensor, _: Any) -> Tensor:
        shapes.append(mean.shape)
        return torch.ones_like(mean)

    with fuse_at(module, layer, None, None, embedding=record):
        module(x)
    return shapes[0]


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
