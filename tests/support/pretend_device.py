"""A GPU that any machine has: tensors that lie on the CPU and say, and behave as if, they were on CUDA.

What a GPU would refuse is refused, an operation on tensors of both places, and what would make the host wait is written
down with the place in probmix that did it. Numbers are those of the CPU, so that results can be compared bit for bit,
and gradients are taken as ever. `FakeTensorMode` has neither numbers nor, without CUDA, gradients; see
test_fake_tensors.py for what runs under it.
"""

import gc
import sys
from pathlib import Path

import pytest
import torch
import torch._dynamo  # which optimisers import, and which does not like what is patched below
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

GPU = torch.device("cuda", 0)
CPU = torch.device("cpu")
PACKAGE = str(Path(__file__).parents[2] / "probmix")

# Python asks these of a tensor's numbers: on a GPU the host waits until they are there.
WAITS = {
    "item", "tolist", "__bool__", "__int__", "__float__", "__index__", "__complex__", "__contains__", "__repr__",
    "nonzero", "argwhere", "masked_select", "unique", "unique_consecutive", "equal", "allclose", "is_nonzero",
    "bincount", "histc", "cholesky", "cholesky_ex", "inv", "solve", "eigh", "svd", "lstsq",
}  # fmt: skip
# Of the last ones only these ask whether they succeeded.
WAITS -= {"cholesky_ex"}
# Made from nothing; where they are to be is an argument.
FACTORIES = {
    "tensor", "as_tensor", "zeros", "ones", "empty", "full", "arange", "linspace", "logspace", "eye",
    "rand", "randn", "randint", "randperm", "scalar_tensor", "tril_indices", "triu_indices", "complex", "asarray",
}  # fmt: skip
# A host scalar among tensors of a GPU is fine for arithmetic, but not for these.
STRICT = {"cat", "concat", "stack", "vstack", "hstack", "column_stack", "linear", "matmul", "mm", "bmm", "addmm", "dot"}
# Indices may lie on the host.
INDEXING = {"__getitem__", "__setitem__", "index_put", "index_put_"}
MOVES = {"to", "cpu", "cuda"}
# These may see both places.
CROSSING = {"copy_", "_has_compatible_shallow_copy_type"}


class MixedDevicesError(RuntimeError):
    """An operation on tensors of both devices."""


class PretendDevice(TorchFunctionMode):
    """While it lasts, tensors can be on a GPU.

    Tensors that were there before are on the host, and so is what is made without a device; the rest is where it was
    made or what it was made from.

    Attributes
    ----------
    waits : list of str
        Where the host waited: "file.function" of the innermost frame in probmix, and the operation.
    """

    def __init__(self):
        super().__init__()
        self.waits, self._depth, self._patches = [], 0, pytest.MonkeyPatch()

    def __enter__(self):
        self._depth += 1
        if self._depth == 1:
            # torch does not ask a mode about these
            from_numpy, make_subclass = torch.from_numpy, Tensor._make_subclass
            self._patches.setattr(torch, "from_numpy", lambda array: self._placed(from_numpy(array), True))
            as_parameter = staticmethod(
                lambda kind, data, *rest: self._placed(make_subclass(kind, data, *rest), on_host(data))
            )
            self._patches.setattr(Tensor, "_make_subclass", as_parameter)
            for one in gc.get_objects():
                # by its type, not isinstance: that would ask lazy objects of their class
                if issubclass(type(one), Tensor):
                    one._on_host = True
        return super().__enter__()

    def __exit__(self, *error):
        self._depth -= 1
        if not self._depth:
            self._patches.undo()
        super().__exit__(*error)

    def places(self):
        """Names of the places that waited, without repeats."""
        return sorted({wait.split(": ")[0] for wait in self.waits})

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        name = func.__name__
        owner = getattr(getattr(func, "__self__", None), "__name__", "")
        if name == "__get__":
            if owner == "device":
                return CPU if on_host(args[0]) else GPU
            if owner == "is_cuda":
                return not on_host(args[0])
            result = func(*args, **kwargs)
            return self._placed(result, on_host(args[0])) if isinstance(result, Tensor) else result
        if name == "__set__":
            func(*args, **kwargs)
            if owner == "data":
                args[0]._on_host = on_host(args[1])
            return None
        if name == "backward":
            # what functions of our own do on the way back is looked at as well
            engine, one = torch.autograd.Variable._execution_engine, torch.ones_like(args[0])
            with self:
                return engine.run_backward((args[0],), (one,), False, False, (), True, True)
        if name in MOVES:
            return self._move(func, name, args, kwargs)
        if name in FACTORIES or name.startswith(("new_", "full_", "zeros_", "ones_", "empty_", "rand_", "randn_")):
            return self._made(func, name, args, kwargs)
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        host = [on_host(one) for one in tensors]
        if not tensors or all(host):
            return self._placed(func(*args, **kwargs), bool(tensors), tensors)
        if name in ("numpy", "__array__"):
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first.")
        self._check_same_place(name, args, tensors, host)
        if name in WAITS or (name == "repeat_interleave" and "output_size" not in kwargs and len(tensors) > 0):
            self._wait(name)
        if name == "where" and len(args) == 1:
            self._wait("where")
        indices = [one for one in tree_leaves(args[1]) if isinstance(one, Tensor)] if name in INDEXING else []
        masked = any(one.dtype == torch.bool for one in indices)
        # to assign one number by a mask is no reason to count
        if masked and (name == "__getitem__" or any(isinstance(one, Tensor) and one.ndim for one in args[2:])):
            self._wait("mask")
        if name == "copy_" and on_host(args[0]):
            self._wait("copy_")
        return self._placed(func(*args, **kwargs), False, tensors)

    def _check_same_place(self, name, args, tensors, host):
        if name in CROSSING:
            return
        # of indexing only the tensor itself and what is assigned
        checked = [args[0], *args[2:]] if name in INDEXING else tensors
        strays = [
            one for one in checked if isinstance(one, Tensor) and on_host(one) and (one.ndim > 0 or name in STRICT)
        ]
        if strays and not all(on_host(one) for one in checked if isinstance(one, Tensor)):
            raise MixedDevicesError(
                f"{name}: tensors on the GPU, and one of shape {tuple(strays[0].shape)} on the host, in {where()}"
            )

    def _move(self, func, name, args, kwargs):
        source, rest = args[0], list(args[1:])
        target = {"cpu": CPU, "cuda": GPU}.get(name)
        for number, one in enumerate(rest):
            if isinstance(one, (torch.device, str)):
                target, rest[number] = torch.device(one), CPU
            elif isinstance(one, Tensor):
                target = CPU if on_host(one) else GPU
        if kwargs.get("device") is not None:
            target, kwargs["device"] = torch.device(kwargs["device"]), CPU
        if isinstance(kwargs.get("other"), Tensor):
            target = CPU if on_host(kwargs["other"]) else GPU
        was_on_host = on_host(source)
        to_host = was_on_host if target is None else target.type == "cpu"
        result = source if name in ("cpu", "cuda") else func(source, *rest, **kwargs)
        if to_host and not was_on_host:
            self._wait("cpu")
        if result is source and to_host != was_on_host:
            # another tensor, for the first stays where it is
            result = source.clone()
        return self._placed(result, to_host, [source])

    def _made(self, func, name, args, kwargs):
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        device = kwargs.get("device")
        if device is not None:
            to_host = torch.device(device).type == "cpu" if isinstance(device, (str, torch.device)) else False
            kwargs["device"] = CPU
        else:
            to_host = all(on_host(one) for one in inputs)
        if name == "tensor" and any(not on_host(one) for one in inputs):
            # numbers of a list are asked for one by one
            self._wait("tensor")
        return self._placed(func(*args, **kwargs), to_host, inputs if name.startswith("as") else [])

    def _placed(self, result, to_host, inputs=()):
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and not any(leaf is one for one in inputs):
                leaf._on_host = to_host
        return result

    def _wait(self, name):
        self.waits.append(f"{where()}: {'validation' if is_validation() else name}")


def on_host(tensor):
    """Whether a tensor is on the host; what autograd makes, is on the GPU."""
    return getattr(tensor, "_on_host", False)


def is_validation():
    """Whether torch is looking at the arguments of a distribution, which a user may switch off."""
    frame = sys._getframe(2)
    while frame is not None and not frame.f_code.co_filename.startswith(PACKAGE):
        if frame.f_code.co_filename.endswith("torch/distributions/distribution.py"):
            return True
        frame = frame.f_back
    return False


def where():
    """The innermost function of probmix that is being executed."""
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(PACKAGE):
            return f"{Path(file).relative_to(PACKAGE).with_suffix('').as_posix()}.{frame.f_code.co_name}"
        frame = frame.f_back
    return "elsewhere"
