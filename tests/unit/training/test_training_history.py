from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from tiny_problem import TinyExits, train_loader, val_loader

import offramp as ofr
from offramp.errors import FileFormatError
from offramp.training import EpochRow, History, Scores
from offramp.training.callbacks import Moment
from offramp.training.checkpoint import RunState
from offramp.training.log import TrainingLog, csv_text
from offramp.training.progress import Progress
from offramp.training.tally import Tally


def row(epoch: int, accuracy: float | None = 0.5, seconds: float = 1.0) -> EpochRow:
    train = Scores((1.0, 2.0), (0.25, 0.5), 10)
    val = None if accuracy is None else Scores((1.0, 1.0), (accuracy, accuracy), 5)
    return EpochRow(epoch, "joint", 0.1, train, val, seconds)


def history(*rows: EpochRow) -> History:
    return History(rows, best_epoch=1, stopped="epochs", seconds=3.0)


@pytest.mark.parametrize("accuracy", [0.5, None])
def test_json_round_trip(tmp_path: Path, accuracy: float | None):
    original = history(row(1, accuracy), row(2, accuracy))
    (tmp_path / "history.json").write_text(original.to_json())
    loaded = History.load(tmp_path / "history.json")
    assert loaded == original
    assert (loaded.seconds, loaded.rows[0].seconds) == (3.0, 1.0)


def test_times_do_not_count_for_equality_and_everything_else_does():
    assert history(row(1, seconds=1.0)) == history(row(1, seconds=9.0))
    assert history(row(1, 0.5)) != history(row(1, 0.6))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "is no training history"),
        ({"version": 2}, "format version 2.*reads version 1"),
        ({"stopped": "bored"}, "stopped='bored'"),
        ({"rows": [{}]}, "damaged"),
    ],
)
def test_files_that_are_no_history_are_refused(tmp_path: Path, change: dict[str, Any], message: str):
    (tmp_path / "h.json").write_text(json.dumps({**history(row(1)).to_dict(), **change}))
    with pytest.raises(FileFormatError, match=message):
        History.load(tmp_path / "h.json")


def test_a_missing_history_is_named(tmp_path: Path):
    with pytest.raises(FileFormatError, match=r"no training history at .*none.json"):
        History.load(tmp_path / "none.json")


def judged(*accuracies: float, patience: int | None = None, epochs: int = 99) -> tuple[RunState, list[str]]:
    state = RunState()
    verdicts = [
        state.enter(row(k + 1, accuracy), epochs, patience, lambda k=k: ({"epoch": torch.tensor(k + 1)}, {}))  # type: ignore[misc]
        for k, accuracy in enumerate(accuracies)
    ]
    return state, verdicts


def test_the_earliest_of_equal_epochs_is_the_best():
    state, _ = judged(0.3, 0.6, 0.6, 0.5)
    assert (state.best_epoch, state.waited) == (2, [2, 2])
    assert state.best is not None
    assert state.best.weights["epoch"] == 2


def test_patience_counts_from_the_last_improvement():
    assert judged(0.3, 0.2, 0.4, 0.1, 0.1, patience=2)[1] == ["running"] * 4 + ["patience"]


def test_patience_that_runs_out_with_the_last_epoch_is_no_early_stop():
    assert judged(0.3, 0.2, 0.1, patience=2, epochs=3)[1][-1] == "epochs"


def test_the_next_phase_counts_anew_and_keeps_the_rows():
    state, _ = judged(0.9, 0.1)
    state.next_phase()
    assert (state.phase, state.phase_epoch, state.waited, state.best) == (1, 0, [], None)
    assert len(state.rows) == 2
    state.enter(row(3, 0.2), 9, None, lambda: ({}, {}))
    assert state.best_epoch == 3


def test_run_state_round_trip():
    state, _ = judged(0.3, 0.6, 0.5)
    again = RunState.from_dict(state.to_dict())
    assert again.rows == state.rows
    assert (again.best.value, again.best_epoch, again.waited) == (0.6, 2, [1, 1])


def test_csv_has_a_column_per_split_quantity_and_exit():
    lines = list(csv.DictReader(csv_text(history(row(1), row(2))).splitlines()))
    assert [line["epoch"] for line in lines] == ["1", "2"]
    assert float(lines[1]["loss/train/exit1"]) == 2.0
    assert float(lines[0]["accuracy/val/exit0"]) == 0.5


def test_fit_leaves_readable_logs(tmp_path: Path):
    result = ofr.fit(
        TinyExits(), train_loader(), val=val_loader(), epochs=2, out=tmp_path, device="cpu", progress=False
    )
    assert History.load(tmp_path / "history.json") == result
    (first, second) = csv.DictReader((tmp_path / "history.csv").read_text().splitlines())
    assert float(second["accuracy/val/exit2"]) == result.rows[1].val.accuracy[2]
    assert float(first["lr"]) == result.rows[0].lr
    assert not list(tmp_path.glob("*.tmp"))


def test_tensorboard_gets_every_exit_and_drops_what_is_repeated(tmp_path: Path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    log = TrainingLog(tmp_path, first_epoch=1)
    for epoch in (1, 2):
        log.plot(row(epoch))
    log.close()
    log = TrainingLog(tmp_path, first_epoch=2)
    log.plot(row(2, accuracy=0.75))
    log.close()
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert {"lr", "loss/train/exit0", "loss/val/exit1", "accuracy/train/exit1"} <= set(events.Tags()["scalars"])
    assert [(e.step, e.value) for e in events.Scalars("accuracy/val/exit1")] == [(1, 0.5), (2, 0.75)]


def shown() -> str:
    console = Console(record=True, width=120, file=open("/dev/null", "w"), force_terminal=True)  # noqa: PTH123, SIM115
    progress = Progress(epochs=3, console=console)
    tally = Tally(2, torch.device("cpu"), "here")
    tally.add(torch.zeros(2), [torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])], torch.tensor([0]))
    moment = Moment(TinyExits(), "joint", epoch=2, step=3, steps=5, tally=tally)
    progress.epoch_begins(moment)
    progress._due = 0.0
    progress.step_done(moment)
    progress.epoch_done(replace(moment, row=replace(row(2), seconds=1.25)))
    return console.export_text()


def test_the_bar_shows_every_exits_running_accuracy():
    text = shown()
    assert "epoch 2/3 (joint)" in text
    assert "3/5" in text
    assert "exits 100.0 0.0 %" in text
    assert "train 25.0 50.0 %  val 50.0 50.0 %" in text


def test_a_silent_run_prints_nothing(capfd: pytest.CaptureFixture[str]):
    ofr.fit(TinyExits(), train_loader(), epochs=1, device="cpu", progress=False)
    assert capfd.readouterr() == ("", "")


def test_fit_prints_a_line_per_epoch_on_standard_error(capfd: pytest.CaptureFixture[str]):
    ofr.fit(TinyExits(), train_loader(), val=val_loader(), epochs=2, device="cpu")
    out, err = capfd.readouterr()
    assert out == ""
    assert "epoch 1/2 (joint)  train" in err
    assert "epoch 2/2 (joint)  train" in err
