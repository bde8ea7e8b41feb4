"""Random numbers that depend on a key and a counter only.

Members trained as one must see the numbers they would see alone, on any device, and a resumed run must go on where it
stood. A generator with a hidden state gives neither without a loop over members; a hash of (key, counter) gives both.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import RLock

import numpy as np
import torch
from torch import Tensor

# Source of uniform numbers in the open interval (0, 1): shape -> Tensor whose last axes have that shape.
Uniform = Callable[[tuple[int, ...]], Tensor]

# Constants of SplitMix64 (Steele, Lea & Flood 2014), as signed 64-bit integers.
_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_MIX_1 = 0xBF58476D1CE4E5B9 - 2**64
_MIX_2 = 0x94D049BB133111EB - 2**64
# 23 bits and a half: every such number, and one minus it, is exact in float32.
_UNIFORM_BITS = 23


def _shift_right(bits: Tensor, by: int) -> Tensor:
    """Logical shift; torch's is arithmetic."""
    return (bits >> by) & ((1 << (64 - by)) - 1)


def _mix(bits: Tensor) -> Tensor:
    """The finaliser of SplitMix64: a bijection of 64-bit integers that scatters neighbours."""
    bits = (bits ^ _shift_right(bits, 30)) * _MIX_1
    bits = (bits ^ _shift_right(bits, 27)) * _MIX_2
    return bits ^ _shift_right(bits, 31)


class KeyedRandom:
    """One independent stream of random numbers per key.

    Parameters
    ----------
    keys : Tensor, (M,), int64
        From `member_keys`. Draws have a leading axis M; stream m depends on key m alone.

    Examples
    --------
    >>> from probmix.random import KeyedRandom, member_keys
    >>> joint = KeyedRandom(member_keys(0, 3)).uniform((4,))
    >>> alone = KeyedRandom(member_keys(0, 3)[1:2]).uniform((4,))
    >>> bool((joint[1] == alone[0]).all())
    True
    """

    def __init__(self, keys: Tensor) -> None:
        self._keys = keys
        self._position = 0

    def stream(self, number: int) -> "KeyedRandom":
        """Fresh streams for the same members, one for each `number`: for an epoch, for the initial weights, ..."""
        offset = (number + 1) * _GOLDEN
        offset = (offset + 2**63) % 2**64 - 2**63  # wraps around, as 64 bits do
        return KeyedRandom(_mix(_mix(self._keys) + offset))

    def bits(self, shape: tuple[int, ...]) -> Tensor:
        """Random 64-bit integers, (M, *shape)."""
        count = int(np.prod(shape))
        first = self._position + 1
        self._position += count
        counter = torch.arange(first, first + count, device=self._keys.device)
        return _mix(self._keys.unsqueeze(-1) + counter * _GOLDEN).reshape(len(self._keys), *shape)

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        """Uniform numbers in the open interval (0, 1), (M, *shape), float32; two from every 64 bits."""
        count = int(np.prod(shape))
        halves = self.bits(((count + 1) // 2,)).view(torch.int32)[:, :count]
        high_bits = (halves >> (32 - _UNIFORM_BITS)) & ((1 << _UNIFORM_BITS) - 1)
        return ((high_bits.to(torch.float32) + 0.5) * 2.0**-_UNIFORM_BITS).reshape(-1, *shape)

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        """Standard normal numbers, (M, *shape), float32, at most 5.4 in size."""
        normal: Tensor = torch.special.ndtri(self.uniform(shape))
        return normal

    def permutations(self, n: int) -> Tensor:
        """One random permutation of 0 .. n - 1 per member, (M, n)."""
        return self.bits((n,)).argsort(-1)


def member_keys(seed: int, n_members: int) -> Tensor:
    """Keys of the members of a run, (n_members,), int64; the key of member m does not depend on how many there are."""
    return torch.from_numpy(np.random.SeedSequence(seed).generate_state(n_members, np.uint64).view(np.int64))


def generator_uniform(generator: torch.Generator | None, device: torch.device) -> Uniform:
    """Uniform numbers in the open interval (0, 1) from a torch generator, or from torch's own where it is None."""

    def uniform(shape: tuple[int, ...]) -> Tensor:
        numbers = torch.rand(shape, generator=generator, device=device)
        return numbers.clamp(min=2.0 ** -(_UNIFORM_BITS + 1))

    return uniform


def fine(uniform: Uniform, shape: tuple[int, ...]) -> Tensor:
    """Uniform numbers in [0, 1) in steps of 2^-46, float64, two of a source for each: to choose among millions."""
    high, low = uniform((*shape, 2)).double().unbind(-1)
    return (high + (low - 0.5) * 2.0**-_UNIFORM_BITS).clamp(0.0, 1 - 2.0 ** -(2 * _UNIFORM_BITS + 1))


def keys_of_draws(uniform: Uniform, shape: tuple[int, ...]) -> Tensor:
    """A key for each of many draws, int64, of two numbers of a source: what one uses up is nothing to the others."""
    high, low = (uniform((*shape, 2)).double() * 2.0**_UNIFORM_BITS).long().unbind(-1)
    return (high << _UNIFORM_BITS) | low


# All threads share torch's own generator: whoever seeds it, or looks at it, keeps the others out meanwhile.
GENERATOR_LOCK = RLock()


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[Callable[[], bool]]:
    """While it lasts, torch's own generator of a device (the CPU) draws from a seed; afterwards it is as it was.

    Threads take turns. What comes with it tells whether anything has been drawn.
    """
    on_cuda = device is not None and device.type == "cuda"
    with GENERATOR_LOCK, torch.random.fork_rng([device] if on_cuda else []):
        # torch.manual_seed would reach the generators of all devices, forked or not
        index = (device.index or 0) if device is not None else 0
        generator = torch.cuda.default_generators[index] if on_cuda else torch.default_generator
        generator.manual_seed(seed & (2**63 - 1))
        first = generator.get_state()
        yield lambda: not torch.equal(first, generator.get_state())
