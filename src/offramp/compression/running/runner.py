"""Carries out what a search asks for: loads, sets rates, trains, validates, keeps the best, goes on after a kill."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from offramp.backbones import evaluating
from offramp.compression.controller import Controller
from offramp.compression.loops import Bounds, Evaluation, Loop, Move, Stop
from offramp.compression.loops.projection import hopeless
from offramp.compression.outcome import Interrupted, LoopStatistics, Outcome, Record
from offramp.compression.running import randomness
from offramp.compression.running.callbacks import Callbacks, checked_loss
from offramp.compression.running.checkpoint import Checkpoints, Snapshot
from offramp.compression.running.journal import Journal
from offramp.compression.running.logbook import Logbook
from offramp.compression.running.optimizers import Optimizers
from offramp.compression.running.processes import agreed, wait_for_all
from offramp.compression.tolerance import DivergedError, Tolerance, checked_metric
from offramp.errors import CompressionError
from offramp.training.checkpoint import differences

DEFAULT_RATES = Bounds(0.0, 0.95)


@dataclass(frozen=True)
class RunOptions:
    """How a loop is run.

    Attributes:
        folder: for checkpoints and logs; None keeps the best model in memory only.
        resume: whether a loop found there is continued; where there is none, one starts.
        dump_checkpoints: whether the last state is written after every epoch, beside the best.
        progress: whether a line per epoch is printed.
        writer: a TensorBoard writer of the caller's.
        step_schedulers: whether learning-rate schedulers are stepped after every epoch.
        rates: lowest and highest rate that a search may set.
    """

    folder: Path | None = None
    resume: bool = False
    dump_checkpoints: bool = True
    progress: bool = True
    writer: Any = None
    step_schedulers: bool = True
    rates: Bounds = DEFAULT_RATES

    def __post_init__(self) -> None:
        if self.resume and (self.folder is None or not self.dump_checkpoints):
            raise CompressionError(
                "resume=True needs the folder of the interrupted loop, and checkpoints in it (dump_checkpoints=True)."
            )


class Runner:
    """One loop over one compressed model.

    Args:
        controller: of the model's compression.
        loop: what is searched for.
        tolerance: the criterion.
        callbacks: that train and validate.
        options: everything else.

    Raises:
        CompressionError: the folder cannot be written, holds another loop, or one that was not to be resumed.
    """

    def __init__(
        self, controller: Controller, loop: Loop, tolerance: Tolerance, callbacks: Callbacks, options: RunOptions
    ) -> None:
        self.controller, self.loop, self.tolerance = controller, loop, tolerance
        self.callbacks, self.options = callbacks, options
        self.optimizers = Optimizers(callbacks, options.step_schedulers)
        self.checkpoints = Checkpoints(options.folder, options.dump_checkpoints)
        self.journal = Journal()
        self.best: Snapshot | None = None
        self._replayed = 0

    def run(self) -> Outcome:
        """Runs the loop to its end.

        Raises:
            Interrupted: Ctrl-C; its `outcome` has the best model so far.
            DivergedError: a metric or a loss is not finite, likewise.
        """
        self._open()
        high = min(self.options.rates.high, self.controller.maximal_compression_rate)
        try:
            return self._finish(self.loop.search(self.evaluate, Bounds(self.options.rates.low, high)))
        except KeyboardInterrupt as stop:
            raise Interrupted(f"The loop was interrupted. {self._way_on()}", self._so_far()) from stop
        except DivergedError as error:
            error.outcome = self._so_far()
            error.add_note(self._way_on())
            raise
        finally:
            self.logbook.close()

    def evaluate(self, move: Move) -> Evaluation:
        """Makes a move, or tells what came of it before the loop was interrupted."""
        known = self.journal.replay(self._replayed, move)
        self._replayed += 1
        return self._make(move) if known is None else known

    # ---- one move

    def _make(self, move: Move) -> Evaluation:
        began = time.perf_counter()
        if move.to_best:
            self._go_back()
        if move.rate is not None:
            self._set_rate(move.rate, move.lr_factor)
        lr = self.optimizers.lr
        if move.train:
            lr = self._train()
        evaluation = self._validated() if move.validate else self._unseen()
        compression = self.controller.statistics()
        evaluation = evaluation._replace(nominal=compression.nominal, achieved=compression.achieved)
        is_best = move.validate and self._enter_best(evaluation)
        evaluation = evaluation._replace(stop=move.validate and self._asks_to_stop(evaluation))
        self.journal.enter(move, evaluation)
        if move.validate:
            seconds = time.perf_counter() - began
            loss = self.journal.loss if move.train else None
            record = Record(*evaluation[1:7], loss, lr if move.train else None, seconds)
            self.journal.records.append(record)
            self.logbook.record(record, self._best_epoch(), compression)
            self._look_ahead()
        self._save(self.best if is_best else None)
        return evaluation

    def _go_back(self) -> None:
        if self.best is None:
            raise CompressionError("A search cannot go back to the best model before there is one.")
        if self.callbacks.load_checkpoint is not None and self.checkpoints.best_path is not None:
            self.callbacks.load_checkpoint(self.controller.model, self.checkpoints.best_path)
        else:
            self.best.put_back(self.controller)

    def _set_rate(self, rate: float, lr_factor: float) -> None:
        before = self.controller.statistics().nominal
        self.controller.compression_rate = rate
        self.optimizers.renew(lr_factor)
        self.journal.epochs_here, self.journal.lr_is_due = 0, False
        self.logbook.rate(rate, before, self.journal.epoch)

    def _train(self) -> float | None:
        """Trains an epoch, and gives the learning rate that it began with."""
        journal = self.journal
        if journal.lr_is_due:
            metric = journal.latest.metric if journal.latest is not None else self.tolerance.baseline
            self.optimizers.update(journal.epochs_here, metric, journal.loss)
        lr = self.optimizers.lr
        self.controller.scheduler.epoch_step()
        self.controller.model.train()
        loss = self.callbacks.train_epoch(
            self.controller,
            self.controller.model,
            epoch=journal.epoch,
            optimizer=self.optimizers.optimizer,
            lr_scheduler=self.optimizers.scheduler,
        )
        journal.loss = checked_loss(loss, journal.epoch + 1)
        journal.epoch += 1
        journal.epochs_here += 1
        journal.lr_is_due = True
        return lr

    def _validated(self) -> Evaluation:
        with evaluating(self.controller.model), torch.no_grad():
            value = self.callbacks.validate(self.controller.model, epoch=self.journal.epoch)
        metric = agreed(checked_metric(value, self.journal.epoch))
        budget = self.tolerance.budget(metric)
        number = len(self.journal.records)
        return Evaluation(number, self.journal.epoch, metric, budget, self.controller.full, None, None)

    def _unseen(self) -> Evaluation:
        """After an epoch without validation: the latest figures, which are no evaluation of their own."""
        latest = self.journal.latest
        if latest is None:
            raise CompressionError("A search begins with a validation, so that it knows what it starts from.")
        return latest._replace(epoch=self.journal.epoch, full=False)

    def _enter_best(self, evaluation: Evaluation) -> bool:
        best = self._best_evaluation()
        if not self.loop.prefers(evaluation, best):
            return False
        self.journal.best = evaluation.number
        self.best = Snapshot.take(evaluation.number, self.controller)
        return True

    def _asks_to_stop(self, evaluation: Evaluation) -> bool:
        asks = self.callbacks.early_stopping
        if asks is None or not evaluation.full or (evaluation.holds and not self.loop.searches_rate):
            return False
        return bool(agreed(float(bool(asks(evaluation.metric)))))

    def _look_ahead(self) -> None:
        """Says early that the criterion cannot be met."""
        if self.loop.searches_rate or self.journal.epoch >= self.loop.maximal_total_epochs:
            return
        budgets = [record.budget for record in self.journal.records if record.full]
        left = self.loop.maximal_total_epochs - self.journal.epoch
        if hopeless(budgets, left / self.loop.validate_every_n_epochs):
            self.logbook.notice(
                f"At the pace of the last epochs the metric will still miss its limit {self.tolerance.worst:.4g} after "
                f"epoch {self.loop.maximal_total_epochs}. Compress less, or allow more degradation or epochs."
            )

    def _look_at_schedules(self) -> None:
        """Says at once that no epoch can be the best one."""
        epochs = self.loop.maximal_total_epochs
        if not self.loop.searches_rate and self.controller.epochs_until_full(epochs) is None:
            self.logbook.notice(
                f"The compression reaches its target only after more than {epochs} epochs, where the loop ends: no "
                "epoch will count. Allow more epochs, or fewer steps of the schedule."
            )

    # ---- the beginning and the end

    def _open(self) -> None:
        state = self._found()
        # Nobody may look for a checkpoint after the main process has written one.
        wait_for_all()
        if state is None:
            self.optimizers.renew()
            # A loop that is killed in its first epoch goes on from the same weights and random state.
            self._write(None)
        else:
            self._restore(state)
        self.logbook = Logbook(
            self.options.progress,
            self.options.folder,
            self.options.writer,
            self.loop.maximal_total_epochs,
            first_epoch=self.journal.epoch + (state is not None),
        )
        for notice in self.controller.notices:
            self.logbook.notice(notice)
        self._look_at_schedules()
        if state is not None:
            self.logbook.say(f"Continuing after epoch {self.journal.epoch}.")

    def _found(self) -> dict[str, Any] | None:
        state = self.checkpoints.read() if self.options.dump_checkpoints else None
        if state is None:
            return None
        if not self.options.resume:
            raise CompressionError(
                f"{self.options.folder} holds a loop already; nothing was changed. Continue it with resume=True, or "
                "choose another folder."
            )
        found = list(differences(state["fingerprint"], self._fingerprint()))
        if found:
            raise CompressionError(
                f"{self.options.folder} holds another loop: {'; '.join(found[:5])}. Resume with the same model and "
                "settings, or choose another folder."
            )
        return state

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.journal = Journal.from_dict(state["journal"])
        Snapshot(-1, state["state_dict"], state["compression_state"]).put_back(self.controller)
        self.optimizers.renew()
        self.optimizers.load_state_dict(state)
        if self.journal.best is not None:
            self.best = self.checkpoints.read_best(self.journal.best)
        # Last, as everything before may draw.
        randomness.restore(state["random"])

    def _save(self, best: Snapshot | None) -> None:
        if self.options.folder is None:
            return
        self._write(best)
        if self.callbacks.dump_checkpoint is not None:
            self.callbacks.dump_checkpoint(self.controller.model, self.controller, self, self.options.folder)

    def _write(self, best: Snapshot | None) -> None:
        state = {
            "epoch": self.journal.epoch,
            "state_dict": self.controller.model.state_dict(),
            "compression_state": self.controller.state_dict(),
            **self.optimizers.state_dict(),
            "journal": self.journal.to_dict(),
            "random": randomness.captured(),
            "fingerprint": self._fingerprint(),
        }
        self.checkpoints.write(state, best)

    def _fingerprint(self) -> dict[str, Any]:
        """What a loop must share to continue this one, as plain data."""
        return {
            "model": {name: list(getattr(v, "shape", ())) for name, v in self.controller.model.state_dict().items()},
            "algorithms": [repr(algorithm) for algorithm in self.controller.algorithms],
            "loop": self.loop.to_dict(),
            "uncompressed_accuracy": self.tolerance.baseline,
            "rates": list(self.options.rates),
        }

    def _finish(self, stop: Stop) -> Outcome:
        if self.best is None:
            self.logbook.notice(
                "No epoch was fully compressed: the schedule takes longer than the loop. The model is the last one; "
                "allow more epochs, or fewer steps."
            )
        self._look_at_what_was_taken()
        return self._outcome(stop)

    def _look_at_what_was_taken(self) -> None:
        """Says that a search ended with a model that nothing was taken from."""
        best = self._best_evaluation()
        if self.loop.searches_rate and best is not None and best.rate == 0:
            tried = max(record.nominal or 0.0 for record in self.journal.records)
            self.logbook.notice(
                f"Nothing was taken from the model that is returned, though rates up to {tried:.3g} were asked for: "
                "either no rate held, or the layers in question lose nothing below a higher rate (channels go eight at "
                "a time). Let more layers be compressed (for example prune_first_conv), or allow more degradation."
            )

    def _so_far(self) -> Outcome | None:
        """What there is when a loop breaks off; None before the first validation."""
        return self._outcome(None) if self.journal.records else None

    def _outcome(self, stop: Stop | None) -> Outcome:
        """With the best model; the last one, where none was fully compressed."""
        best = self._best_evaluation()
        if best is not None:
            self._go_back()
        self.controller.model.eval()
        metric = best.metric if best is not None else self.journal.records[-1].metric
        compression = self.controller.statistics()
        return Outcome(
            model=self.controller.model,
            controller=self.controller,
            stopped=stop,
            holds=best is not None and best.holds,
            exit_epoch=self.journal.epoch,
            best_epoch=self._best_epoch(),
            history=tuple(self.journal.records),
            statistics=LoopStatistics.of(metric, self.tolerance, compression),
            compression=compression,
            notices=tuple(self.logbook.notices),
            direction=self.tolerance.direction,
        )

    def _best_evaluation(self) -> Evaluation | None:
        return None if self.journal.best is None else self.journal.evaluation(self.journal.best)

    def _best_epoch(self) -> int | None:
        best = self._best_evaluation()
        return None if best is None else best.epoch

    def _way_on(self) -> str:
        kept = f"{self.journal.epoch} epochs are trained; the best model so far is in the error's outcome"
        if self.options.folder is None or not self.options.dump_checkpoints:
            return f"{kept}. With a folder it could have been resumed."
        return f"{kept}, and in {self.options.folder}. Continue with the same call and resume=True."
