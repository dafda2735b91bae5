from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_problem import TinyExits, Trapped, interrupt, train_loader, val_loader

import offramp as ofr
from offramp.errors import TrainingError
from offramp.training import Callback, Moment


class Diary(Callback):
    """Writes down what it is told; `marks` survives an interruption."""

    def __init__(self) -> None:
        self.events: list[tuple[str, int, int]] = []
        self.moments: list[Moment] = []
        self.marks: list[float] = []

    def _note(self, event: str, moment: Moment) -> None:
        self.events.append((event, moment.epoch, moment.step))
        self.moments.append(moment)

    def run_begins(self, moment: Moment) -> None:
        self._note("run", moment)

    def phase_begins(self, moment: Moment) -> None:
        self._note("phase", moment)

    def epoch_begins(self, moment: Moment) -> None:
        self._note("epoch", moment)

    def step_done(self, moment: Moment) -> None:
        self._note("step", moment)

    def epoch_done(self, moment: Moment) -> None:
        self._note("done", moment)
        self.marks.append(moment.row.train.loss[0])

    def run_ends(self, moment: Moment) -> None:
        self._note("end", moment)

    def state_dict(self) -> dict[str, Any]:
        return {"marks": self.marks}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.marks = list(state["marks"])


def run(*callbacks: Callback, **options: Any) -> ofr.History:
    arguments = {"train_loader": train_loader(samples=32), "val": val_loader(), "epochs": 2, **options}
    return ofr.fit(TinyExits(), **arguments, device="cpu", progress=False, callbacks=callbacks)


def test_events_come_in_the_stated_order():
    diary = Diary()
    run(diary)
    epochs = [[("epoch", e, 0), ("step", e, 1), ("step", e, 2), ("done", e, 0)] for e in (1, 2)]
    assert diary.events == [("run", 0, 0), ("phase", 1, 0), *epochs[0], *epochs[1], ("end", 2, 0)]


def test_a_moment_says_where_the_run_stands(tmp_path: Path):
    diary = Diary()
    history = run(diary, out=tmp_path)
    step = next(m for m in diary.moments if m.tally is not None)
    assert (step.phase, step.steps, step.folder, len(step.tally.accuracy())) == ("joint", 2, tmp_path, 3)
    assert tuple(m.row for m in diary.moments if m.row is not None) == history.rows
    assert diary.moments[-1].stopped == "epochs"
    assert not diary.moments[-1].model.training


def test_callbacks_are_called_in_their_order_and_change_nothing():
    told: list[str] = []

    class Speaker(Callback):
        def __init__(self, name: str) -> None:
            self.name = name

        def epoch_done(self, moment: Moment) -> None:
            told.append(self.name)

    assert run(Speaker("a"), Speaker("b")) == run()
    assert told == ["a", "b", "a", "b"]


def test_what_a_callback_raises_ends_the_run_and_the_others_are_told():
    class Failing(Callback):
        def step_done(self, moment: Moment) -> None:
            raise RuntimeError("disk full")

    diary = Diary()
    with pytest.raises(RuntimeError, match="disk full"):
        run(Failing(), diary)
    assert [event for event, *_ in diary.events] == ["run", "phase", "epoch", "end"]
    assert diary.moments[-1].stopped == "running"


def test_states_survive_an_interruption(tmp_path: Path):
    whole = Diary()
    run(whole)
    with pytest.raises(KeyboardInterrupt):
        run(Diary(), Diary(), train_loader=Trapped(train_loader(samples=32), 2, 1, interrupt), out=tmp_path)
    first, second, new = Diary(), Diary(), Diary()
    run(first, second, new, out=tmp_path, resume=True)
    assert first.marks == second.marks == whole.marks
    assert new.marks == whole.marks[1:]
    assert [event for event, *_ in first.events][:2] == ["run", "epoch"]
    assert first.events[0] == ("run", 1, 0)


@pytest.mark.parametrize("callbacks", [[print], Diary, [Diary]])
def test_what_is_no_callback_is_named(callbacks: Any):
    with pytest.raises(TrainingError, match=r"fit\(callbacks=...\) holds .*derived from offramp.training.Callback"):
        ofr.fit(TinyExits(), train_loader(), callbacks=callbacks)
