"""The one training loop: phases of epochs of steps; each epoch ends with validation and a checkpoint."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from offramp.regimes import Phase, Regime, WeightedCrossEntropy
from offramp.training.acceleration import Shell, gradient_scaler, precision_of, share_buffers
from offramp.training.batch import check_labels, check_logits, labelled, placed
from offramp.training.callbacks import Callback, Moment, restore_states, states_of
from offramp.training.checkpoint import Checkpoint, RunState, Weights
from offramp.training.folder import RunFolder
from offramp.training.history import EpochRow, History, Scores, Stop
from offramp.training.loaders import length, shard, size
from offramp.training.optimization import Schedule, describe, make_optimizer
from offramp.training.options import TrainingOptions
from offramp.training.progress import Progress
from offramp.training.seeding import seed_epoch
from offramp.training.tally import Tally

CHECK_EVERY = 50
"""Steps between two looks for a loss that is not finite; each look waits for the device."""


@dataclass(frozen=True)
class Job:
    """What is trained on what: the arguments of `fit` that are not options."""

    model: nn.Module
    train: Any
    val: Any | None
    regime: Regime
    callbacks: tuple[Callback, ...] = ()


class Loop:
    """Runs a job to its end, from the start or from a checkpoint.

    Args:
        job: model, data and regime.
        options: everything else.
        accelerator: device, precision and processes.

    Raises:
        TrainingError: the regime does not fit the model, nothing would train, a loader is empty, the folder cannot be
            written, holds another run, or one that was not asked to be resumed.
    """

    def __init__(self, job: Job, options: TrainingOptions, accelerator: Accelerator) -> None:
        self.job, self.options, self.accelerator = job, options, accelerator
        self.exits: int = job.model.exits  # type: ignore[assignment]
        self.phases = job.regime.phases(self.exits, options.epochs)
        self.train = shard(job.train, "train_loader", accelerator, even=True)
        self.val = None if job.val is None else shard(job.val, "val", accelerator, even=False)
        self.callbacks = self._callbacks()
        self.state = RunState()
        self._place_model()
        self._start_optimizer()
        self.fingerprint = self._fingerprint()
        self.folder = None if options.out is None else RunFolder(options.out, options.resume)
        if self.folder is not None:
            self._open(self.folder)

    def run(self) -> History:
        """Trains until the phases are done; the model then has the best weights, or the last without `val`."""
        self._tell("run_begins", len(self.state.rows))
        while self.state.phase < len(self.phases):
            phase, number = self.phases[self.state.phase], len(self.state.rows) + 1
            if self.state.phase_epoch == 0:
                self._tell("phase_begins", number)
            self._epoch(phase, number)
        return self.state.history()

    def interrupted(self) -> str:
        """Records the interruption, and says how to go on."""
        done = f"Training was interrupted after {len(self.state.rows)} epochs."
        if self.folder is None:
            return f"{done} With fit(..., out=FOLDER) it could have been resumed."
        self.folder.mark(self.state.history(), "interrupted")
        return f"{done} Continue with the same call and fit(..., out={str(self.folder.path)!r}, resume=True)."

    def close(self) -> None:
        """Leaves the model in evaluation mode and without gradients, and ends callbacks and logs."""
        self.job.model.eval()
        self.job.model.zero_grad(set_to_none=True)
        try:
            self._tell("run_ends", len(self.state.rows), stopped=self.state.stopped)
        finally:
            if self.folder is not None:
                self.folder.close()

    def _callbacks(self) -> tuple[Callback, ...]:
        """Those of this process: none unless it is the main one."""
        if not self.accelerator.is_main_process:
            return ()
        total = sum(phase.epochs for phase in self.phases)
        shown = (Progress(total, self.options.resume),) if self.options.progress else ()
        return (*shown, *self.job.callbacks)

    def _tell(self, event: str, epoch: int, **facts: Any) -> None:
        if not self.callbacks:
            return
        phase = self.phases[min(self.state.phase, len(self.phases) - 1)].name
        moment = Moment(self.job.model, phase, epoch, steps=length(self.train), folder=self.options.out, **facts)
        for callback in self.callbacks:
            getattr(callback, event)(moment)

    def _place_model(self) -> None:
        if self.options.channels_last:
            self.job.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.prepared = self.accelerator.prepare_model(Shell(self.job.model))
        # Without DDP around it, so that processes may validate unequal numbers of batches.
        self.shell = self.accelerator.unwrap_model(self.prepared)

    def _start_optimizer(self) -> None:
        self.optimizer = make_optimizer(self.job.model.parameters(), self.options)
        self.optimizer.zero_grad()
        self.scaler = gradient_scaler(self.accelerator)

    def _epoch(self, phase: Phase, number: int) -> None:
        began = time.perf_counter()
        seed_epoch(self.options.seed, number, self.accelerator.process_index, (self.train, self.val))
        self._tell("epoch_begins", number)
        train, lr = self._train(phase, number)
        share_buffers(self.job.model, self.accelerator)
        val = None if self.val is None else self._validate(self.val, number)
        self._finish(phase, EpochRow(number, phase.name, lr, train, val, time.perf_counter() - began))

    def _train(self, phase: Phase, number: int) -> tuple[Scores, float]:
        """One pass over the training data; also gives the first step's learning rate."""
        tally = Tally(self.exits, self.accelerator.device, f"training, epoch {number}")
        schedule = Schedule(self.options.schedule, phase.epochs, self.options.warmup)
        # A loader that does not tell its length gets one learning rate per epoch.
        per_step = 1 / (length(self.train) or math.inf)
        schedule.apply(self.optimizer, self.state.phase_epoch, per_step or 1.0)
        first_lr = float(self.optimizer.param_groups[0]["lr"])
        self.prepared.train()
        for step, batch in enumerate(self.train):
            schedule.apply(self.optimizer, self.state.phase_epoch + step * per_step, per_step or 1.0)
            self._step(batch, phase, tally)
            if (step + 1) % CHECK_EVERY == 0:
                tally.check_finite()
            self._tell("step_done", number, step=step + 1, tally=tally)
        return tally.scores(self._sum_over_processes), first_lr

    def _step(self, batch: Any, phase: Phase, tally: Tally) -> None:
        logits, labels = self._forward(self.prepared, batch, tally.where)
        losses = phase.loss(logits, labels)
        # accelerate's own backward() and step() search the installed packages at every call: 0.3 ms a step.
        self.scaler.scale(losses.total).backward()  # type: ignore[no-untyped-call]
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        tally.add(losses.exits, logits, labels)

    def _validate(self, loader: Any, number: int) -> Scores:
        tally = Tally(self.exits, self.accelerator.device, f"validation, epoch {number}")
        loss = WeightedCrossEntropy((1 / self.exits,) * self.exits)
        self.shell.eval()
        with torch.no_grad():
            for batch in loader:
                logits, labels = self._forward(self.shell, batch, tally.where)
                tally.add(loss(logits, labels).exits, logits, labels)
        return tally.scores(self._sum_over_processes)

    def _forward(self, module: nn.Module, batch: Any, where: str) -> tuple[list[Tensor], Tensor]:
        """Every exit's logits, and the labels, on the device."""
        inputs, labels = labelled(batch, where)
        device = self.accelerator.device
        logits = module(placed(inputs, device, self.options.channels_last))
        check_logits(logits, self.exits, len(labels))
        # Labels that live on the device would make every step wait for it: those are looked at in one epoch only.
        if labels.device.type == "cpu" or not self.state.rows:
            check_labels(labels, logits[0].shape[1], where)
        return logits, placed(labels, device)

    def _sum_over_processes(self, tensor: Tensor) -> Tensor:
        summed: Tensor = self.accelerator.reduce(tensor, reduction="sum")
        return summed

    def _finish(self, phase: Phase, row: EpochRow) -> None:
        """Books the epoch, ends its phase where that is due, and saves all of it in one step."""
        self._tell("epoch_done", row.epoch, row=row)
        verdict = self.state.enter(row, phase.epochs, self.options.patience, self._weights)
        if verdict != "running":
            self._end_phase(verdict)
        if self.folder is not None and self.accelerator.is_main_process:
            self.folder.keep(self._checkpoint())

    def _end_phase(self, verdict: Stop) -> None:
        if self.state.best is not None:
            self.job.model.load_state_dict(self.state.best.weights)
        self.state.next_phase()
        if self.state.phase == len(self.phases):
            self.state.stopped = verdict
        else:
            self._start_optimizer()

    def _weights(self) -> Weights:
        return {name: value.detach().clone() for name, value in self.job.model.state_dict().items()}

    def _open(self, folder: RunFolder) -> None:
        found = folder.find(self.fingerprint)
        if found is not None:
            self._restore(found)
        # Nobody may look for a checkpoint after the main process has written one.
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            folder.begin(self._checkpoint())

    def _restore(self, checkpoint: Checkpoint) -> None:
        self.job.model.load_state_dict(checkpoint.model)
        self.optimizer.load_state_dict(checkpoint.optimizer)
        self.scaler.load_state_dict(checkpoint.scaler)
        self.state = checkpoint.state
        restore_states(self.callbacks, checkpoint.callbacks)

    def _checkpoint(self) -> Checkpoint:
        return Checkpoint(
            fingerprint=self.fingerprint,
            state=self.state,
            model=self.job.model.state_dict(),
            optimizer=self.optimizer.state_dict(),
            scaler=self.scaler.state_dict(),
            callbacks=states_of(self.callbacks),
        )

    def _fingerprint(self) -> dict[str, Any]:
        """What decides the outcome of a run, as plain data."""
        options = self.options
        return {
            "model": {name: list(value.shape) for name, value in self.job.model.state_dict().items()},
            "cuts": list(getattr(self.job.model, "cuts", ())),
            "regime": self.job.regime.to_dict(),
            **{name: getattr(options, name) for name in ("epochs", "seed", "schedule", "warmup", "patience")},
            "lr": options.base_lr if isinstance(options.optimizer, str) else None,
            "optimizer": describe(self.optimizer),
            "precision": precision_of(self.accelerator),
            "processes": self.accelerator.num_processes,
            "train_loader": size(self.job.train),
            "val": size(self.job.val),
        }
