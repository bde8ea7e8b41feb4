"""What a run is, as a hash of all that decides what it computes."""

import enum
import hashlib
import sys
import weakref
from collections import deque
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import PurePath
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils.hooks import RemovableHandle

# What stands in these is known by its name; of everything else the code counts.
_LIBRARIES = {"torch", "numpy", "scipy", "sklearn", "pyro", "probmix", *sys.stdlib_module_names}
_ATOMS = (type(None), bool, int, float, complex, str, bytes, type(...), range, slice, PurePath)
_TORCH_ATOMS = (torch.dtype, torch.device, torch.layout, torch.memory_format)
# Of a class: what Python makes, or what only people read.
_INCIDENTAL = {
    "__doc__",
    "__module__",
    "__annotations__",
    "__dict__",
    "__weakref__",
    "__abstractmethods__",
    "_abc_impl",
}
_INCIDENTAL |= {"__dataclass_fields__", "__dataclass_params__", "__firstlineno__", "__static_attributes__"}
_INCIDENTAL |= {"__annotate__", "__annotate_func__", "__annotations_cache__", "__parameters__", "__orig_bases__"}
_HOOKS = ("_forward_pre_hooks", "_forward_hooks")


class UndescribableError(Exception):
    """There is no telling what an object is from what it says of itself."""


def description(**values: Any) -> str:
    """Hash of values of any kind: equal wherever and whenever the same is meant.

    Plain values, containers, arrays and tensors count as they are; functions by their code, defaults, closures and the
    global names they use; objects by their class and attributes; modules of a network also by their tensors, hooks and
    parts. What belongs to torch, NumPy and the like is known by its name.

    Raises
    ------
    UndescribableError
        For an object without attributes whose class is not written in Python, such as a generator, by its path.

    Examples
    --------
    >>> from functools import partial
    >>> description(rate=partial(pow, 2)) == description(rate=partial(pow, 2))
    True
    >>> description(rate=partial(pow, 2)) == description(rate=partial(pow, 3))
    False
    """
    describer = _Describer()
    for name, value in values.items():
        describer.add(value, name)
    return describer.digest.hexdigest()


class _Describer:
    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        # objects that may refer to themselves: their number, and they themselves, for an identity is reused
        self._seen: dict[int, tuple[int, Any]] = {}

    def _tell(self, *words: object) -> None:
        for word in words:
            text = word if isinstance(word, bytes) else str(word).encode()
            # with their lengths, so that no two sequences of words look alike
            self.digest.update(f"{len(text)}:".encode() + text)

    def _is_known(self, value: Any) -> bool:
        known = id(value) in self._seen
        number, _ = self._seen.setdefault(id(value), (len(self._seen), value))
        self._tell("object", number)
        return known

    def add(self, value: Any, path: str) -> None:
        """Describe a value, which is found at a path."""
        kind = type(value)
        if isinstance(value, enum.Enum):
            self._tell("enum", _name_of(kind), value.name)
        elif isinstance(value, _ATOMS + _TORCH_ATOMS):
            self._tell(kind.__name__, repr(value))
        elif isinstance(value, np.generic):
            self._tell("number", value.dtype.str, value.tobytes())
        elif isinstance(value, Tensor):
            self._add_tensor(value)
        elif isinstance(value, np.ndarray) and value.dtype != object:
            self._tell("array", value.dtype.str, value.shape, value.tobytes())
        elif isinstance(value, CodeType):
            self._add_code(value, path)
        elif isinstance(value, (tuple, list, deque, np.ndarray)) and not hasattr(value, "__dict__"):
            self._tell(_name_of(kind), len(value))
            self._add_all(((f"{path}[{place}]", one) for place, one in enumerate(value)))
        elif isinstance(value, (set, frozenset)):
            self._tell(_name_of(kind), *sorted(description(member=one) for one in value))
        elif isinstance(value, ModuleType):
            self._tell("module", value.__name__)
        elif isinstance(value, (weakref.ref, RemovableHandle)):
            # the handle of a hook has a number that counts all hooks of a process
            self._tell("reference")
        elif isinstance(value, (BuiltinFunctionType, np.ufunc)) or _is_descriptor(value):
            self._tell("builtin", getattr(value, "__module__", None), getattr(value, "__qualname__", value.__name__))
            owner = getattr(value, "__self__", None)
            if not isinstance(owner, (type(None), type, ModuleType)):
                self.add(owner, path)
        elif not self._is_known(value):
            self._add_object(value, path)

    def _add_all(self, named: Iterable[tuple[str, Any]]) -> None:
        for path, value in named:
            self.add(value, path)

    def _add_object(self, value: Any, path: str) -> None:
        """What may refer to itself."""
        if isinstance(value, dict):
            self._tell(_name_of(type(value)), len(value))
            for key, one in value.items():
                self.add(key, path)
                self.add(one, f"{path}[{key!r}]")
        elif isinstance(value, type):
            self._add_class(value, path)
        elif isinstance(value, FunctionType):
            self._add_function(value, path)
        elif isinstance(value, MethodType):
            self._add_all([(path, value.__func__), (path, value.__self__)])
        elif isinstance(value, partial):
            self._add_all([(path, value.func), (path, value.args), (path, value.keywords)])
        elif isinstance(value, (staticmethod, classmethod)):
            self._tell(type(value).__name__)
            self.add(value.__func__, path)
        elif isinstance(value, property):
            self._add_all([(path, value.fget), (path, value.fset)])
        elif isinstance(value, nn.Module):
            self._add_module(value, path)
        else:
            state = _state_of(value)
            if state is None:
                raise UndescribableError(f"`{path}` is a {_name_of(type(value))}, which says nothing of what it is")
            self.add(type(value), path)
            self._add_all((f"{path}.{name}", one) for name, one in state)

    def _add_tensor(self, tensor: Tensor) -> None:
        if is_lazy(tensor):
            self._tell("lazy tensor")
            return
        flat = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
        self._tell("tensor", tensor.dtype, tuple(tensor.shape), tensor.requires_grad, flat.numpy().tobytes())

    def _add_module(self, module: nn.Module, path: str) -> None:
        self.add(type(module), path)
        own = {name: value for name, value in vars(module).items() if name not in _MODULE_ATTRIBUTES}
        for name, value in sorted(own.items()):
            self._tell(name)
            if _is_library(type(module)):
                self._add_if_possible(value, f"{path}.{name}")
            else:
                self.add(value, f"{path}.{name}")
        for name in _HOOKS:
            self.add(list(getattr(module, name).values()), f"{path}.{name}")
        tensors = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        for name, value in (*tensors, *module.named_children()):
            self._tell(name)
            self.add(value, f"{path}.{name}")

    def _add_class(self, kind: type, path: str) -> None:
        self._tell("class", _name_of(kind))
        if _is_library(kind):
            return
        self._add_all((path, base) for base in kind.__bases__)
        for name, value in sorted(vars(kind).items()):
            if name not in _INCIDENTAL:
                self._tell(name)
                self.add(value, f"{path}.{name}")

    def _add_function(self, function: FunctionType, path: str) -> None:
        if _is_library(function):
            self._tell("function", _name_of(function))
            return
        self.add(function.__code__, path)
        self.add(function.__defaults__, path)
        self.add(function.__kwdefaults__, path)
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            try:
                value = cell.cell_contents
            except ValueError:  # not yet bound
                continue
            self._tell(name)
            self.add(value, f"{path}, {name}")
        for name in sorted(_names_in(function.__code__) & function.__globals__.keys()):
            self._tell(name)
            value = function.__globals__[name]
            # a global container or object may be a log or a cache, which is no part of what is meant
            fixed = isinstance(value, (*_ATOMS, tuple, Tensor, np.ndarray, FunctionType, type, partial, nn.Module))
            self._add_if_possible(value, f"{path}, {name}") if fixed else self._tell(_name_of(type(value)))

    def _add_code(self, code: CodeType, path: str) -> None:
        self._tell("code", code.co_code, code.co_names, code.co_freevars, code.co_argcount, code.co_flags)
        self._add_all((path, constant) for constant in code.co_consts)

    def _add_if_possible(self, value: Any, path: str) -> None:
        try:
            self.add(value, path)
        except UndescribableError:
            self._tell("undescribed", _name_of(type(value)))


_MODULE_ATTRIBUTES = {*vars(nn.Module())}


def _name_of(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"


def _is_library(value: Any) -> bool:
    return str(value.__module__).split(".")[0] in _LIBRARIES


def _is_descriptor(value: Any) -> bool:
    """Whether it is a method or a field of a class that is written in C, or a slot."""
    return type(value).__module__ == "builtins" and type(value).__name__.endswith(("_descriptor", "-wrapper"))


def _names_in(code: CodeType) -> set[str]:
    inner = [_names_in(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    return set(code.co_names).union(*inner)


def _state_of(value: Any) -> list[tuple[str, Any]] | None:
    """Fields and attributes by name; None for an object that has none to have."""
    slots = [name for kind in type(value).__mro__ for name in _as_tuple(vars(kind).get("__slots__", ()))]
    names = {field.name for field in fields(value)} if is_dataclass(value) else set()
    if not hasattr(value, "__dict__") and not slots and not names:
        return None
    names |= {*getattr(value, "__dict__", {}), *(name for name in slots if not name.startswith("__"))}
    return [(name, getattr(value, name)) for name in sorted(names) if hasattr(value, name)]


def _as_tuple(slots: Any) -> tuple[str, ...]:
    return (slots,) if isinstance(slots, str) else tuple(slots)
