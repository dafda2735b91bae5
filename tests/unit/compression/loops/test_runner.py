"""The runner: what it returns, how it calls back, and that a kill at any moment changes nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from offramp.compression import (
    AdaptiveCompressionLevel,
    DivergedError,
    EarlyExit,
    Interrupted,
    Loop,
    Outcome,
    RateSearch,
    Stop,
    compress,
)
from offramp.compression.running import checkpoint
from offramp.compression.running.checkpoint import BEST, LAST, load_model
from offramp.errors import CompressionError, FileFormatError

pytestmark = pytest.mark.usefixtures("fakes")

HALF = {"compression": {"algorithm": "thinning"}}
"""Half of the weights at once."""
GROWING = {"compression": [{"algorithm": "thinning", "start": 0.1, "params": {"steps": 3}}, {"algorithm": "rounding"}]}
"""Starts nearly uncompressed, as nearly all schedules do."""

LOOPS = {
    "early_exit": EarlyExit(maximal_total_epochs=9, maximal_absolute_accuracy_degradation=0.01),
    "adaptive": AdaptiveCompressionLevel(maximal_total_epochs=14, maximal_absolute_accuracy_degradation=0.03),
    "search": RateSearch(maximal_total_epochs=14, maximal_absolute_accuracy_degradation=0.03),
}


class Killed(BaseException):
    """What a power cut would look like from inside."""


def run(task: Any, config: Any = GROWING, seed: int = 5, **options: Any) -> Outcome:
    torch.manual_seed(seed)
    return compress(
        task.model(), config, **{**task.callbacks, "baseline": 0.95, "loop": LOOPS["early_exit"], **options}
    )


def accuracy(task: Any, outcome: Outcome) -> float:
    with torch.no_grad():
        return task.validate(outcome.model, 0)


# ---- what comes back


def test_a_success_after_a_schedule_that_starts_uncompressed_does_not_crash(task: Any) -> None:
    """NNCF's loop crashed exactly then: its best epoch was one that it had never saved."""
    outcome = run(task, baseline=0.5, loop=EarlyExit(maximal_total_epochs=9))
    assert outcome.stopped == Stop.CRITERION
    assert outcome.holds
    assert outcome.best_epoch == outcome.exit_epoch >= 3


def test_statistics_are_those_of_the_returned_model(task: Any) -> None:
    """NNCF gave those of the last epoch."""
    outcome = run(task, baseline=1.2, loop=EarlyExit(maximal_total_epochs=12))
    assert not outcome.holds
    assert outcome.statistics.compressed_accuracy == accuracy(task, outcome)
    assert outcome.best_epoch == max((r for r in outcome.history if r.full), key=lambda r: r.metric).epoch


def test_rates_are_measured(task: Any) -> None:
    outcome = run(task, HALF)
    first: Any = outcome.model[0]
    assert outcome.statistics.compression_rate == float((first.mask == 0).float().mean())
    assert outcome.statistics.nominal_compression_rate == 0.5


@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)
def test_the_returned_model_is_the_best_of_the_history(task: Any, loop: Loop) -> None:
    outcome = run(task, loop=loop)
    full = [record for record in outcome.history if record.full]
    holding = [record for record in full if record.budget >= 0]
    assert outcome.holds == bool(holding)
    if holding and loop.searches_rate:
        assert outcome.statistics.compression_rate == max(record.achieved or 0 for record in holding)
    assert outcome.statistics.compressed_accuracy == accuracy(task, outcome)
    assert not outcome.model.training


def test_a_schedule_longer_than_the_loop_is_said(task: Any) -> None:
    long = {"compression": {"algorithm": "thinning", "start": 0.1, "params": {"steps": 50}}}
    outcome = run(task, long, loop=EarlyExit(maximal_total_epochs=2))
    assert outcome.best_epoch is None
    assert not outcome.holds
    assert "only after more than 2 epochs" in outcome.notices[0]
    assert "No epoch was fully compressed" in outcome.notices[-1]


def test_a_metric_out_of_reach_is_said_before_the_epochs_end(task: Any) -> None:
    task.lr = 1e-5
    outcome = run(task, HALF)
    assert any("will still miss its limit" in notice for notice in outcome.notices)


def test_a_minimised_metric_does_not_hold_at_once(task: Any) -> None:
    loop = EarlyExit(maximal_total_epochs=2, direction="minimise", maximal_relative_accuracy_degradation=1.0)
    outcome = run(task, HALF, validate=lambda model, epoch: 90.0 - epoch, baseline=20.0, loop=loop)
    assert (outcome.stopped, outcome.holds, outcome.best_epoch) == (Stop.EPOCHS, False, 2)


def test_the_given_model_stays_as_it_is(task: Any) -> None:
    model = task.model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    compress(model, HALF, loop=LOOPS["early_exit"], baseline=0.9, **task.callbacks)
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_baseline_is_validated_where_it_is_not_given(task: Any) -> None:
    outcome = run(task, HALF, baseline=None)
    with torch.no_grad():
        assert outcome.statistics.uncompressed_accuracy == task.validate(task.model().eval(), 0)


# ---- callbacks


def test_callbacks_are_called_as_nncf_calls_them(task: Any, tmp_path: Path) -> None:
    calls: list[tuple[Any, ...]] = []
    original = task.train_epoch

    def train_epoch(controller: Any, model: nn.Module, epoch: int, optimizer: Any, lr_scheduler: Any) -> float:
        calls.append(("train", epoch, model.training, lr_scheduler is not None))
        return original(controller, model, epoch, optimizer, lr_scheduler)

    def validate(model: nn.Module, epoch: int) -> float:
        calls.append(("validate", epoch, model.training, torch.is_grad_enabled()))
        return 0.1

    run(
        task,
        HALF,
        train_epoch=train_epoch,
        validate=validate,
        early_stopping=lambda metric: calls.append(("stop?", metric)) or False,
        update_learning_rate=lambda scheduler, epoch, metric, loss: calls.append(("lr", epoch, metric, loss > 0)),
        loop=EarlyExit(maximal_total_epochs=2),
    )
    assert calls == [
        ("validate", 0, False, False),
        ("stop?", 0.1),
        ("train", 0, True, True),
        ("validate", 1, False, False),
        ("stop?", 0.1),
        ("lr", 1, 0.1, True),
        ("train", 1, True, True),
        ("validate", 2, False, False),
        ("stop?", 0.1),
    ]


def test_early_stopping_ends_the_loop(task: Any) -> None:
    outcome = run(task, HALF, early_stopping=lambda metric: True, baseline=2.0)
    assert (outcome.stopped, outcome.exit_epoch) == (Stop.EARLY_STOPPING, 1)


def test_plateaus_see_the_metric(task: Any) -> None:
    def optimizers(model: nn.Module) -> tuple[Any, Any]:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        return optimizer, torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", patience=0, factor=0.5)

    loop = EarlyExit(maximal_total_epochs=5)
    outcome = run(task, HALF, configure_optimizers=optimizers, validate=lambda model, epoch: 0.1, loop=loop)
    assert [record.lr for record in outcome.history[1:]] == [0.1, 0.1, 0.05, 0.025, 0.0125]


def test_a_search_starts_every_rate_with_a_fresh_optimizer(task: Any) -> None:
    made: list[int] = []
    original = task.optimizers

    def optimizers(model: nn.Module) -> tuple[Any, Any]:
        made.append(len(made))
        return original(model)

    outcome = run(task, configure_optimizers=optimizers, loop=LOOPS["adaptive"])
    rates = [record.nominal for record in outcome.history if record.full]
    assert len(made) >= len(set(rates))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"train_epoch": None}, "train_epoch is missing"),
        ({"validate": 3, "train_epoch": None}, "train_epoch is missing; validate=3 cannot be called"),
        ({"validate": lambda model, epoch: None}, "returned None at epoch 0"),
        ({"validate": lambda model, epoch: math.nan}, "returned nan at epoch 0"),
        ({"configure_optimizers": lambda: None}, "must return a pair"),
        ({"baseline": math.nan}, "it is nan"),
        ({"baseline": -1.0, "loop": EarlyExit(maximal_relative_accuracy_degradation=1.0)}, "absolute degradation"),
        ({"resume": True}, "resume=True needs the folder"),
        ({"example": None}, "Compressing needs inputs"),
    ],
)
def test_what_cannot_be_used_is_said(task: Any, options: dict[str, Any], says: str) -> None:
    with pytest.raises(CompressionError, match=says):
        run(task, HALF, **options)


def test_two_loops_at_once_are_refused(task: Any) -> None:
    training = {"mode": "early_exit", "params": {"maximal_relative_accuracy_degradation": 1, "maximal_total_epochs": 1}}
    with pytest.raises(CompressionError, match="asks for EarlyExit"):
        run(task, {**HALF, "accuracy_aware_training": training})


def test_a_search_without_a_rate_is_refused_from_python_too(task: Any) -> None:
    with pytest.raises(CompressionError, match="none of those given"):
        run(task, {"compression": {"algorithm": "rounding"}}, loop=RateSearch())


# ---- nothing that was trained is lost


def test_ctrl_c_hands_the_best_model_over(task: Any) -> None:
    original = task.train_epoch

    def train_epoch(*args: Any, **kwargs: Any) -> float:
        if kwargs["epoch"] == 5:
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    with pytest.raises(Interrupted, match="5 epochs are trained") as caught:
        run(task, HALF, train_epoch=train_epoch, baseline=2.0)
    outcome = caught.value.outcome
    assert outcome is not None
    assert outcome.stopped is None
    assert accuracy(task, outcome) == max(record.metric for record in outcome.history)


def test_a_model_that_diverges_leaves_the_best_before(task: Any) -> None:
    original = task.validate
    with pytest.raises(DivergedError, match="nan at epoch 4") as caught:
        run(
            task,
            HALF,
            validate=lambda model, epoch: math.nan if epoch == 4 else original(model, epoch),
            baseline=2.0,
        )
    assert caught.value.outcome is not None
    assert accuracy(task, caught.value.outcome) == max(record.metric for record in caught.value.outcome.history)


def killing(original: Callable[..., Any], at: int, late: bool) -> Callable[..., Any]:
    """The same function, whose call number `at` dies before or after its work."""
    calls = iter(range(10_000))

    def function(*args: Any, **kwargs: Any) -> Any:
        number = next(calls)
        if number == at and not late:
            raise Killed
        result = original(*args, **kwargs)
        if number == at:
            raise Killed
        return result

    return function


def bits(outcome: Outcome) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in outcome.model.state_dict().items()}


@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)
@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("where", ["train", "save"])
@pytest.mark.parametrize("at", [0, 1, 4, 7])
def test_a_killed_loop_ends_with_the_same_bits(
    task: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loop: Loop, where: str, at: int, late: bool
) -> None:
    """Killed in an epoch or between two files; it goes on in another process, with other random state."""
    whole = run(task, loop=loop)
    with monkeypatch.context() as patch:
        options: dict[str, Any] = {}
        if where == "train":
            options["train_epoch"] = killing(task.train_epoch, at, late)
        else:
            patch.setattr(checkpoint, "_save", killing(checkpoint._save, at + 1, late))
        try:
            run(task, loop=loop, out=tmp_path, **options)
        except Killed:
            pass
        else:
            # A short loop may end before the latest kill; what is finished then goes on to the same end.
            assert at == 7
    resumed = run(type(task)(), loop=loop, out=tmp_path, resume=True, seed=99)
    assert resumed.history == whole.history
    assert resumed.statistics == whole.statistics
    assert (resumed.stopped, resumed.best_epoch, resumed.exit_epoch) == (
        whole.stopped,
        whole.best_epoch,
        whole.exit_epoch,
    )
    for name, value in bits(whole).items():
        assert torch.equal(bits(resumed)[name], value), name


def test_a_finished_loop_resumes_to_the_same_outcome_without_training(task: Any, tmp_path: Path) -> None:
    whole = run(task, out=tmp_path)
    task.trained.clear()
    again = run(task, out=tmp_path, resume=True, seed=99)
    assert task.trained == []
    assert again.statistics == whole.statistics


def test_a_folder_is_never_overwritten(task: Any, tmp_path: Path) -> None:
    run(task, out=tmp_path)
    before = (tmp_path / LAST).read_bytes()
    with pytest.raises(CompressionError, match="resume=True"):
        run(task, out=tmp_path)
    shorter = EarlyExit(maximal_total_epochs=8, maximal_absolute_accuracy_degradation=0.01)
    with pytest.raises(CompressionError, match=r"loop\.maximal_total_epochs is 9 in the checkpoint and 8 now"):
        run(task, out=tmp_path, resume=True, loop=shorter)
    assert (tmp_path / LAST).read_bytes() == before


def test_a_damaged_checkpoint_is_said(task: Any, tmp_path: Path) -> None:
    (tmp_path / LAST).write_bytes(b"PK")
    with pytest.raises(FileFormatError, match="damaged"):
        run(task, out=tmp_path, resume=True)


def test_a_folder_that_cannot_be_written_is_said_before_training(task: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CompressionError, match="cannot be written"):
        run(task, out=tmp_path / "file")
    assert task.trained == []


def test_the_best_model_is_on_disk(task: Any, tmp_path: Path) -> None:
    outcome = run(task, HALF, out=tmp_path, baseline=2.0)
    expected = bits(outcome)
    with torch.no_grad():
        for parameter in outcome.model.parameters():
            parameter.zero_()
    load_model(outcome.model, tmp_path / BEST)
    assert all(torch.equal(value, expected[name]) for name, value in outcome.model.state_dict().items())
    assert outcome.statistics.compressed_accuracy == accuracy(task, outcome)


# ---- what it tells


def test_tensorboard_gets_nncfs_scalars(task: Any, tmp_path: Path) -> None:
    class Writer:
        def __init__(self) -> None:
            self.seen: dict[str, list[int]] = {}

        def add_scalar(self, name: str, value: float, step: int) -> None:
            self.seen.setdefault(name, []).append(step)

        def flush(self) -> None:
            return None

    writer = Writer()
    outcome = run(task, writer=writer, loop=LOOPS["adaptive"])
    epochs = [record.epoch for record in outcome.history]
    assert writer.seen["val/accuracy_aware/metric_value"] == epochs
    assert writer.seen["val/accuracy_aware/accuracy_budget"] == epochs
    assert writer.seen["compression/statistics/thinning/achieved"] == epochs
    assert "compression/accuracy_aware/target_compression_rate" in writer.seen
    assert "compression/accuracy_aware/compression_rate_step" in writer.seen


def test_event_files_are_written_to_the_folder(task: Any, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    run(task, out=tmp_path)
    assert list(tmp_path.glob("events.out.tfevents.*"))


def test_every_epoch_has_its_line(task: Any, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = run(task, progress=True)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch ")]
    assert len(lines) == len(outcome.history)
    assert "not fully compressed yet" in lines[0]
