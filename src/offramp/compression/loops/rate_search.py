"""Bisect the compression rate, and give each rate only the epochs that it still has a chance with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from offramp.compression.loops.limits import Bounds, Loop, register
from offramp.compression.loops.projection import projected
from offramp.compression.loops.search import AS_IT_IS, Evaluate, Evaluation, Move, Stop, smaller
from offramp.compression.settings import setting

LEFT_BY_AN_EPOCH = 0.3
"""Share of the accuracy lost by a cut that an epoch of training leaves lost; typical of the first few."""
FEW = 3
"""Epochs in which the first trials should succeed."""


@register
@dataclass(frozen=True, kw_only=True)
class RateSearch(Loop):
    """Looks for the highest rate that holds by bisection, where a trial ends as soon as its outcome is clear.

    Five things save epochs against `adaptive_compression_level`. Until a rate has failed, the next is the highest whose
    loss a few epochs should regain, found by validating without training. Then the interval halves with every trial. A
    rate that holds at once, or achieves no more than a known one, costs no epoch. A trial ends when its last gain,
    repeated to the end, does not suffice. And what a failed trial has learned is kept, up to taking back an earlier
    failure where the model has learned enough since.

    Args:
        initial_compression_rate: rate of the first trial; None for one that a few epochs should regain.
        epochs_per_rate: epochs that one rate gets at most.
        rate_resolution: the search ends when the rates that hold and that do not are as near as this.
        lr_reduction_factor: on the learning rate, after every trial that failed since one has held.

    Source: own; the early end of hopeless trials follows the idea of successive halving (Jamieson and Talwalkar 2016).
    """

    searches_rate: ClassVar[bool] = True

    initial_compression_rate: float | None = setting(None, least=0, below=1)
    epochs_per_rate: int = setting(5, least=1)
    rate_resolution: float = setting(0.025, above=0, below=1)
    lr_reduction_factor: float = setting(0.5, above=0, most=1)

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Every epoch is looked at."""
        yield from super().conflicts()
        if self.validate_every_n_epochs != 1:
            yield (
                "validate_every_n_epochs",
                f"must be 1, since every epoch decides; it is {self.validate_every_n_epochs}",
            )

    def search(self, evaluate: Evaluate, bounds: Bounds) -> Stop:
        """Halves the interval between the highest rate that holds and the lowest that does not."""
        return _Bisection(self, evaluate, bounds).run()

    def prefers(self, one: Evaluation, other: Evaluation | None) -> bool:
        """The smallest that holds, else the most accurate."""
        return smaller(one, other)


class _Failure(NamedTuple):
    """A rate that did not hold: asked for, achieved, and the best budget it came to."""

    rate: float
    achieved: float
    budget: float


class _Bisection:
    """Where the search stands.

    Args:
        settings: of the loop.
        evaluate: makes a move.
        bounds: of the rates.
    """

    def __init__(self, settings: RateSearch, evaluate: Evaluate, bounds: Bounds) -> None:
        self.settings, self._evaluate = settings, evaluate
        self.low, self.ceiling = bounds
        # The lowest last.
        self.failures: list[_Failure] = []
        self.taken_back: set[float] = set()
        self.lr_factor = 1.0
        self.best: Evaluation | None = None
        self.now = self._look(AS_IT_IS)

    def run(self) -> Stop:
        """Trial after trial."""
        if self.now.holds:
            self.low = max(self.low, self.now.nominal or 0.0)
        rate = self.settings.initial_compression_rate or self._look_around()
        while self.high - self.low > self.settings.rate_resolution and self._epochs_left():
            if rate is None or not self.low < rate <= self.high:
                rate = (self.low + self.high) / 2
            if self._trial(rate):
                self.low = rate
                rate = self._outdated_failure() or self._look_around()
            else:
                rate = self._look_around()
        self._try_the_ceiling()
        return self._ending()

    def _look_around(self) -> float | None:
        """Raises the lowest rate in question to what holds untrained, by bisection.

        Returns:
            Until a rate has failed, the highest that a few epochs should make hold; None where there is none. After a
            failure what that has cost says more than a look.
        """
        found, low, high = None, self.low, self.high
        rate = (low + high) / 2 if self.failures else high
        while high - low > self.settings.rate_resolution:
            now = self._look(Move(rate=rate, lr_factor=self.lr_factor, train=False))
            if now.holds or self._is_known(now):
                self.low = rate
            if self.low == rate or (not self.failures and self._within_reach(now)):
                found = low = rate
            else:
                high = rate
            rate = (low + high) / 2
        return None if self.failures else found

    def _is_known(self, now: Evaluation) -> bool:
        """Whether no more is taken away than from a model that holds: the layers are too coarse for this step."""
        return self._holding is not None and now.rate <= self._holding.rate

    def _within_reach(self, now: Evaluation) -> bool:
        """Whether what a cut has cost beyond the limit is little enough for a few epochs."""
        tolerated = self.settings.tolerated(now)
        return tolerated - now.budget <= tolerated / LEFT_BY_AN_EPOCH**FEW

    def _try_the_ceiling(self) -> None:
        """Layers that lose channels in large steps may lose their last ones at the ceiling itself."""
        if not self.failures and self.low < self.ceiling and self._epochs_left() and self._trial(self.ceiling):
            self.low = self.ceiling

    @property
    def high(self) -> float:
        """The lowest rate known to fail, else the highest that can be set."""
        return self.failures[-1].rate if self.failures else self.ceiling

    def _trial(self, rate: float) -> bool:
        """Whether a rate holds, possibly after some training."""
        now = self._begin(rate)
        if now.holds or self._is_known(now):
            return True
        if self.failures and now.rate >= self.failures[-1].achieved:
            self.failures.append(_Failure(rate, now.rate, self.failures[-1].budget))
            return False
        return self._train(rate, now)

    def _begin(self, rate: float) -> Evaluation:
        """Looks at a rate untrained, from the better of two models: the one that failed last, and the best.

        What was learned at too high a rate helps at a lower one, where some of the weights come back. Where it does
        not even help against the failure itself, that model is broken.
        """
        before = self.now
        now = self._look(Move(rate=rate, lr_factor=self.lr_factor, train=False))
        if self._holding is None or before is self._holding or now.budget > before.budget:
            return now
        return self._look(Move(True, rate, self.lr_factor, train=False))

    def _train(self, rate: float, start: Evaluation) -> bool:
        """Trains at the rate that is set until it holds, or no longer can."""
        budgets = [start.budget]
        for left in range(min(self.settings.epochs_per_rate, self._epochs_left()) - 1, -1, -1):
            now = self._look(Move())
            budgets.append(now.budget)
            if now.holds:
                return True
            if now.stop or not self._has_a_chance(budgets, left):
                break
        self.failures.append(_Failure(rate, start.rate, max(budgets)))
        if self._holding is not None:
            # Near the highest rate that holds; before one does, the model may still have a long way to go.
            self.lr_factor *= self.settings.lr_reduction_factor
        return False

    @staticmethod
    def _has_a_chance(budgets: Sequence[float], left: int) -> bool:
        # The first epoch after a cut regains most of what it cost, and says little about those that follow.
        return left > 0 and (len(budgets) < 3 or projected(budgets[-2:], left) >= 0)

    def _outdated_failure(self) -> float | None:
        """The rate that failed last, if the model does better there now, untrained, than it did then at its best.

        It has learned since, so that what failed may hold. No failure is taken back twice.
        """
        if not self.failures or self.failures[-1].rate in self.taken_back:
            return None
        rate = self.failures[-1].rate
        if self._look(Move(True, rate, self.lr_factor, train=False)).budget <= self.failures[-1].budget:
            return None
        self.taken_back.add(rate)
        self.failures.pop()
        return rate

    @property
    def _holding(self) -> Evaluation | None:
        return self.best if self.best is not None and self.best.holds else None

    def _look(self, move: Move) -> Evaluation:
        self.now = now = self._evaluate(move)
        self.best = now if smaller(now, self.best) else self.best
        return now

    def _epochs_left(self) -> int:
        return max(self.settings.maximal_total_epochs - self.now.epoch, 0)

    def _ending(self) -> Stop:
        if self.high - self.low > self.settings.rate_resolution:
            return Stop.EPOCHS
        if self._holding is None:
            return Stop.MINIMAL_RATE
        return Stop.RESOLUTION if self.failures else Stop.MAXIMAL_RATE
