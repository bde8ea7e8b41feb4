"""What all encoders of columns share."""

from dataclasses import dataclass
from typing import Any, Protocol, Self

from .tables import Array, Column


@dataclass(frozen=True)
class Stored:
    """One column of what an encoder gives, as in `ColumnLayout`."""

    kind: str
    name: str
    n_levels: int = 0
    embedded: bool = False


class Encoder(Protocol):
    """What a fit learned of one column of X."""

    @property
    def stored(self) -> tuple[Stored, ...]:
        """What the columns are that `encode` gives."""
        ...

    @property
    def stand_in(self) -> str | None:
        """What stands for a gap, in words, where the fit saw none; None where it learned of gaps."""
        ...

    def encode(self, column: Column) -> list[Array]:
        """The stored columns, each (n,), of a column of X."""
        ...

    def state(self) -> dict[str, Any]:
        """All that was learned, as values that JSON keeps exactly."""
        ...

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """The encoder of a state."""
        ...
