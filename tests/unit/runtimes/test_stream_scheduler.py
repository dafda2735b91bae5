"""The scheduler under a fake clock, with stages that only take time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offramp.runtimes.streaming import Fire, Scheduler, Ticket, Wait

INF = math.inf


@dataclass
class Simulation:
    """One processor and one source. A request that is not admitted waits at the door, the others behind it."""

    scheduler: Scheduler
    takes: Callable[[int, int], float]
    """Seconds that a stage really takes for so many rows."""
    leaves: Callable[[Ticket, int], bool]
    stages: int
    now: float = 0.0
    fires: list[Fire] = field(default_factory=list)
    left: list[tuple[Ticket, float]] = field(default_factory=list)

    def run(self, arrivals: list[tuple[float, int]], ending: bool = False) -> None:
        """Arrivals are (time, rows), in order. With `ending`, nothing more is expected behind the last one."""
        arrivals = list(arrivals)
        while arrivals or self.scheduler.rows:
            self.let_in(arrivals, self.now)
            blocked = bool(arrivals) and arrivals[0][0] <= self.now
            action = self.scheduler.next(self.now, stuck=blocked, ended=ending and not arrivals)
            if isinstance(action, Fire):
                self.carry_out(action, arrivals)
            else:
                until = min(action.until, arrivals[0][0] if arrivals else INF)
                assert self.now < until < INF, "nothing ever happens again"
                self.now = until

    def carry_out(self, fire: Fire, arrivals: list[tuple[float, int]]) -> None:
        end = self.now + self.takes(fire.stage, len(fire.tickets))
        self.let_in(arrivals, end)
        self.now = end
        last = fire.stage == self.stages - 1
        going = [i for i, t in enumerate(fire.tickets) if not last and not self.leaves(t, fire.stage)]
        self.left += [(t, end) for i, t in enumerate(fire.tickets) if i not in going]
        self.scheduler.landed(fire, going)
        self.fires.append(fire)

    def let_in(self, arrivals: list[tuple[float, int]], until: float) -> None:
        while arrivals and arrivals[0][0] <= until:
            at = max(arrivals[0][0], self.now)
            if not self.scheduler.admits(arrivals[0][1], at):
                return
            self.scheduler.push(arrivals.pop(0)[1], at)


@st.composite
def simulations(draw: st.DrawFn, largest: int = 9) -> tuple[Simulation, list[tuple[float, int]]]:
    stages, target = draw(st.integers(1, 4)), draw(st.integers(1, 6))
    fixed = draw(st.lists(st.floats(0, 3), min_size=stages, max_size=stages))
    each = draw(st.lists(st.floats(0, 1), min_size=stages, max_size=stages))
    luck, rate = draw(st.randoms(use_true_random=False)), draw(st.floats(0, 1))

    def estimate(stage: int, rows: int) -> float:
        return fixed[stage] + each[stage] * rows

    longest = sum(
        estimate(k, min(target, largest - i)) for k in range(stages) for i in range(0, largest, target)
    )  # what the largest request needs, alone
    max_wait = longest * draw(st.floats(1, 8)) + 1e-3
    linger = draw(st.sampled_from([0.0, 0.5, INF]))
    room = draw(st.sampled_from([1, 5, 20, INF]))
    scheduler = Scheduler(stages, target, max_wait, linger, room, estimate)
    pace = draw(st.floats(0, 5))
    gaps = draw(st.lists(st.floats(0, 1), min_size=1, max_size=40))
    arrivals = [(sum(gaps[: i + 1]) * pace, luck.randint(1, largest)) for i in range(len(gaps))]
    hasty = draw(st.booleans())
    simulation = Simulation(
        scheduler,
        lambda k, n: estimate(k, n) * (luck.random() if hasty else 1.0),
        lambda ticket, stage: luck.random() < rate,
        stages,
    )
    return simulation, arrivals


@settings(max_examples=150)
@given(simulations())
def test_no_deadline_is_missed_and_every_row_leaves_once(drawn):
    simulation, arrivals = drawn
    simulation.run(arrivals)
    assert sorted((t.request, t.row) for t, _ in simulation.left) == [
        (i, row) for i, (_, rows) in enumerate(arrivals) for row in range(rows)
    ]
    for ticket, at in simulation.left:
        assert at <= ticket.deadline + 1e-9


@given(simulations(), st.booleans())
def test_rows_never_overtake_each_other_and_no_firing_is_larger_than_the_target(drawn, ending):
    simulation, arrivals = drawn
    simulation.run(arrivals, ending)
    for stage in range(simulation.stages):
        order = [t for fire in simulation.fires if fire.stage == stage for t in fire.tickets]
        assert order == sorted(order)
    assert max(len(fire.tickets) for fire in simulation.fires) <= simulation.scheduler.target


@given(simulations())
def test_no_more_rows_are_under_way_than_there_is_room_for(drawn):
    simulation, arrivals = drawn
    scheduler, most = simulation.scheduler, [0]
    push = scheduler.push

    def counted(rows: int, now: float) -> int:
        assert scheduler.rows == 0 or scheduler.rows + rows <= scheduler.room
        most.append(scheduler.rows + rows)
        return push(rows, now)

    scheduler.push = counted
    simulation.run(arrivals)
    assert max(most) <= max(scheduler.room, max(rows for _, rows in arrivals))
    assert scheduler.rows == 0


def fired(action: Fire | Wait) -> tuple[int, int]:
    """Stage and rows of a firing."""
    assert isinstance(action, Fire), action
    return action.stage, len(action.tickets)


def test_a_stage_fires_when_the_target_is_reached_and_not_before():
    scheduler = Scheduler(stages=2, target=3, linger=INF)
    scheduler.push(2, now=0.0)
    assert scheduler.next(now=100.0) == Wait(INF)
    scheduler.push(2, now=100.0)
    assert fired(scheduler.next(now=100.0)) == (0, 3)


def test_of_several_full_queues_the_deepest_fires():
    scheduler = Scheduler(stages=2, target=2, linger=INF)
    scheduler.push(2, now=0.0)
    scheduler.landed(scheduler.next(now=0.0), going=[0, 1])
    scheduler.push(2, now=0.0)
    assert fired(scheduler.next(now=0.0)) == (1, 2)


def queued(*rows: int) -> Scheduler:
    """A scheduler with so many rows in each queue."""
    scheduler = Scheduler(stages=len(rows), target=9, linger=INF)
    for depth in reversed(range(len(rows))):
        scheduler.push(rows[depth], now=0.0)
        for _ in range(depth):
            scheduler.landed(scheduler.next(now=0.0, ended=True), going=range(rows[depth]))
    return scheduler


def test_when_nothing_more_comes_for_now_the_longest_queue_fires():
    assert fired(queued(2, 3, 1).next(now=0.0, stuck=True)) == (1, 3)
    assert fired(queued(2, 1, 2).next(now=0.0, stuck=True)) == (2, 2)
    assert queued(2, 3, 1).next(now=0.0) == Wait(INF)


def test_it_lingers_behind_each_arrival():
    scheduler = Scheduler(stages=1, target=9, linger=1.0)
    scheduler.push(1, now=0.0)
    scheduler.push(1, now=0.5)
    assert scheduler.next(now=1.4) == Wait(1.5)
    assert fired(scheduler.next(now=1.5)) == (0, 2)


def test_at_the_end_the_shallowest_fires_so_that_rows_join_those_further_down():
    scheduler = queued(2, 3, 1)
    fire = scheduler.next(now=0.0, ended=True)
    assert fired(fire) == (0, 2)
    scheduler.landed(fire, going=[1])
    assert fired(scheduler.next(now=0.0, ended=True)) == (1, 4)


def test_a_row_waits_exactly_as_long_as_its_deadline_and_the_stages_ahead_allow():
    scheduler = Scheduler(stages=3, target=4, max_wait=10.0, linger=INF, seconds=lambda stage, rows: 1.0 + rows)
    scheduler.push(1, now=0.0)
    assert scheduler.next(now=3.9) == Wait(4.0)  # 10 less three stages of 2 seconds
    fire = scheduler.next(now=4.0)
    assert fired(fire) == (0, 1)
    scheduler.landed(fire, going=[0])
    assert fired(scheduler.next(now=6.0)) == (1, 1)


def test_a_full_queue_gives_way_to_a_row_that_could_not_wait_for_it():
    scheduler = Scheduler(stages=2, target=2, max_wait=10.0, linger=INF, seconds=lambda stage, rows: 2.0)
    scheduler.push(2, now=0.0)
    scheduler.landed(scheduler.next(now=0.0), going=[1])  # one row waits for stage 1, until 8 at the latest
    scheduler.push(2, now=5.0)
    assert fired(scheduler.next(now=7.0)) == (1, 1)


def test_a_full_queue_goes_first_while_that_endangers_nobody():
    scheduler = Scheduler(stages=2, target=2, max_wait=10.0, linger=INF, seconds=lambda stage, rows: 2.0)
    scheduler.push(2, now=0.0)
    scheduler.landed(scheduler.next(now=0.0), going=[1])
    scheduler.push(2, now=5.0)
    assert fired(scheduler.next(now=5.0)) == (0, 2)


def test_admission_counts_what_is_running():
    scheduler = Scheduler(stages=1, target=2, max_wait=10.0, seconds=lambda stage, rows: 2.0)
    scheduler.push(2, now=0.0)
    fire = scheduler.next(now=0.0)
    assert scheduler.admits(2, now=0.0)
    scheduler.push(2, now=0.0)
    assert not scheduler.admits(2, now=0.0)  # 6 of 10 seconds of work; half are kept for waiting
    scheduler.landed(fire, going=[])
    assert scheduler.admits(2, now=2.0)


def test_rows_that_would_join_a_firing_that_is_due_are_not_let_in():
    scheduler = Scheduler(stages=1, target=4, max_wait=10.0, linger=INF, seconds=lambda stage, rows: float(rows))
    scheduler.push(1, now=0.0)
    assert scheduler.admits(3, now=6.0)
    assert not scheduler.admits(3, now=6.1)  # 4 rows take 4 seconds, and the first is due at 10


@pytest.mark.parametrize("rows", [1, 1000])
def test_when_nothing_is_under_way_any_request_is_let_in(rows):
    assert Scheduler(1, target=2, max_wait=1.0, room=1, seconds=lambda stage, n: 5.0).admits(rows, now=0.0)


def saturated(simulation: Simulation, requests: int) -> float:
    """Mean rows of a firing behind the first stage, when single rows come as fast as they are let in."""
    simulation.run([(0.0, 1)] * requests)
    late = [len(fire.tickets) for fire in simulation.fires if fire.stage > 0]
    return sum(late) / len(late)


def test_deadlines_leave_time_for_company_under_load():
    """Half of `max_wait` is left to rows that wait, so that late stages run on several rows together."""

    def takes(stage: int, rows: int) -> float:
        return 1.0 + 0.5 * rows

    simulation = Simulation(
        Scheduler(3, target=16, max_wait=200.0, seconds=takes),
        takes,
        lambda ticket, stage: ticket.request % 2 == stage,
        3,
    )
    assert saturated(simulation, 2000) > 12
    assert all(at <= ticket.deadline for ticket, at in simulation.left)
