"""What every calibrator asks of a recording: scores of the early exits, which answers are right, and costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from offramp.cost import Cost
from offramp.criteria import Always, Criterion
from offramp.errors import CalibrationError
from offramp.goals import Goal
from offramp.policy import NEVER, Policy, always
from offramp.recording import Recording

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """A recording as seen by one criterion.

    Attributes:
        recording: where it comes from.
        criterion: what scores.
        temperatures: one per early exit, or None for 1.
        scores: `[early, n]` in the recording's dtype, larger = surer, no NaN.
        answers: `[exits, n]`, the class that each exit answers with under the criterion.
        correct: `[exits, n]`, whether that is right, as the goal has it.
        plain_correct: `[n]`, whether the network without exits is right, as the goal has it.
        cost: of leaving at each exit, in the goal's unit.
    """

    recording: Recording
    criterion: Criterion
    temperatures: tuple[float, ...] | None
    scores: Floats
    answers: Ints
    correct: Bools
    plain_correct: Bools
    cost: Cost
    _costs: dict[tuple[bool, ...], Floats] = field(default_factory=dict)

    @property
    def early(self) -> int:
        """Number of early exits."""
        return int(self.scores.shape[0])

    @property
    def samples(self) -> int:
        """Number of samples."""
        return int(self.scores.shape[1])

    def policy(self, thresholds: Sequence[float]) -> Policy:
        """The policy with these thresholds, in the criterion and temperatures of the table."""
        return Policy(self.criterion, [float(t) for t in thresholds], self.temperatures)

    def plain(self) -> Policy:
        """The plain network: every early exit closed, and nothing combined with its answer."""
        return always(exit=self.early) if self.criterion.combines else self.policy([NEVER] * self.early)

    def costs(self, thresholds: Sequence[float]) -> Floats:
        """`[exits]` cost of leaving at each exit; heads of closed exits are saved, see `Recording.costs`."""
        # Costs depend on which exits are open, and a search asks for the same few patterns thousands of times.
        pattern = tuple(t < NEVER for t in thresholds)
        if pattern not in self._costs:
            self._costs[pattern] = self.cost.under(self.policy(thresholds).heads_needed(self.early)).numpy()
        return self._costs[pattern]

    def exits(self, thresholds: Sequence[float]) -> Ints:
        """`[n]` exit that each sample takes, as `simulate` decides."""
        taken = np.full(self.samples, self.early)
        for k in reversed(range(self.early)):
            if thresholds[k] < NEVER:
                np.copyto(taken, k, where=self.scores[k] > thresholds[k])
        return taken

    def differences(self, thresholds: Sequence[float]) -> Ints:
        """`[n]`, 1 where only the network without exits is right, -1 where only the policy is, 0 elsewhere."""
        right = self.correct[self.exits(thresholds), np.arange(self.samples)]
        return self.plain_correct.astype(np.int8) - right.astype(np.int8)


def score_table(
    recording: Recording, criterion: Criterion, temperatures: Sequence[float] | None, goal: Goal | None = None
) -> ScoreTable:
    """Scores each early exit once.

    Args:
        recording: of all exits.
        criterion: what scores.
        temperatures: one per early exit, or None for 1.
        goal: says which answers are right and what is spent; by default the labels' and MACs.

    Raises:
        CalibrationError: there is nothing to choose (one exit, one class, criterion Always), a wrong number of
            temperatures, or a score that is NaN.
        RecordingError: the recording has no labels, and the goal needs them.
    """
    early = recording.exits - 1
    check_choice(recording, criterion, temperatures)
    truth = recording.required_labels if goal is None else goal.truth(recording)
    cost = recording.cost if goal is None else goal.cost(recording)
    fixed = None if temperatures is None else tuple(float(t) for t in temperatures)
    policy = Policy(criterion, [0.0] * early, fixed)
    policy.check(early, recording.classes)
    scores = [policy.score(k, recording.logits[k], recording.logits[:k].unbind()).numpy() for k in range(early)]
    _check_scores(scores, criterion, fixed)
    answers = recording.answers(policy).argmax(dim=-1)
    plain = recording.logits[-1].argmax(dim=-1)
    return ScoreTable(
        recording=recording,
        criterion=criterion,
        temperatures=fixed,
        scores=np.stack(scores),
        answers=answers.numpy(),
        correct=(answers == truth).numpy(),
        plain_correct=(plain == truth).numpy(),
        cost=cost,
    )


def _check_scores(scores: Sequence[Floats], criterion: Criterion, temperatures: tuple[float, ...] | None) -> None:
    for k, values in enumerate(scores):
        if np.isnan(values).any():
            raise CalibrationError(
                f"{criterion!r} scores {int(np.isnan(values).sum())} samples of exit {k} as NaN, the first is sample "
                f"{int(np.isnan(values).argmax())}. Check its logits{_where(temperatures, k)}."
            )


def check_choice(recording: Recording, criterion: Criterion, temperatures: Sequence[float] | None) -> None:
    """Refuses calibrations in which there is nothing to choose, and temperatures of another model."""
    early = recording.exits - 1
    if not early:
        raise CalibrationError(
            "The recording has one exit, the backbone's own output: there is no threshold to choose. Attach early "
            "exits with offramp.attach(at=...) and record again."
        )
    if recording.classes == 1:
        raise CalibrationError(
            "The recording has one class: every exit gives the same answer, so the first is as good as the last. Use "
            "offramp.always(exit=0), or record logits of at least two classes."
        )
    if isinstance(criterion, Always):
        raise CalibrationError(
            f"{criterion!r} has no threshold to choose. Use offramp.always(exit={criterion.exit}) as the policy, or "
            "calibrate another criterion, e.g. MaxProbability()."
        )
    if temperatures is not None and len(temperatures) != early:
        raise CalibrationError(
            f"temperatures={list(temperatures)} has {len(temperatures)} values, the recording has {early} early "
            "exits; give one per early exit, earliest first."
        )


def _where(temperatures: tuple[float, ...] | None, exit: int) -> str:
    return "" if temperatures is None else f" and its temperature {temperatures[exit]:g}"


def between(above: Floats, below: Floats) -> Floats:
    """Thresholds that separate neighbouring distinct scores: those `above` leave, those `below` stay.

    The midpoint, in the dtype of the scores, so that rounding on another device moves as few samples as possible.
    Where no number lies between (or one side is infinite) the lower score itself: leaving is strict.
    """
    half = np.asarray(0.5, dtype=above.dtype)
    with np.errstate(invalid="ignore", over="ignore"):
        middle = below * half + above * half
    return np.where((middle > below) & (middle < above), middle, below)
