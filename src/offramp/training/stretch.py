"""One phase as it runs here: what it trains is thawed, the rest frozen, optimizer and schedule are new."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from offramp.regimes import Phase, Step
from offramp.regimes.features import Features
from offramp.regimes.losses import modules_of
from offramp.training.acceleration import Shell, gradient_scaler, prepare
from offramp.training.caching import FeatureCache, can_cache, check_cacheable
from offramp.training.optimization import Schedule, make_optimizer
from offramp.training.options import TrainingOptions
from offramp.training.parts import Freezing


class Stretch:
    """A phase of a run, ready to train.

    Args:
        phase: what trains, and under which loss.
        model: has exits; is on the device already where there is one process.
        options: of the run.
        accelerator: device, precision and processes.

    Attributes:
        prepared: gives the logits in a training step.
        shell: the same without what several processes need, so that they may validate unequal numbers of batches.
        whole: the whole model's shell, also where features are kept and `shell` runs the heads alone.
        losses: modules of the loss that train along.

    Raises:
        TrainingError: the model has not the parts that the phase names, or nothing would train.
    """

    def __init__(self, phase: Phase, model: nn.Module, options: TrainingOptions, accelerator: Accelerator) -> None:
        self.phase, self.options = phase, options.for_phase(phase)
        self.freezing = Freezing(model, phase)
        self.freezing.begin()
        # What a loss builds must be the same however the phase was reached.
        torch.manual_seed(options.seed)
        phase.loss.begins(model)
        self.losses = nn.ModuleList(modules_of(phase.loss)).to(accelerator.device)
        shell = Shell(model, self.losses)
        self.prepared = prepare(shell, accelerator, any(change.skips_parameters for change in phase.changes))
        self.shell: nn.Module = accelerator.unwrap_model(self.prepared)
        self.whole = self.shell
        self.optimizer = make_optimizer(shell.parameters(), self.options, phase.settings.lr_factor)
        self.optimizer.zero_grad()
        self.scaler = gradient_scaler(accelerator)
        self.schedule = Schedule(self.options.schedule, phase.epochs, self.options.warmup)
        self._features = Features(model) if phase.loss.features else None
        self._model, self._accelerator = model, accelerator
        self._loaders: tuple[Any, Any] | None = None

    def loaders(self, train: Any, val: Any | None) -> tuple[Any, Any]:
        """What to train and validate on: the loaders, or the features that the backbone makes of them, kept.

        Raises:
            TrainingError: features are to be kept of samples that change.
        """
        if self._loaders is None:
            kept = None
            if self.options.cache_features and can_cache(self.phase):
                kept = self._keep_features(train, val)
            self._loaders = kept or (train, val)
        return self._loaders

    def _keep_features(self, train: Any, val: Any | None) -> tuple[Any, Any] | None:
        check_cacheable(train, self._accelerator.num_processes)
        cache = FeatureCache(self._model, self.whole, self._accelerator.device, self.options.channels_last)
        kept = cache.build(train, val, self.options.cache_bytes)
        if kept is not None:
            self.prepared = prepare(Shell(cache.heads), self._accelerator, seeks_unused=False)
            self.shell = self.prepared
        return kept

    @contextmanager
    def steps(self, now: Callable[[], Step]) -> Iterator[None]:
        """Modes and hooks of training, for an epoch."""
        self.freezing.set_modes()
        with ExitStack() as hooks:
            for change in self.phase.changes:
                for handle in change.install(self._model, now):
                    hooks.callback(handle.remove)
            if self._features is not None:
                hooks.enter_context(self._features.watching())
            yield

    def features(self) -> tuple[Tensor, ...]:
        """Those of the last forward pass, where the loss wants them."""
        return () if self._features is None else self._features.take()

    def descend(self, total: Tensor, logits: list[Tensor]) -> None:
        """One step of the optimizer."""
        if self._accelerator.num_processes > 1:
            # Processes wait for the gradient of every parameter that trains, also of exits that this loss left out.
            total = total + 0.0 * torch.stack([z.float().sum() for z in logits]).sum()
        # accelerate's own backward() and step() search the installed packages at every call: 0.3 ms a step.
        self.scaler.scale(total).backward()  # type: ignore[no-untyped-call]
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()

    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "loss": self.losses.state_dict(),
        }

    def restore(self, optimizer: dict[str, Any], scaler: dict[str, Any], loss: dict[str, Any]) -> None:
        """Takes over what `state` gave."""
        self.optimizer.load_state_dict(optimizer)
        self.scaler.load_state_dict(scaler)
        self.losses.load_state_dict(loss)

    def end(self) -> None:
        """Lets everything train again."""
        self.freezing.end()
