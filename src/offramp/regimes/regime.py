"""The contract of a regime, and the registry of regimes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from offramp.errors import TrainingError
from offramp.regimes.phase import Phase, Settings
from offramp.registry import Registry


class Regime(ABC):
    """How the exits of a model learn; members are frozen dataclasses, their fields are their parameters."""

    @abstractmethod
    def phases(self, model_exits: int, epochs: int) -> tuple[Phase, ...]:
        """The phases for a model, in order.

        Args:
            model_exits: number of exits, the backbone's own output included.
            epochs: epochs to share out between the phases.

        Raises:
            TrainingError: the regime's parameters do not fit this number of exits or epochs.
        """

    def to_dict(self) -> dict[str, Any]:
        """Name and parameters, for the record and to recognise a run that is resumed."""
        own = {item.name: _plain(getattr(self, item.name)) for item in fields(self)}  # type: ignore[arg-type]
        return {"name": REGIMES.name_of(type(self)), **own}


def _plain(value: Any) -> Any:
    return value.to_dict() if isinstance(value, Regime | Settings) else value


REGIMES: Registry[type[Regime]] = Registry("regime", TrainingError)

Member = TypeVar("Member", bound=type[Regime])


def register(member: Member) -> Member:
    """Class decorator that files a regime under its name in snake case."""
    REGIMES.register(member)
    return member


@dataclass(frozen=True)
class Wrapping(Regime):
    """A regime around another one, whose phases it changes where several exits learn; so regimes can be combined.

    Derived classes are frozen dataclasses with a first field `base`.
    """

    base: Regime

    def phases(self, model_exits: int, epochs: int) -> tuple[Phase, ...]:
        """The base's phases, changed; see `Regime.phases`."""
        own = self.base.phases(model_exits, epochs)
        changed = tuple(self.changed(phase, model_exits) if phase.trains_early_exits else phase for phase in own)
        if all(new is old for new, old in zip(changed, own, strict=True)):
            raise TrainingError(
                f"{type(self).__name__}(base={type(self.base).__name__}(...)) changes nothing: it is for phases "
                "in which several exits learn, some regimes only where the backbone learns too. Leave it out, "
                "or give another base, e.g. Joint()."
            )
        return changed

    @abstractmethod
    def changed(self, phase: Phase, exits: int) -> Phase:
        """A phase in which several exits learn, as this regime has it."""


def shares(epochs: int, parts: Sequence[str], first: int | float | None, regime: str) -> tuple[int, int]:
    """Epochs of two phases: `(a, epochs - a)`.

    Args:
        epochs: of both together.
        parts: names of the phases, for messages.
        first: of the first phase, as a count (int) or as a share in (0, 1); it gets at least 1, and leaves 1.
        regime: name, for messages.

    Raises:
        TrainingError: a phase would have none.

    Example:
        >>> shares(5, ["backbone", "joint"], 0.5, "mixed")
        (2, 3)
    """
    if isinstance(first, bool) or not isinstance(first, int | float) or first < 0:
        raise TrainingError(f"{regime}(first={first!r}): give a number of epochs, or a share between 0 and 1.")
    if isinstance(first, float) and not 0 < first < 1:
        raise TrainingError(f"{regime}(first={first!r}): a share must lie between 0 and 1; epochs are whole numbers.")
    own = first if isinstance(first, int) else min(max(round(first * epochs), 1), epochs - 1)
    if own >= epochs or epochs - own < 1 or (own < 1 and isinstance(first, float)):
        raise TrainingError(
            f"{regime}(first={first!r}) with epochs={epochs} leaves {own} epochs for '{parts[0]}' and {epochs - own} "
            f"for '{parts[1]}': each needs at least 1. Give more epochs."
        )
    return own, epochs - own
