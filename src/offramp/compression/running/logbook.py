"""What a loop tells while it runs: a line per epoch, TensorBoard scalars, notices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from offramp.compression.controller import CompressionStatistics
from offramp.compression.outcome import Record
from offramp.compression.running.processes import is_main


class Logbook:
    """Silent in all processes but the main one.

    Args:
        progress: whether lines are printed, on standard error.
        folder: for TensorBoard's event files; None writes none.
        writer: the caller's own `SummaryWriter`; None makes one, where TensorBoard is installed.
        epochs: most that will be trained, to be shown.
        first_epoch: from which on events of an interrupted run are dropped.
        console: where to; standard error by default.
    """

    def __init__(
        self,
        progress: bool,
        folder: Path | None,
        writer: Any = None,
        epochs: int = 0,
        first_epoch: int = 0,
        console: Console | None = None,
    ) -> None:
        self._speaks = progress and is_main()
        self._epochs = epochs
        self._console = console or Console(stderr=True)
        self._owned = writer is None
        self._writer = (_board(folder, first_epoch) if writer is None else writer) if is_main() else None
        self.notices: list[str] = []

    def notice(self, text: str) -> None:
        """Says, once, what must not be overlooked."""
        if text not in self.notices:
            self.notices.append(text)
            self._say(f"[bold yellow]Notice:[/] {text}")

    def record(self, record: Record, best_epoch: int | None, compression: CompressionStatistics) -> None:
        """Tells of a validation."""
        self._say(line(record, self._epochs, best_epoch))
        self.scalar("val/accuracy_aware/metric_value", record.metric, record.epoch)
        self.scalar("val/accuracy_aware/accuracy_budget", record.budget, record.epoch)
        for name, value in compression.scalars():
            self.scalar(f"compression/statistics/{name}", value, record.epoch)
        if self._writer is not None:
            self._writer.flush()

    def rate(self, target: float, before: float | None, epoch: int) -> None:
        """Tells of a rate that is set."""
        self.scalar("compression/accuracy_aware/target_compression_rate", target, epoch)
        if before is not None:
            self.scalar("compression/accuracy_aware/compression_rate_step", abs(target - before), epoch)

    def scalar(self, name: str, value: float, epoch: int) -> None:
        """Adds a point to a curve."""
        if self._writer is not None:
            self._writer.add_scalar(name, value, epoch)

    def say(self, text: str) -> None:
        """Prints a line."""
        self._say(text)

    def close(self) -> None:
        """Ends the event file, unless it is the caller's."""
        if self._writer is not None and self._owned:
            self._writer.close()

    def _say(self, text: str) -> None:
        if self._speaks:
            self._console.print(text, highlight=False, soft_wrap=True)


def line(record: Record, epochs: int, best_epoch: int | None) -> str:
    """One validation in a line.

    Example:
        >>> line(Record(3, 0.987, 0.004, True, 0.5, 0.484, None, None, 1.25), 25, 3)
        'epoch 3/25  metric 0.987  budget +0.004  rate 0.484 (asked 0.500)  1.2 s  best so far'
    """
    rate = ""
    if record.achieved is not None:
        rate = f"  rate {record.achieved:.3f}"
        rate += "" if record.nominal is None else f" (asked {record.nominal:.3f})"
    stage = "" if record.full else "  not fully compressed yet"
    best = "  best so far" if best_epoch == record.epoch and record.full else ""
    return (
        f"epoch {record.epoch}/{epochs}  metric {record.metric:.4g}  budget {record.budget:+.4g}{rate}  "
        f"{record.seconds:.1f} s{stage}{best}"
    )


def _board(folder: Path | None, first_epoch: int) -> Any:
    if folder is None:
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=first_epoch)
