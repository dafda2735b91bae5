"""The settings that all sparsities with a schedule share, and the schedule that they ask for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from offramp.compression.algorithms.algorithm import Algorithm
from offramp.compression.schedules import (
    Exponential,
    Multistep,
    Polynomial,
    Schedule,
    Staircase,
    multistep_problem,
)
from offramp.compression.settings import rate, setting

FUNCTIONS = ("polynomial", "exponential")


@dataclass(frozen=True, kw_only=True)
class ScheduledSparsity(Algorithm):
    """Sparsities whose rate rises from epoch to epoch.

    Args:
        sparsity_init: rate at the start.
        sparsity_target: share of the weights that shall be zero at the end.
        schedule: "polynomial", "exponential", "multistep" or "adaptive", see `offramp.compression.schedules`.
        sparsity_target_epoch: epoch from which the rate is at its target; of the first two.
        sparsity_freeze_epoch: epoch from which masks do not change any more.
        sparsity_level_setting_mode: "global": one threshold for all layers; "local": the same rate in each layer.
        power: of the polynomial.
        concave: whether the polynomial rises fast at first.
        multistep_steps: epochs at which the next level begins.
        multistep_sparsity_levels: one more than steps; the last is the target.
        patience: epochs between two steps of the adaptive schedule.
        update_per_optimizer_step: move the rate within an epoch too; needs steps_per_epoch.
        steps_per_epoch: optimizer steps in an epoch.
        num_bn_adaptation_samples: see `offramp.compression.batch_norm`.
    """

    sparsity_init: float = rate(0.0, at="sparsity_init")
    sparsity_target: float = rate(0.5)
    schedule: str = setting("polynomial", choices=(*FUNCTIONS, "multistep", "adaptive"))
    sparsity_target_epoch: int = setting(90, least=0)
    sparsity_freeze_epoch: int = setting(100, least=0)
    sparsity_level_setting_mode: str = setting("global", choices=("global", "local"))
    power: float = setting(0.9, above=0)
    concave: bool = setting(True)
    multistep_steps: tuple[int, ...] = setting((90,), least=1)
    multistep_sparsity_levels: tuple[float, ...] = setting((0.1, 0.5), least=0, below=1)
    patience: int = setting(1, least=1)
    update_per_optimizer_step: bool = setting(False)
    steps_per_epoch: int | None = setting(None, least=1)
    num_bn_adaptation_samples: int = setting(
        2000, at="initializer.batchnorm_adaptation.num_bn_adaptation_samples", least=0
    )

    @property
    def target_rate(self) -> float:
        """See `Algorithm.target_rate`."""
        return self.multistep_sparsity_levels[-1] if self.schedule == "multistep" else self.sparsity_target

    @property
    def initial_rate(self) -> float:
        """Rate before the first epoch."""
        return self.multistep_sparsity_levels[0] if self.schedule == "multistep" else self.sparsity_init

    @property
    def batch_norm_samples(self) -> int:
        """See `Algorithm.batch_norm_samples`."""
        return self.num_bn_adaptation_samples

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """See `Algorithm.conflicts`."""
        if self.schedule == "multistep":
            wrong = multistep_problem(self.multistep_steps, self.multistep_sparsity_levels)
            if wrong is not None:
                yield "multistep_sparsity_levels", f"does not fit multistep_steps: {wrong}"
        elif self.sparsity_init > self.sparsity_target:
            wanted = f"must be at most sparsity_target={self.sparsity_target:g}"
            yield "sparsity_init", f"{wanted}; it is {self.sparsity_init:g}"
        if self.schedule in FUNCTIONS and self.sparsity_freeze_epoch < self.sparsity_target_epoch:
            wanted = f"must be at least sparsity_target_epoch={self.sparsity_target_epoch}, to reach the target"
            yield (
                "sparsity_freeze_epoch",
                f"{wanted}; it is {self.sparsity_freeze_epoch}",
            )
        if self.update_per_optimizer_step and self.steps_per_epoch is None:
            yield "steps_per_epoch", "must be given where update_per_optimizer_step is true"

    def rates(self) -> Schedule:
        """The rate by epoch."""
        if self.schedule == "polynomial":
            end = self.sparsity_target_epoch
            return Polynomial(self.sparsity_init, self.sparsity_target, end, self.power, self.concave)
        if self.schedule == "exponential":
            return Exponential(self.sparsity_init, self.sparsity_target, self.sparsity_target_epoch)
        if self.schedule == "multistep":
            return Multistep(self.multistep_steps, self.multistep_sparsity_levels)
        return Staircase(self.sparsity_init, self.sparsity_target, self.patience)
