"""What is shown, logged and kept while a run trains: Distiller's lines and files, from the callbacks of `fit`."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import offramp as ofr
from offramp.cli.steps.classification import lines
from offramp.cli.steps.classification.folder import ClassifyFolder, Journal, replace_text
from offramp.cli.steps.classification.learning import Meter
from offramp.cli.steps.classification.outcomes import outcomes_of
from offramp.cli.steps.classification.statistics import Figures, figures
from offramp.training import Callback, Moment


@dataclass(frozen=True)
class Watch:
    """What the monitor looks at.

    Attributes:
        validation: loader of the validation split; None where there is none.
        policy: by which samples leave.
        print_freq: steps between two lines.
        num_best: epochs listed as the best.
        lr: learning rate, constant.
        facts: what every checkpoint says besides weights: network, thresholds, loss weights, split, seed.
    """

    validation: Iterable[Any] | None
    policy: ofr.Policy
    print_freq: int
    num_best: int
    lr: float
    facts: Mapping[str, Any] = field(default_factory=dict)


class Monitor(Callback):
    """Lines per step, validation per epoch with exits taken, TensorBoard, CSV and JSON, and the best weights.

    The best epoch is that with the highest validation Top1 of the network **with its exits**, then Top5; the earlier of
    equals. Without validation data it is the last.

    Args:
        watch: what to look at.
        meter: has the means of the epoch so far.
        folder: gets the files.
        journal: gets the lines.
    """

    def __init__(self, watch: Watch, meter: Meter, folder: ClassifyFolder, journal: Journal) -> None:
        self.watch, self.meter, self.folder, self.journal = watch, meter, folder, journal
        self.rows: list[dict[str, Any]] = []
        self._board: Any = None
        self._began = 0.0

    def state_dict(self) -> dict[str, Any]:
        """The epochs so far, and the facts of the run: so they are in every checkpoint."""
        return {"facts": dict(self.watch.facts), "rows": self.rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The epochs of the run that is resumed."""
        self.rows = list(state["rows"])

    def run_begins(self, moment: Moment) -> None:
        """Opens TensorBoard, which forgets what an interrupted run logged behind its last checkpoint."""
        self._board = _board(self.folder, moment.epoch * (moment.steps or 1))
        if moment.epoch:
            self.journal.say(f"Continuing after epoch {moment.epoch - 1} (counted from 0).")

    def epoch_begins(self, moment: Moment) -> None:
        """Counts from zero again."""
        self.meter.begin()
        self._began = time.perf_counter()

    def step_done(self, moment: Moment) -> None:
        """A line now and then, as Distiller's: means since the epoch began, of all samples at every exit."""
        if moment.step % self.watch.print_freq and moment.step != moment.steps:
            return
        seconds = (time.perf_counter() - self._began) / moment.step
        values = {**self.meter.values(), "LR": self.watch.lr, "Time": seconds}
        steps = moment.steps or 0
        self.journal.say(lines.training_line(moment.epoch - 1, moment.step, steps, values))
        self._plot("Training", values.items(), (moment.epoch - 1) * steps + moment.step)

    def epoch_done(self, moment: Moment) -> None:
        """Validates with exits taken, and keeps the weights if they are the best so far."""
        training = self.meter.values()
        found = self._validated(moment)
        row = {"epoch": moment.epoch - 1, "training": training, "validation": found and found.to_dict()}
        self.rows.append(row)
        steps = (moment.steps or 1) * moment.epoch
        if found is not None:
            self._plot("Validation", lines.board(found), steps)
        best = ranked(self.rows)
        if best[0] is row:
            weights = {name: value.detach().cpu() for name, value in moment.model.state_dict().items()}
            self.folder.keep_best({**self.watch.facts, "epoch": row["epoch"]}, weights)
        self._show_best(best)
        self._write()

    def run_ends(self, moment: Moment) -> None:
        """Ends the event file."""
        if self._board is not None:
            self._board.close()

    def _validated(self, moment: Moment) -> Figures | None:
        if self.watch.validation is None or not isinstance(moment.model, ofr.ExitModel):
            return None
        self.journal.say(f"--- validate (epoch={moment.epoch - 1})-----------")
        policy, cost = self.watch.policy, moment.model.cost
        outcomes = outcomes_of(moment.model, self.watch.validation, policy)
        macs = cost.under(policy.heads_needed(moment.model.exits - 1)).tolist()
        found = figures(outcomes, outcomes.taken(policy), macs)
        self.journal.say(*lines.figure_lines(found), lines.cost_line(found, cost.plain))
        self.journal.say(lines.total_line("Validation", found))
        return found

    def _show_best(self, best: list[dict[str, Any]]) -> None:
        for row in best[: self.watch.num_best]:
            found = row["validation"]
            if found is not None:
                self.journal.say(
                    f"==> Best [Top1: {found['top1']:.3f}   Top5: {found['top5']:.3f} on epoch: {row['epoch']}]"
                )

    def _plot(self, split: str, values: Iterable[tuple[str, float]], step: int) -> None:
        if self._board is not None:
            for name, value in values:
                self._board.add_scalar(f"Performance/{split}/{name}", value, step)
            self._board.flush()

    def _write(self) -> None:
        replace_text(self.folder.epochs_json, json.dumps({"epochs": self.rows}, indent=2, allow_nan=False) + "\n")
        replace_text(self.folder.epochs_csv, csv_text(self.rows))


def ranked(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The epochs, best first; without validation the latest first."""

    def key(row: dict[str, Any]) -> tuple[float, ...]:
        found = row["validation"]
        return (-row["epoch"],) if found is None else (-found["top1"], -found["top5"], row["epoch"])

    return sorted(rows, key=key)


def csv_text(rows: list[dict[str, Any]]) -> str:
    """One line per epoch, a column per figure; what nobody did is left empty."""
    flat = [
        {
            "epoch": row["epoch"],
            **{f"Training/{name}": value for name, value in row["training"].items()},
            **{f"Validation/{name}": value for name, value in _flat(row["validation"] or {})},
        }
        for row in rows
    ]
    names = list(dict.fromkeys(name for line in flat for name in line))
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()


def _flat(found: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    for name, value in found.items():
        if name == "exits":
            for row in value:
                yield from ((f"{key}_exit{row['exit']}", v) for key, v in row.items() if key != "exit")
        else:
            yield name, value


def _board(folder: ClassifyFolder, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder.tensorboard), purge_step=step + 1)
