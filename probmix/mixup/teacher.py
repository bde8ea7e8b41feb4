"""What rows without labels are for: how much they count, and the teacher that says what to predict for them."""

import copy
import math
from dataclasses import dataclass
from typing import Literal, Self, get_args

import torch
from torch import Tensor, nn

from .._names import unknown_name
from .registry import register_law

# Among the names of weights: none of them begins with a point.
_STEP = ".step"

Pool = Literal["log-linear", "linear"]


@register_law
@dataclass(frozen=True)
class Consistency:
    r"""How much rows without labels count, and who teaches what to say of them.

    Parameters
    ----------
    weight : float, positive
        Of their loss, beside that of the rows with labels, once it has ramped up.
    ema : float, from 0 to 1
        Decay of the teacher's weights, which are an exponential moving average of the student's over the steps. In step
        t it is at most :math:`1 - 1 / (t + 1)`: at first they are the plain mean.
    ramp : float, from 0 to 1
        Share of the epochs after which the weight is reached, by :math:`\exp(-5 (1 - t / t_{\text{ramp}})^2)`. Patience
        counts from there at the earliest.
    pool : {"log-linear", "linear"}
        How the teacher's densities are pooled. Families that are no exponential ones pool linearly. The loss of a
        linear pool is the mean divergence from its densities, which bounds that from the pool.

    References
    ----------
    Verma et al. (2019), Interpolation Consistency Training for Semi-Supervised Learning, IJCAI: for classes.
    Tarvainen and Valpola (2017), Mean teachers are better role models, NeurIPS.
    Laine and Aila (2017), Temporal Ensembling for Semi-Supervised Learning, ICLR: the ramp.

    Examples
    --------
    >>> from probmix.mixup import Consistency, Mixup
    >>> Mixup(unlabelled=Consistency(weight=0.5)).unlabelled.ramp
    0.25
    """

    weight: float = 1.0
    ema: float = 0.999
    ramp: float = 0.25
    pool: Pool = "log-linear"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight > 0):
            raise ValueError(f"`weight` of Consistency must be positive and finite; got {self.weight}.")
        for name in ("ema", "ramp"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"`{name}` of Consistency must be from 0 to 1; got {getattr(self, name)}.")
        if self.pool not in get_args(Pool):
            raise unknown_name("pool", self.pool, get_args(Pool))

    def at(self, progress: float) -> float:
        """The weight after a share of the training, from 0 to 1."""
        done = 1.0 if progress >= self.ramp else progress / self.ramp
        return self.weight * math.exp(-5 * (1 - done) ** 2)

    def decay(self, step: int) -> float:
        """The decay of the teacher's weights in a step, counted from 1."""
        return min(self.ema, 1 - 1 / (step + 1))


def follow_(own: Tensor, student: Tensor, decay: float) -> None:
    """Move what a teacher has by one name towards what its student has; whole numbers have no means."""
    if own.is_floating_point() or own.is_complex():
        own.lerp_(student.to(own.dtype), 1 - decay)
    else:
        own.copy_(student)


class Teacher:
    """An exponential moving average of a module: it predicts, and never trains.

    Parameters
    ----------
    module : nn.Module
        The student, of which it starts as a copy.
    consistency : Consistency
        With the decay.

    Attributes
    ----------
    module : nn.Module
        In evaluation mode, without gradients.

    Examples
    --------
    >>> import torch
    >>> from probmix.mixup import Consistency, Teacher
    >>> student = torch.nn.Linear(1, 1)
    >>> teacher = Teacher(student, Consistency())
    >>> with torch.no_grad():
    ...     student.weight += 1.0
    >>> teacher.update(student)
    >>> bool(teacher.module.weight < student.weight)
    True
    """

    def __init__(self, module: nn.Module, consistency: "Consistency | None" = None) -> None:
        self._consistency = Consistency() if consistency is None else consistency
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self.step = 0

    def __call__(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            eta: Tensor = self.module(x)
        return eta

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Move towards the student, after a step of its own.

        Raises
        ------
        ValueError
            If the module has weights of other names.
        """
        own_state, theirs = self.module.state_dict(), module.state_dict()
        if differing := sorted(own_state.keys() ^ theirs.keys()):
            raise ValueError(
                "a teacher follows the module that it was made of, by the names of its weights; one of the two alone "
                f"has {differing[0]!r}. Of a module in a wrapper pass the module itself, `.module` or `._orig_mod`."
            )
        self.step += 1
        decay, moved = self._consistency.decay(self.step), set()
        for name, own in own_state.items():
            # weights that are shared have several names
            if own.data_ptr() in moved:
                continue
            moved.add(own.data_ptr())
            follow_(own, theirs[name], decay)

    def state_dict(self) -> dict[str, Tensor]:
        """Tensors from which it can be made again."""
        return self.module.state_dict() | {_STEP: torch.tensor(self.step)}

    def load_state_dict(self, state: dict[str, Tensor]) -> Self:
        """Take over what `state_dict` returned."""
        self.module.load_state_dict({name: tensor for name, tensor in state.items() if name != _STEP})
        self.step = int(state[_STEP])
        return self
