"""The one training loop: phases of epochs of steps; each epoch ends with validation and a checkpoint."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, replace
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from offramp.regimes import Phase, Regime, Step, WeightedCrossEntropy
from offramp.training.acceleration import precision_of, share_buffers
from offramp.training.batch import check_labels, check_logits, labelled, placed
from offramp.training.callbacks import Callback, Moment, restore_states, states_of
from offramp.training.checkpoint import Checkpoint, RunState, Weights, copied
from offramp.training.folder import RunFolder
from offramp.training.guard import FinalExitCheck, warn_of_chance
from offramp.training.history import EpochRow, History, Scores, Stop
from offramp.training.loaders import length, shard, size
from offramp.training.optimization import describe
from offramp.training.options import TrainingOptions
from offramp.training.phases import checked_phases
from offramp.training.progress import Progress
from offramp.training.seeding import seed_epoch, seed_step
from offramp.training.stretch import Stretch
from offramp.training.tally import Tally

CHECK_EVERY = 50
"""Steps between two looks for a loss that is not finite; each look waits for the device."""
LOOK_AT = 20
"""Training batches on which a backbone is looked at where there is no validation data."""


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
        self.phases = checked_phases(job.regime, job.model, options, validates=job.val is not None)
        self.train = shard(job.train, "train_loader", accelerator, even=True)
        self.val = None if job.val is None else shard(job.val, "val", accelerator, even=False)
        self.callbacks = self._callbacks()
        self.state = RunState()
        self.now = Step()
        if options.channels_last:
            job.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.stretch = Stretch(self.phases[0], job.model, options, accelerator)
        self.fingerprint = self._fingerprint()
        self.folder = None if options.out is None else RunFolder(options.out, options.resume)
        if self.folder is not None:
            self._open(self.folder)

    def run(self) -> History:
        """Trains until the phases are done; the model then has the best weights, or the last without `val`."""
        self._tell("run_begins", len(self.state.rows))
        if not self.state.rows and self.phases[0].needs_backbone:
            self._look_at_backbone()
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
        """Leaves the model in evaluation mode, thawed and without gradients, and ends callbacks and logs."""
        self.stretch.end()
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

    def _begin_stretch(self) -> None:
        self.stretch.end()
        self.stretch = Stretch(self.phases[self.state.phase], self.job.model, self.options, self.accelerator)

    def _epoch(self, phase: Phase, number: int) -> None:
        began = time.perf_counter()
        self._tell("epoch_begins", number)
        loader, held_out = self.stretch.loaders(self.train, self.val)
        # What keeping features has drawn must not matter to the order of the samples.
        seed_epoch(self.options.seed, number, self.accelerator.process_index, (self.train, self.val))
        train, lr = self._train(loader, phase, number)
        share_buffers(self.job.model, self.accelerator)
        val = None if held_out is None else self._validate(held_out, phase, number)
        self._finish(phase, EpochRow(number, phase.name, lr, train, val, time.perf_counter() - began))

    def _train(self, loader: Any, phase: Phase, number: int) -> tuple[Scores, float]:
        """One pass over the training data; also gives the first step's learning rate."""
        stretch, epoch = self.stretch, self.state.phase_epoch
        tally = Tally(self.exits, self.accelerator.device, f"training, epoch {number}")
        # A loader that does not tell its length gets one learning rate per epoch.
        steps = length(loader)
        per_step = 1 / steps if steps else 0.0
        stretch.schedule.apply(stretch.optimizer, epoch, per_step or 1.0)
        first_lr = float(stretch.optimizer.param_groups[0]["lr"])
        with stretch.steps(lambda: self.now):
            for step, batch in enumerate(loader):
                passed = epoch + step * per_step
                stretch.schedule.apply(stretch.optimizer, passed, per_step or 1.0)
                seed = seed_step(self.options.seed, number, step)
                lr = float(stretch.optimizer.param_groups[0]["lr"])
                self.now = Step(epoch * (steps or 0) + step, epoch, passed / phase.epochs, seed, lr)
                self._step(batch, phase, tally)
                if (step + 1) % CHECK_EVERY == 0:
                    tally.check_finite()
                self._tell("step_done", number, step=step + 1, tally=tally)
        return tally.scores(self._sum_over_processes), first_lr

    def _step(self, batch: Any, phase: Phase, tally: Tally) -> None:
        self.stretch.freezing.keep()
        inputs, logits, labels = self._forward(self.stretch.prepared, batch, tally.where)
        losses = phase.loss(logits, labels, replace(self.now, inputs=inputs, features=self.stretch.features()))
        self.stretch.descend(losses.total, logits)
        tally.add(losses.exits, phase.loss.answers(logits), labels)

    def _validate(self, loader: Any, phase: Phase, number: int) -> Scores:
        tally = Tally(self.exits, self.accelerator.device, f"validation, epoch {number}")
        loss = WeightedCrossEntropy((1 / self.exits,) * self.exits)
        self.stretch.shell.eval()
        with torch.no_grad():
            for batch in loader:
                _, logits, labels = self._forward(self.stretch.shell, batch, tally.where)
                answers = phase.loss.answers(logits)
                tally.add(loss(answers, labels).exits, answers, labels)
        return tally.scores(self._sum_over_processes)

    def _look_at_backbone(self) -> None:
        """Warns where a backbone that should be trained is not, and remembers what it has right."""
        loader = self.train if self.val is None else self.val
        correct, labels = self._final_exit(loader, None if self.val is not None else LOOK_AT)
        self.state.alone = None if self.val is None else correct
        if self.accelerator.is_main_process:
            warn_of_chance(correct, labels, self.phases[0].name)

    def _final_exit(self, loader: Any, batches: int | None = None) -> tuple[Tensor, Tensor]:
        """Which samples the final exit has right, `[n]` bool, and their labels; the same order at every call."""
        seed_epoch(self.options.seed, 0, self.accelerator.process_index, (loader,))
        self.stretch.whole.eval()
        found: list[tuple[bool, int]] = []
        with torch.no_grad():
            for batch in itertools.islice(loader, batches):
                _, logits, labels = self._forward(self.stretch.whole, batch, "the final exit's check")
                correct = logits[-1].argmax(dim=-1) == labels
                found += zip(correct.tolist(), labels.tolist(), strict=True)
        every = gather_object(found)
        return torch.tensor([hit for hit, _ in every], dtype=torch.bool), torch.tensor([label for _, label in every])

    def _forward(self, module: nn.Module, batch: Any, where: str) -> tuple[Any, list[Tensor], Tensor]:
        """The inputs, every exit's logits, and the labels, on the device."""
        inputs, labels = labelled(batch, where)
        device = self.accelerator.device
        inputs = placed(inputs, device, self.options.channels_last)
        logits = module(inputs)
        check_logits(logits, self.exits, len(labels))
        # Labels that live on the device would make every step wait for it: those are looked at in one epoch only.
        if labels.device.type == "cpu" or not self.state.rows:
            check_labels(labels, logits[0].shape[1], where)
        return inputs, logits, placed(labels, device)

    def _sum_over_processes(self, tensor: Tensor) -> Tensor:
        summed: Tensor = self.accelerator.reduce(tensor, reduction="sum")
        return summed

    def _finish(self, phase: Phase, row: EpochRow) -> None:
        """Books the epoch, ends its phase where that is due, and saves all of it in one step."""
        self._tell("epoch_done", row.epoch, row=row)
        patience = self.stretch.options.patience
        verdict = self.state.enter(row, phase.epochs, patience, self._weights, phase.watched(self.exits))
        if verdict != "running":
            self._end_phase(verdict)
        if self.folder is not None and self.accelerator.is_main_process:
            self.folder.keep(self._checkpoint())

    def _end_phase(self, verdict: Stop) -> None:
        if self.state.best is not None:
            self.job.model.load_state_dict(self.state.best.weights)
            self.stretch.losses.load_state_dict(self.state.best.loss)
        criterion = self.phases[self.state.phase].loss.criterion()
        if criterion is not None:
            self.state.criterion = criterion.to_dict()
        self._compare_final_exit()
        self.state.next_phase()
        if self.state.phase == len(self.phases):
            self.state.stopped = verdict
        else:
            self._begin_stretch()

    def _compare_final_exit(self) -> None:
        """Remembers what the backbone alone has right after its phase; compares after the last one."""
        if self.val is None:
            return
        last = self.state.phase == len(self.phases) - 1
        if not last and self.phases[self.state.phase].parts == ("backbone",):
            self.state.alone, _ = self._final_exit(self.val)
        elif last and self.state.alone is not None:
            now, _ = self._final_exit(self.val)
            # A loader that gives other samples at every pass has nothing to compare.
            fits = len(now) == len(self.state.alone)
            self.state.final_exit = FinalExitCheck.of(self.state.alone, now) if fits else None

    def _weights(self) -> tuple[Weights, Weights]:
        return copied(self.job.model), copied(self.stretch.losses)

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
        self.state = checkpoint.state
        if 0 < self.state.phase < len(self.phases):
            self._begin_stretch()
        if self.state.phase < len(self.phases):
            self.stretch.restore(checkpoint.optimizer, checkpoint.scaler, checkpoint.loss)
        restore_states(self.callbacks, checkpoint.callbacks)

    def _checkpoint(self) -> Checkpoint:
        return Checkpoint(
            fingerprint=self.fingerprint,
            state=self.state,
            model=self.job.model.state_dict(),
            callbacks=states_of(self.callbacks),
            **self.stretch.state(),
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
            "optimizer": describe(self.stretch.optimizer),
            "precision": precision_of(self.accelerator),
            "processes": self.accelerator.num_processes,
            "train_loader": size(self.job.train),
            "val": size(self.job.val),
            "cache_features": bool(options.cache_features),
        }
