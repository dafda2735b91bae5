"""Compute matching: what a regime's training costs is counted, and its length chosen so that all spend the same.

The unit is the multiply-accumulate of a training step: forward **and** backward, of everything a phase runs and
trains, as counted by torch's counter while a few real steps run. For a part that trains, that is about three times its
forward MACs (outputs, gradients of inputs, gradients of weights); a frozen backbone costs its forward pass only; a
phase without exits costs no heads. With `c_r(e)` the counted MACs of one sample passing once through each of the `e`
epochs of regime r, and E epochs of joint training on n samples as the yardstick, the budget is

    budget = compute * n * E * c_joint(1)            compute = 1 unless the suite says otherwise

and the regime gets the fewest epochs e with `n c_r(e) >= budget`, each of `budget / c_r(e)` samples drawn anew, rounded
to whole batches. What was spent is recorded beside the budget, and time beside both. Runs that are matched by time
instead get their length from the regime's `Pace` in the same way: the unit is then a sample of joint training.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

from torch import Tensor

from offramp.benchmark.pacing import Pace
from offramp.cost import counting_macs
from offramp.errors import BenchmarkError, OfframpError
from offramp.exit_model import ExitModel
from offramp.regimes import Joint, Regime
from offramp.training import Callback, Moment, fit

PROBE_SAMPLES = 4
"""A step is counted on so few samples, because a count does not depend on speed."""
ATTEMPTS = 40


@dataclass(frozen=True)
class Length:
    """How long a regime trains.

    Attributes:
        epochs: given to `fit`.
        steps: of each epoch.
        macs: what training costs, forward and backward.
        budget: what it may cost where compute is matched.
        time: where time is matched, what it takes by its pace, as a share of what it may take; None elsewhere.
    """

    epochs: int
    steps: int
    macs: float
    budget: float
    time: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def matched(
    cost: Callable[[int], float],
    budget: float,
    samples: int,
    batch_size: int,
    start: int,
    name: str = "the regime",
    unit: str = "MACs",
) -> Length:
    """The shortest training that spends a budget.

    Args:
        cost: MACs of one sample through so many epochs, `c_r(e)`; rises with e.
        budget: MACs to spend.
        samples: that an epoch has at most.
        batch_size: of a step.
        start: epochs to try first.
        name: of the regime, for the message.
        unit: of cost and budget, for the message.

    Raises:
        BenchmarkError: no number of epochs spends it.

    Example:
        >>> matched(lambda epochs: 3.0 * epochs, budget=1000, samples=100, batch_size=10, start=1)
        Length(epochs=4, steps=8, macs=960.0, budget=1000, time=None)
    """
    epochs, last = start, "it was not tried"
    for _ in range(ATTEMPTS):
        here, why = _possible(cost, epochs)
        last = why or f"{epochs} epochs cost {here:.4g} a sample"
        if here is None:
            epochs += 1
        elif here * samples < budget:
            epochs = max(epochs + 1, math.ceil(epochs * budget / (here * samples) - 1e-9))
        elif epochs > 1 and (_possible(cost, epochs - 1)[0] or 0.0) * samples >= budget:
            epochs -= 1
        else:
            steps = max(1, round(budget / here / batch_size))
            return Length(epochs, steps, here * steps * batch_size, budget)
    raise BenchmarkError(f"No number of epochs makes {name} spend {budget:.4g} {unit}: {last}.")


def _possible(cost: Callable[[int], float], epochs: int) -> tuple[float | None, str]:
    """The cost, or why there is none: too few epochs for the regime's phases."""
    try:
        return cost(epochs), ""
    except OfframpError as error:
        return None, str(error).rstrip(".")


class Matcher:
    """Lengths of the regimes on one problem; counts every regime once.

    Args:
        model: with exits; is copied.
        batch: a few samples, inputs and labels.
        options: of `fit`.
        samples: that an epoch of joint training has.
        batch_size: of a step.
        epochs: of joint training.
    """

    def __init__(
        self,
        model: ExitModel,
        batch: tuple[Tensor, Tensor],
        options: Mapping[str, Any],
        *,
        samples: int,
        batch_size: int,
        epochs: int,
    ) -> None:
        self.model, self.options = model, dict(options)
        self.batch = tuple(part[:PROBE_SAMPLES] for part in batch)
        self.samples, self.batch_size, self.epochs = samples, batch_size, epochs
        self.joint = self.cost(Joint(), 1)

    def length(
        self, regime: Regime, compute: float, model: ExitModel | None = None, pace: Pace | None = None
    ) -> Length:
        """How long a regime trains.

        Args:
            regime: what trains when.
            compute: what it may spend, as a multiple of joint training.
            model: the one with the regime's own heads; None for the problem's.
            pace: of the regime, to match time; None to match compute.
        """
        own = model or self.model

        @cache
        def macs(epochs: int) -> float:
            return self.cost(regime, epochs, own)

        passes = compute * self.samples * self.epochs
        start, name = max(1, round(compute * self.epochs)), type(regime).__name__
        if pace is None:
            return matched(macs, passes * self.joint, self.samples, self.batch_size, start, name)

        def time(epochs: int) -> float:
            macs(epochs)  # refuses what `fit` would refuse
            return pace.of(regime.phases(own.exits, epochs))

        found = matched(time, passes, self.samples, self.batch_size, start, name, unit="samples of joint training")
        spent = macs(found.epochs) * found.steps * self.batch_size
        return replace(found, macs=spent, budget=passes * self.joint, time=round(found.macs / found.budget, 4))

    def cost(self, regime: Regime, epochs: int, model: ExitModel | None = None) -> float:
        """`c_r(e)`: MACs of one sample passing once through each of so many epochs, counted in real steps."""
        counter = _EpochCounter()
        with counting_macs() as total:
            counter.total = total
            fit(
                copy.deepcopy(model or self.model),
                [self.batch],
                regime=regime,
                epochs=epochs,
                callbacks=[counter],
                progress=False,
                **self.options,
            )
        return counter.counted / len(self.batch[1])


class _EpochCounter(Callback):
    """Reads the counter at the end of each epoch; what else a run does is not training."""

    def __init__(self) -> None:
        self.total: Callable[[], float] = lambda: 0.0
        self.counted = 0.0
        self._before = 0.0

    def epoch_begins(self, moment: Moment) -> None:
        """See `Callback`."""
        self._before = self.total()

    def step_done(self, moment: Moment) -> None:
        """See `Callback`."""
        self.counted += self.total() - self._before
        self._before = self.total()
