"""One batch size: the samples are chosen, everything is timed on them in one run, and the numbers are drawn up."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import torch

from offramp.comparison import Ratio
from offramp.cost import counting_macs
from offramp.latency import Call, Laps, measure_requests, requests
from offramp.samples import timed_rows
from offramp.verdicts import memory
from offramp.verdicts.bench import Bench
from offramp.verdicts.findings import EXITS, PLAIN, Conditions, Macs, Point, Showing
from offramp.verdicts.remainder import Anatomy

HARD = "never leaving"


class Trial:
    """Everything on the bench, at one batch size.

    Args:
        bench: what is compared.
        batch: samples per call.
    """

    def __init__(self, bench: Bench, batch: int) -> None:
        self.bench = bench
        self.batch = batch
        model, timing = bench.model, bench.timing
        self.rows = timed_rows(bench.decisions.exits, batch, timing.samples, model.exits, timing.seed)
        self.batches = [model.to_own_device(bench.samples.take(index)) for index in self.rows]
        self.taken = [bench.runtime(inputs) for inputs in self.batches]

    @property
    def count(self) -> int:
        """Number of samples timed per round."""
        return self.batch * len(self.rows)

    def point(self) -> Point:
        """Measures.

        Raises:
            VerdictError: executed and predicted MACs differ.
        """
        macs = self.macs().check()
        calls = {one.name: requests(one.network, self.batches) for one in self.bench.contenders}
        peaks = {name: self._peak(calls[name]) for name in calls}
        anatomy = Anatomy.of(self.bench.runtime, self.batches, self.bench.backend)
        laps = self._time(calls | self._hard_calls() | (anatomy.calls() if anatomy else {}))
        return Point(
            conditions=self._conditions(),
            shares=self._shares(),
            showings=self._showings(laps, peaks),
            tax=Ratio.of(laps[HARD].totals, laps[PLAIN].totals) if HARD in laps else None,
            remainder=anatomy.remainder(laps, laps[EXITS]) if anatomy else None,
            macs=macs,
        )

    def macs(self) -> Macs:
        """Predicted from the exits taken, and counted while they are taken."""
        predicted = sum(len(decisions) * decisions.mean_macs for decisions in self.taken) / self.count
        if self.bench.backend != "eager":
            return Macs(predicted, None)
        with counting_macs() as total:
            for inputs in self.batches:
                self.bench.runtime(inputs)
        return Macs(predicted, total() / self.count)

    def _hard_calls(self) -> dict[str, list[Call]]:
        hard = self.bench.hard
        return {HARD: requests(hard, self.batches)} if self.batch == 1 and hard is not None else {}

    def _time(self, calls: Mapping[str, Sequence[Call]]) -> dict[str, Laps]:
        timing = self.bench.timing
        device, order = self.bench.model.device, random.Random(timing.seed)
        return measure_requests(calls, timing.rounds, device=device, order=order, clock=timing.clock)

    def _peak(self, calls: Sequence[Call]) -> int | None:
        device = self.bench.model.device
        if not memory.visible(self.bench.backend, device):
            return None
        return max(memory.peak_bytes(call, device) for call in calls)

    def _conditions(self) -> Conditions:
        return Conditions(
            batch=self.batch,
            samples=self.count,
            distinct=len(set(torch.cat(self.rows).tolist())),
            rounds=self.bench.timing.rounds,
            device=str(self.bench.model.device),
            threads=torch.get_num_threads(),
            backend=self.bench.backend,
        )

    def _shares(self) -> tuple[float, ...]:
        exits = torch.cat([decisions.exits for decisions in self.taken])
        return tuple((torch.bincount(exits, minlength=self.bench.model.exits) / self.count).tolist())

    def _showings(self, laps: Mapping[str, Laps], peaks: Mapping[str, int | None]) -> tuple[Showing, ...]:
        plain, exits = laps[PLAIN], laps[EXITS]
        return tuple(
            Showing.of(one.name, laps[one.name], plain, exits, self.count, one.worth, peaks[one.name])
            for one in self.bench.contenders
        )
