"""Raise the compression rate by steps while the accuracy holds, lower it where it does not; steps become smaller."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from offramp.compression.loops.early_exit import train_until_it_holds
from offramp.compression.loops.limits import Bounds, Loop, register
from offramp.compression.loops.search import Evaluate, Evaluation, Move, Stop, smaller
from offramp.compression.settings import setting


@register
@dataclass(frozen=True, kw_only=True)
class AdaptiveCompressionLevel(Loop):
    """Looks for the highest rate that holds by steps that halve whenever success turns into failure or back.

    A first phase trains like `early_exit`. Then a rate is given up after `patience_epochs`, or as soon as the metric
    holds; the next rate is one step higher if it held, else one step lower.

    Args:
        initial_training_phase_epochs: epochs of the first phase at most.
        patience_epochs: epochs at one rate at most.
        initial_compression_rate_step: first step.
        compression_rate_step_reduction_factor: on the step, when the direction turns.
        lr_reduction_factor: on the learning rate, likewise.
        minimal_compression_rate_step: a step below this ends the search.

    Source: NNCF 2.19, mode `adaptive_compression_level`. Differs in that the rates it compares are those achieved.
    """

    searches_rate: ClassVar[bool] = True

    initial_training_phase_epochs: int = setting(5, least=0)
    patience_epochs: int = setting(3, least=1)
    initial_compression_rate_step: float = setting(0.1, above=0, below=1)
    compression_rate_step_reduction_factor: float = setting(0.5, above=0, below=1)
    lr_reduction_factor: float = setting(0.5, above=0, most=1)
    minimal_compression_rate_step: float = setting(0.025, above=0, below=1)

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """The first step must not be the last."""
        yield from super().conflicts()
        if self.minimal_compression_rate_step > self.initial_compression_rate_step:
            yield (
                "minimal_compression_rate_step",
                f"is {self.minimal_compression_rate_step:g}, above initial_compression_rate_step "
                f"{self.initial_compression_rate_step:g}: there would be no step at all",
            )

    def search(self, evaluate: Evaluate, bounds: Bounds) -> Stop:
        """The first phase, then the steps."""
        first = min(self.initial_training_phase_epochs, self.maximal_total_epochs)
        begun = train_until_it_holds(evaluate, first, self.validate_every_n_epochs, prefers=self.prefers)
        worse = begun.best is not None and begun.best is not begun.last
        start = evaluate(Move(to_best=True, train=False)) if worse else begun.last
        return _Steps(self, bounds, start, begun.best).walk(evaluate)

    def prefers(self, one: Evaluation, other: Evaluation | None) -> bool:
        """The smallest that holds, else the most accurate."""
        return smaller(one, other)


@dataclass
class _Steps:
    """Where the search stands between two epochs."""

    settings: AdaptiveCompressionLevel
    bounds: Bounds
    now: Evaluation
    best: Evaluation | None
    budget: float = field(init=False)
    rate: float = field(init=False)
    step: float = field(init=False)
    lr_factor: float = 1.0
    epochs_here: int = 0
    upwards: bool | None = None
    due: bool = True

    def __post_init__(self) -> None:
        self.budget, self.rate = self.now.budget, self.now.nominal or 0.0
        self.step = self.settings.initial_compression_rate_step

    def walk(self, evaluate: Evaluate) -> Stop:
        """Moves the rate until a step is too small, the rates or the epochs are exhausted."""
        while self.step >= self.settings.minimal_compression_rate_step:
            if self.now.epoch >= self.settings.maximal_total_epochs:
                return Stop.EPOCHS
            change = self._is_over()
            if change:
                self._turn()
                if not self.bounds.low <= self.rate <= self.bounds.high:
                    return Stop.MINIMAL_RATE if self.rate < self.bounds.low else Stop.MAXIMAL_RATE
            self._take_in(evaluate(self._move(change)))
        return Stop.RESOLUTION

    def _is_over(self) -> bool:
        return self.due or self.budget >= 0 or self.epochs_here >= self.settings.patience_epochs

    def _turn(self) -> None:
        """Chooses the next rate."""
        upwards = self.budget >= 0
        if self.upwards not in (None, upwards):
            self.step *= self.settings.compression_rate_step_reduction_factor
            self.lr_factor *= self.settings.lr_reduction_factor
        self.rate += self.step if upwards else -self.step
        self.upwards, self.epochs_here, self.budget, self.due = upwards, 0, float("-inf"), False

    def _move(self, change: bool) -> Move:
        here = self.epochs_here + 1
        last = here >= self.settings.patience_epochs or self.now.epoch + 1 >= self.settings.maximal_total_epochs
        look = last or here % self.settings.validate_every_n_epochs == 0
        if not change:
            return Move(validate=look)
        # Only a model that holds is worth going back to: from one that does not, training goes on.
        to_best = self.best is not None and self.best.holds
        return Move(to_best, self.rate, self.lr_factor, validate=look)

    def _take_in(self, now: Evaluation) -> None:
        self.epochs_here += 1
        looked = now.number != self.now.number
        self.now = now
        if looked:
            self.budget = max(self.budget, now.budget)
            self.best = now if smaller(now, self.best) else self.best
            self.due = now.stop
