"""What a run of `fit` lets others do between its steps: recorders, progress, logs of one's own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from offramp.errors import TrainingError
from offramp.training.history import EpochRow, Stop
from offramp.training.tally import Tally


@dataclass(frozen=True)
class Moment:
    """Where a run stands when a callback is called.

    Attributes:
        model: the one that trains. A callback may look at it, and run it; it leaves weights and modes as they are.
        phase: name of the current phase; of the last one when the run ends.
        epoch: counted from 1 through all phases: the current one, or the last one when the run begins or ends (0
            before the first).
        step: steps done in this epoch.
        steps: steps of an epoch, None where the loader does not tell.
        tally: losses and hits of the epoch so far, at `step_done`; reading them waits for the device.
        row: the finished epoch, at `epoch_done`.
        stopped: why the run ended, at `run_ends`; "running" before, and after an error.
        folder: the run's own, None without `out`.
    """

    model: nn.Module
    phase: str
    epoch: int
    step: int = 0
    steps: int | None = None
    tally: Tally | None = None
    row: EpochRow | None = None
    stopped: Stop = "running"
    folder: Path | None = None


class Callback:
    """Derive from this, and define what is needed; what is not defined does nothing.

    The order of a run is `run_begins`, and for every phase `phase_begins`, and for every epoch `epoch_begins`,
    `step_done` after each step, `epoch_done` after validation, and at last `run_ends`. A resumed run begins with
    `run_begins` too, and tells of a phase's begin only where the phase begins. `run_ends` comes after errors and
    interruptions as well. Several callbacks are called in the order they are given. What they raise ends the run.

    With several processes, only the main one calls them; so they may write files, and must not wait for the others.

    One that draws from the global random generators at `step_done` changes what training draws from there to the end
    of that epoch.

    Example:
        >>> class Losses(Callback):
        ...     def epoch_done(self, moment):
        ...         print(moment.epoch, moment.row.train.loss)
    """

    def run_begins(self, moment: Moment) -> None:
        """The model has its first weights, or those of the checkpoint."""

    def phase_begins(self, moment: Moment) -> None:
        """What does not train in this phase is frozen already."""

    def epoch_begins(self, moment: Moment) -> None:
        """Before the first batch is read."""

    def step_done(self, moment: Moment) -> None:
        """After the optimizer's step; gradients are gone."""

    def epoch_done(self, moment: Moment) -> None:
        """After validation, with the weights of this epoch, and before the checkpoint is written."""

    def run_ends(self, moment: Moment) -> None:
        """The model has the weights that the caller gets."""

    def state_dict(self) -> dict[str, Any]:
        """What must survive an interruption: plain data and tensors; written with every checkpoint."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over, before `run_begins`, what `state_dict` gave in the run that is resumed; `{}` is not given."""


def checked_callbacks(callbacks: object) -> tuple[Callback, ...]:
    """The callbacks as a tuple.

    Raises:
        TrainingError: something among them is none.
    """
    given = tuple(callbacks) if isinstance(callbacks, Iterable) else (callbacks,)
    wrong = [one for one in given if not isinstance(one, Callback)]
    if wrong:
        raise TrainingError(
            f"fit(callbacks=...) holds {wrong[0]!r}; give a list of objects derived from offramp.training.Callback."
        )
    return given


def states_of(callbacks: Sequence[Callback]) -> dict[str, dict[str, Any]]:
    """The states that are not empty, by class name and number among its like."""
    states = {key: callback.state_dict() for key, callback in _keyed(callbacks)}
    return {key: state for key, state in states.items() if state}


def restore_states(callbacks: Sequence[Callback], states: dict[str, dict[str, Any]]) -> None:
    """Gives every callback its state; one that was not there before starts afresh."""
    for key, callback in _keyed(callbacks):
        if key in states:
            callback.load_state_dict(states[key])


def _keyed(callbacks: Sequence[Callback]) -> list[tuple[str, Callback]]:
    names = [type(callback).__qualname__ for callback in callbacks]
    return [
        (f"{name}#{names[:k].count(name)}", one) for k, (name, one) in enumerate(zip(names, callbacks, strict=True))
    ]
