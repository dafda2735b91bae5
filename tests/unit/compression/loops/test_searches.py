"""The loops as pure searches: no model, no trainer, only functions that say how accurate a rate would be."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offramp.compression import AdaptiveCompressionLevel, EarlyExit, Loop, RateSearch, Stop
from offramp.compression.loops import Bounds, Evaluation, Move
from offramp.errors import CompressionError

BOUNDS = Bounds(0.0, 0.95)


class World:
    """A compressed model that is nothing but two numbers: its rate, and what training has still to regain.

    Args:
        knee: highest rate that can be compensated.
        regain: share of the loss that is left after an epoch.
        grain: rates are achieved in multiples of this.
        full_from: epoch from which on it is fully compressed.
    """

    def __init__(
        self, loop: Loop, knee: float = 0.8, regain: float = 0.4, grain: float = 1 / 64, full_from: int = 0
    ) -> None:
        self.loop, self.knee, self.regain, self.grain, self.full_from = loop, knee, regain, grain, full_from
        self.rate, self.loss, self.epoch = 0.5, 0.1, 0
        self.trained_at = (self.rate, self.loss)
        self.moves: list[Move] = []
        self.evaluations: list[Evaluation] = []
        self.best: Evaluation | None = None
        self._kept = (self.rate, self.loss)

    def __call__(self, move: Move) -> Evaluation:
        self.moves.append(move)
        if move.to_best:
            self.rate, self.loss = self.trained_at = self._kept
        if move.rate is not None:
            # A rate that is only looked at changes no weight: what it takes away comes back when it is taken back.
            rate, loss = self.trained_at
            self.rate = move.rate
            self.loss = max(loss + self._achieved(self.rate) - self._achieved(rate), 0.0)
        if move.train:
            self.epoch += 1
            self.loss *= self.regain
            self.trained_at = (self.rate, self.loss)
        return self._look() if move.validate else self.evaluations[-1]._replace(epoch=self.epoch, full=False)

    def _look(self) -> Evaluation:
        achieved = self._achieved(self.rate)
        drop = self.loss + max(0.0, achieved - self.knee)
        number = len(self.evaluations)
        seen = Evaluation(number, self.epoch, 1 - drop, 0.01 - drop, self.epoch >= self.full_from, self.rate, achieved)
        self.evaluations.append(seen)
        if self.loop.prefers(seen, self.best):
            self.best, self._kept = seen, (self.rate, self.loss)
        return seen

    def _achieved(self, rate: float) -> float:
        return int(rate / self.grain) * self.grain

    def run(self) -> Stop:
        return self.loop.search(self, BOUNDS)


def scripted(budgets: Sequence[float], full: Sequence[bool] | None = None) -> tuple[Callable[[Move], Evaluation], list]:
    """Evaluations with these budgets, one after the other, and the moves that were asked for."""
    moves: list[Move] = []
    stages = itertools.chain(full or (), itertools.repeat(True))

    def evaluate(move: Move) -> Evaluation:
        moves.append(move)
        epoch = sum(m.train for m in moves)
        return Evaluation(len(moves) - 1, epoch, 0.0, budgets[len(moves) - 1], next(stages), 0.5, 0.5)

    return evaluate, moves


def test_early_exit_trains_nothing_where_the_model_holds_at_once() -> None:
    evaluate, moves = scripted([0.0])
    assert EarlyExit().search(evaluate, BOUNDS) == Stop.CRITERION
    assert [move.train for move in moves] == [False]


def test_early_exit_ends_with_the_first_epoch_that_holds() -> None:
    evaluate, moves = scripted([-3.0, -1.0, 0.2, 5.0])
    assert EarlyExit().search(evaluate, BOUNDS) == Stop.CRITERION
    assert [move.train for move in moves] == [False, True, True]


def test_early_exit_goes_on_until_the_model_is_fully_compressed() -> None:
    """A partly compressed model always holds: its success means nothing."""
    evaluate, moves = scripted([1.0, 1.0, -1.0, 0.5], full=[False, False, True, True])
    assert EarlyExit().search(evaluate, BOUNDS) == Stop.CRITERION
    assert len(moves) == 4


def test_the_best_is_never_a_partly_compressed_model() -> None:
    world = World(EarlyExit(maximal_total_epochs=4), knee=0.3, full_from=3)
    assert world.run() == Stop.EPOCHS
    assert world.best is not None
    assert world.best.epoch >= 3
    assert max(world.evaluations, key=lambda e: e.budget).budget >= world.best.budget


def test_early_exit_gives_up_after_the_epochs_allowed() -> None:
    evaluate, moves = scripted([-9.0, -2.0, -1.0, -2.0, 5.0])
    assert EarlyExit(maximal_total_epochs=3).search(evaluate, BOUNDS) == Stop.EPOCHS
    assert len(moves) == 4


def test_validation_may_be_rarer_but_never_misses_the_last_epoch() -> None:
    evaluate, moves = scripted([-1.0] * 8)
    EarlyExit(maximal_total_epochs=5, validate_every_n_epochs=2).search(evaluate, BOUNDS)
    assert [move.validate for move in moves if move.train] == [False, True, False, True, True]


def test_early_exit_can_stop_where_there_is_no_hope() -> None:
    budgets = [-9.0, -8.0, -7.5, -7.4, *[-7.3] * 30]
    evaluate, moves = scripted(budgets)
    assert EarlyExit(maximal_total_epochs=8, stop_when_hopeless=True).search(evaluate, BOUNDS) == Stop.HOPELESS
    assert len(moves) < 6
    evaluate, moves = scripted(budgets)
    assert EarlyExit(maximal_total_epochs=8).search(evaluate, BOUNDS) == Stop.EPOCHS


def test_early_stopping_of_the_caller_ends_the_loop() -> None:
    def evaluate(move: Move) -> Evaluation:
        return Evaluation(int(move.train), int(move.train), 0.0, -1.0, True, 0.5, 0.5, stop=move.train)

    assert EarlyExit().search(evaluate, BOUNDS) == Stop.EARLY_STOPPING


def test_the_adaptive_loop_takes_nncfs_steps() -> None:
    """From 0.5: up by 0.1 while it holds; on a turn, half the step and half the learning rate."""
    steps = AdaptiveCompressionLevel(patience_epochs=1, initial_training_phase_epochs=1)
    world = World(steps, knee=0.65, regain=0.0, grain=1e-4)
    assert world.run() == Stop.RESOLUTION
    set_to = [(round(m.rate, 4), m.lr_factor) for m in world.moves if m.rate is not None]
    assert set_to == [(0.6, 1.0), (0.7, 1.0), (0.65, 0.5), (0.675, 0.25), (0.6625, 0.125)]
    assert world.best is not None
    assert world.best.nominal == pytest.approx(0.65)


def test_the_adaptive_loop_goes_back_only_to_a_model_that_holds() -> None:
    world = World(AdaptiveCompressionLevel(initial_training_phase_epochs=1, maximal_total_epochs=12), regain=0.9)
    world.run()
    steps = [move.to_best for move in world.moves if move.rate is not None]
    held = next((k for k, seen in enumerate(world.evaluations) if seen.holds), None)
    assert held is not None
    first = next(k for k, to_best in enumerate(steps) if to_best)
    assert not any(steps[:first])
    assert world.moves.index(next(m for m in world.moves if m.to_best and m.rate is not None)) > held


def test_the_adaptive_loop_keeps_to_its_epochs() -> None:
    world = World(AdaptiveCompressionLevel(maximal_total_epochs=7), knee=0.7)
    assert world.run() == Stop.EPOCHS
    assert world.epoch == 7


@pytest.mark.parametrize("loop", [AdaptiveCompressionLevel(), RateSearch()], ids=["adaptive", "search"])
def test_a_search_that_meets_the_end_says_so(loop: Loop) -> None:
    world = World(loop, knee=1.0, regain=0.0)
    assert world.run() == Stop.MAXIMAL_RATE
    assert all(move.rate is None or move.rate <= BOUNDS.high for move in world.moves)


def test_a_search_without_any_rate_that_holds_says_so() -> None:
    world = World(RateSearch(maximal_total_epochs=500), knee=-1.0)
    assert world.run() == Stop.MINIMAL_RATE
    assert world.best is not None
    assert not world.best.holds


@given(st.floats(0.1, 0.9), st.floats(0.05, 0.5))
def test_the_rate_search_comes_within_its_resolution(knee: float, regain: float) -> None:
    world = World(RateSearch(epochs_per_rate=12, maximal_total_epochs=500), knee=knee, regain=regain)
    world.run()
    assert world.best is not None
    assert world.best.holds
    reachable = min(knee + 0.01, BOUNDS.high)
    assert reachable - world.best.nominal <= 0.025 + world.grain


@given(st.integers(1, 30), st.floats(0.1, 0.95), st.sampled_from([AdaptiveCompressionLevel, RateSearch, EarlyExit]))
def test_no_loop_trains_more_than_it_may(epochs: int, knee: float, family: type[Loop]) -> None:
    world = World(family(maximal_total_epochs=epochs), knee=knee)
    world.run()
    assert world.epoch <= epochs


@pytest.mark.parametrize("knee", [0.55, 0.6, 0.66, 0.74, 0.83])
def test_the_rate_search_beats_the_adaptive_loop(knee: float) -> None:
    adaptive = World(AdaptiveCompressionLevel(maximal_total_epochs=100), knee=knee)
    search = World(RateSearch(maximal_total_epochs=100), knee=knee)
    adaptive.run()
    search.run()
    assert adaptive.best is not None
    assert search.best is not None
    assert search.best.rate >= adaptive.best.rate - search.loop.rate_resolution
    assert search.epoch <= 0.7 * adaptive.epoch


def test_the_rate_search_goes_first_to_what_a_few_epochs_should_regain() -> None:
    """The limit is 0.01, and an epoch is taken to leave 0.3 of a loss: 0.37 may be lost in a first trial, not more."""
    world = World(RateSearch(), knee=1.0, regain=0.0)
    world.run()
    first = next(k for k, move in enumerate(world.moves) if move.train)
    drops = [0.01 - seen.budget for seen in world.evaluations[:first]]
    assert 0.3 < drops[-1] <= 0.37 < max(drops)


def test_what_holds_untrained_after_a_failure_costs_no_epoch() -> None:
    world = World(RateSearch(initial_compression_rate=0.9, maximal_total_epochs=100), knee=0.6)
    world.run()
    failed = next(k for k, move in enumerate(world.moves) if (move.rate or 1) < 0.9 and k > 1)
    held = [seen for seen in world.evaluations[failed:] if seen.holds]
    assert held[0].epoch == world.evaluations[failed - 1].epoch


def test_a_rate_that_achieves_nothing_new_costs_no_epoch() -> None:
    """With coarse layers, most steps of the nominal rate change nothing."""
    world = World(RateSearch(initial_compression_rate=0.5), knee=0.8, grain=0.25)
    world.run()
    fine = World(RateSearch(initial_compression_rate=0.5), knee=0.8)
    fine.run()
    assert world.epoch < fine.epoch


@pytest.mark.parametrize(
    ("family", "settings", "says"),
    [
        (EarlyExit, {"maximal_total_epochs": 0}, "maximal_total_epochs must be a whole number of at least 1; it is 0"),
        (EarlyExit, {"maximal_total_epochs": 1.5}, "it is 1.5"),
        (EarlyExit, {"maximal_relative_accuracy_degradation": -1}, "at least 0"),
        (
            EarlyExit,
            {"maximal_relative_accuracy_degradation": 1, "maximal_absolute_accuracy_degradation": 1},
            "give one of the two",
        ),
        (AdaptiveCompressionLevel, {"minimal_compression_rate_step": 0.5}, "no step at all"),
        (RateSearch, {"rate_resolution": 0, "epochs_per_rate": 0}, "epochs_per_rate .*; rate_resolution"),
    ],
)
def test_impossible_settings_are_named(family: type[Loop], settings: dict[str, float], says: str) -> None:
    with pytest.raises(CompressionError, match=says):
        family(**settings)
