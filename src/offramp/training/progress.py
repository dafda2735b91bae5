"""The progress bar of a run, with the running accuracy of every exit, and one line per finished epoch."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from offramp.training.callbacks import Callback, Moment

REFRESH_SECONDS = 0.5


class Progress(Callback):
    """Shows how training goes.

    Args:
        epochs: of all phases together.
        resume: whether the run was to be continued; it then says that there was nothing yet.
        console: where to; standard error by default, so that standard output stays free for results.
    """

    def __init__(self, epochs: int, resume: bool = False, console: Console | None = None) -> None:
        self.epochs = epochs
        self.resume = resume
        self.console = console or Console(stderr=True)
        self._bar: Bar | None = None
        self._task = TaskID(0)
        self._due = 0.0

    def run_begins(self, moment: Moment) -> None:
        """Says where a resumed run goes on."""
        if moment.epoch:
            self._note(f"Continuing after epoch {moment.epoch} of {self.epochs}.")
        elif self.resume:
            self._note(f"There is no checkpoint in {moment.folder} yet: starting from the beginning.")

    def epoch_begins(self, moment: Moment) -> None:
        """Opens the bar of an epoch; a log file gets no bar, only the lines."""
        if not self.console.is_terminal:
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
        title = f"epoch {moment.epoch}/{self.epochs} ({moment.phase})"
        self._task = self._bar.add_task(title, total=moment.steps, accuracy="")
        self._bar.start()
        self._due = time.monotonic() + REFRESH_SECONDS

    def step_done(self, moment: Moment) -> None:
        """Moves the bar; reads the tally, and so waits for the device, only every half second."""
        if self._bar is None or moment.tally is None or time.monotonic() < self._due:
            return
        accuracy = f"exits {percentages(moment.tally.accuracy())}"
        self._bar.update(self._task, completed=moment.step, accuracy=accuracy, refresh=True)
        self._due = time.monotonic() + REFRESH_SECONDS

    def epoch_done(self, moment: Moment) -> None:
        """Takes the bar away, and prints the epoch's accuracies, earliest exit first."""
        self._close_bar()
        if moment.row is not None:
            row = moment.row
            val = "" if row.val is None else f"  val {percentages(row.val.accuracy)}"
            self._note(
                f"epoch {row.epoch}/{self.epochs} ({row.phase})  train {percentages(row.train.accuracy)}{val}  "
                f"{row.seconds:.1f} s"
            )

    def run_ends(self, moment: Moment) -> None:
        """Takes the bar away, should there still be one."""
        self._close_bar()

    def _note(self, text: str) -> None:
        self.console.print(text, highlight=False, soft_wrap=True)

    def _close_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def percentages(accuracy: Sequence[float]) -> str:
    """`[0.712, 0.8]` -> `71.2 80.0 %`."""
    return " ".join(f"{100 * share:.1f}" for share in accuracy) + " %"
