"""The progress bar of a run, with the running accuracy of every exit, and one line per finished epoch."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from offramp.training.history import EpochRow
from offramp.training.tally import Tally

REFRESH_SECONDS = 0.5


class Progress:
    """Shows how training goes; silent unless `enabled`.

    Args:
        enabled: False for `progress=False` and in all processes but the main one.
        epochs: of all phases together.
        console: where to; standard error by default, so that standard output stays free for results.
    """

    def __init__(self, enabled: bool, epochs: int, console: Console | None = None) -> None:
        self.enabled = enabled
        self.epochs = epochs
        self.console = console or Console(stderr=True)
        self._bar: Bar | None = None
        self._task = TaskID(0)
        self._due = 0.0

    def note(self, text: str) -> None:
        """Prints one line."""
        if self.enabled:
            self.console.print(text, highlight=False, soft_wrap=True)

    def start_epoch(self, epoch: int, phase: str, steps: int | None) -> None:
        """Opens the bar of an epoch (from 1) with this many steps, None where the loader does not say.

        A log file gets no bar, only the lines.
        """
        if not (self.enabled and self.console.is_terminal):
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[accuracy]}"),
        )
        # We refresh by hand: rich's thread would wake ten times a second and take the GIL from the training step.
        self._bar = Bar(*columns, console=self.console, auto_refresh=False, transient=True)
        self._task = self._bar.add_task(f"epoch {epoch}/{self.epochs} ({phase})", total=steps, accuracy="")
        self._bar.start()
        self._due = time.monotonic() + REFRESH_SECONDS

    def step(self, done: int, tally: Tally) -> None:
        """Moves the bar; reads the tally, and so waits for the device, only every half second."""
        if self._bar is None or time.monotonic() < self._due:
            return
        self._bar.update(self._task, completed=done, accuracy=f"exits {percentages(tally.accuracy())}", refresh=True)
        self._due = time.monotonic() + REFRESH_SECONDS

    def end_epoch(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def show(self, row: EpochRow) -> None:
        """Prints an epoch's accuracies, earliest exit first."""
        val = "" if row.val is None else f"  val {percentages(row.val.accuracy)}"
        self.note(
            f"epoch {row.epoch}/{self.epochs} ({row.phase})  train {percentages(row.train.accuracy)}{val}  "
            f"{row.seconds:.1f} s"
        )


def percentages(accuracy: Sequence[float]) -> str:
    """`[0.712, 0.8]` -> `71.2 80.0 %`."""
    return " ".join(f"{100 * share:.1f}" for share in accuracy) + " %"
