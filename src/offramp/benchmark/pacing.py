"""Time matching: how long a step of a regime takes beside a step of joint training, so that all may train as long.

For a phase p of regime r, with rounds k in which a few steps of r and of joint training run in turn,

    pace_r(p) = median over k of (mean seconds of a step of p) / (mean seconds of a step of joint training)

and e epochs of n samples take as long as `n sum_p e_p pace_r(p)` samples of joint training, `e_p` epochs of them in p.
Ratios of neighbouring rounds stand still where seconds drift. A pace is measured once for a problem and a regime, and
kept beside the runs: so every seed and every machine of a job array trains equally long, and a run can be done again.
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from offramp.errors import BenchmarkError, OfframpError
from offramp.exit_model import ExitModel
from offramp.regimes import Joint, Phase, Regime
from offramp.training import Callback, Moment, fit

ROUNDS = 9
STEPS = 13
"""Of an epoch in a round; the first is not counted, and the others are even in number, as some regimes' steps are."""
ATTEMPTS = 40


@dataclass(frozen=True)
class Pace:
    """What the steps of a regime take.

    Attributes:
        phases: by name of the phase, the time of a step as a multiple of a step of joint training.
        joint: seconds of a step of joint training, median of the rounds.
        rounds: how many there were.
    """

    phases: Mapping[str, float]
    joint: float
    rounds: int

    def of(self, phases: Iterable[Phase]) -> float:
        """Time of one sample passing once through each epoch, in passes of joint training.

        Raises:
            BenchmarkError: a phase was not measured.

        Example:
            >>> from offramp.regimes import Mixed
            >>> Pace({"backbone": 0.5, "joint": 1.0}, joint=0.01, rounds=9).of(Mixed(first=1).phases(3, epochs=4))
            3.5
        """
        total = 0.0
        for phase in phases:
            if phase.name not in self.phases:
                raise BenchmarkError(
                    f"Phase '{phase.name}' was not timed, only {', '.join(self.phases)}: the regime has other phases "
                    "with more epochs. Match it by compute alone."
                )
            total += phase.epochs * self.phases[phase.name]
        return total

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Pace:
        """Inverse of `to_dict`."""
        return cls(dict(data["phases"]), float(data["joint"]), int(data["rounds"]))


def measured(
    regime: tuple[Regime, ExitModel],
    joint: ExitModel,
    batches: Callable[[int], Any],
    options: Mapping[str, Any],
    rounds: int = ROUNDS,
) -> Pace:
    """Times a regime and joint training in turn.

    Args:
        regime: and the model that it trains.
        joint: the model that joint training trains.
        batches: gives a loader of so many.
        options: of `fit`.
        rounds: each a short training of either; one more goes before, uncounted.

    Raises:
        BenchmarkError: the regime cannot be trained.
    """
    loader = batches(STEPS)
    sides = [(*regime, _fewest_epochs(*regime, loader, options)), (Joint(), joint, 1)]
    _seconds(*sides[1], loader, options)
    times = [[_seconds(*side, loader, options) for side in sides] for _ in range(rounds)]
    yardstick = [step["joint"] for _, step in times]
    return Pace(_ratios([own for own, _ in times], yardstick), statistics.median(yardstick), rounds)


def _ratios(rounds: Sequence[Mapping[str, float]], yardstick: Sequence[float]) -> dict[str, float]:
    return {
        name: round(statistics.median(own[name] / one for own, one in zip(rounds, yardstick, strict=True)), 4)
        for name in rounds[0]
    }


def _fewest_epochs(regime: Regime, model: ExitModel, loader: Any, options: Mapping[str, Any]) -> int:
    """The fewest with which the regime has all its phases; trying them also warms it up."""
    why: Exception | None = None
    for epochs in range(1, ATTEMPTS + 1):
        try:
            _seconds(regime, model, epochs, loader, options)
        except OfframpError as error:
            why = error
        else:
            return epochs
    raise BenchmarkError(f"{type(regime).__name__} cannot be timed: {why}") from why


def _seconds(
    regime: Regime, model: ExitModel, epochs: int, loader: Any, options: Mapping[str, Any]
) -> dict[str, float]:
    """Mean seconds of a step, by phase."""
    clock = _Clock()
    callbacks: list[Callback] = [clock]
    # A rate that rises over epochs says nothing about time, and would ask for more of them.
    chosen = {**options, "warmup": 0.0}
    fit(copy.deepcopy(model), loader, regime=regime, epochs=epochs, callbacks=callbacks, progress=False, **chosen)
    return {phase: statistics.mean(taken) for phase, taken in clock.taken.items()}


class _Clock(Callback):
    """Times every epoch from the end of its first step on: the first one also makes what later ones find made."""

    def __init__(self) -> None:
        self.taken: dict[str, list[float]] = {}
        self._began = 0.0

    def step_done(self, moment: Moment) -> None:
        """See `Callback`."""
        if moment.step == 1:
            _wait()
            self._began = time.perf_counter()
        elif moment.step == moment.steps:
            _wait()
            taken = (time.perf_counter() - self._began) / (moment.step - 1)
            self.taken.setdefault(moment.phase, []).append(taken)


def _wait() -> None:
    """Until an accelerator has done what it was told, where there is one."""
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()
