"""Optimizers and learning-rate schedulers of a loop: made afresh for every rate, stepped after every epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch.optim.lr_scheduler import ReduceLROnPlateau

from offramp.compression.running.callbacks import Callbacks
from offramp.errors import CompressionError


class Optimizers:
    """What `configure_optimizers` gave last.

    Args:
        callbacks: of the caller.
        step_schedulers: whether learning-rate schedulers are stepped here.
    """

    def __init__(self, callbacks: Callbacks, step_schedulers: bool = True) -> None:
        self._configure: Callable[[], Any] | None = callbacks.configure_optimizers
        self._update = callbacks.update_learning_rate
        self._step_schedulers = step_schedulers
        self.optimizer: Any = None
        self.scheduler: Any = None

    def renew(self, factor: float = 1.0) -> None:
        """Makes fresh ones.

        Args:
            factor: on all learning rates, now and later.

        Raises:
            CompressionError: the caller's function does not give an optimizer and a scheduler.
        """
        if self._configure is None:
            return
        made = self._configure()
        if not isinstance(made, tuple) or len(made) != 2:
            raise CompressionError(
                f"configure_optimizers() returned {type(made).__name__}; it must return a pair: the optimizer and the "
                "learning-rate scheduler, either of which may be None."
            )
        self.optimizer, self.scheduler = made
        if factor != 1.0:
            self._scale(factor)

    def _scale(self, factor: float) -> None:
        for optimizer in listed(self.optimizer):
            for group in optimizer.param_groups:
                for key in ("lr", "initial_lr"):
                    if key in group:
                        group[key] *= factor
        for scheduler in listed(self.scheduler):
            if hasattr(scheduler, "base_lrs"):
                scheduler.base_lrs = [lr * factor for lr in scheduler.base_lrs]

    def update(self, epoch: int, metric: float, loss: float | None) -> None:
        """Moves the learning rate on, after an epoch.

        Args:
            epoch: epochs trained with these optimizers.
            metric: of the latest validation; what `ReduceLROnPlateau` looks at.
            loss: of the epoch.
        """
        if self._update is not None:
            self._update(self.scheduler, epoch, metric, loss)
        elif self._step_schedulers:
            for scheduler in listed(self.scheduler):
                if isinstance(scheduler, ReduceLROnPlateau):
                    scheduler.step(metric)
                else:
                    scheduler.step()

    @property
    def lr(self) -> float | None:
        """Learning rate of the first group, None where there is no optimizer."""
        groups = [group for optimizer in listed(self.optimizer) for group in optimizer.param_groups]
        return float(groups[0]["lr"]) if groups else None

    def state_dict(self) -> dict[str, Any]:
        """State of each."""
        return {
            "optimizers": [optimizer.state_dict() for optimizer in listed(self.optimizer)],
            "schedulers": [scheduler.state_dict() for scheduler in listed(self.scheduler)],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`, into fresh ones."""
        for optimizer, saved in zip(listed(self.optimizer), state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
            # Else schedulers warn, on their next step, that the optimizer has not made any.
            optimizer._opt_called = True
        for scheduler, saved in zip(listed(self.scheduler), state["schedulers"], strict=True):
            scheduler.load_state_dict(saved)


def listed(value: Any) -> Sequence[Any]:
    """None, one or several as a list."""
    if value is None:
        return []
    return value if isinstance(value, list | tuple) else [value]
