"""The verdict as a value: what was measured at each batch size, and what follows from it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from offramp.comparison import Answer, Crossover, Ratio
from offramp.documents import DocumentKind
from offramp.errors import VerdictError
from offramp.latency import Laps
from offramp.verdicts import wording
from offramp.verdicts.remainder import Remainder

KIND = DocumentKind("offramp.verdict", 1, "verdict", "Write one with `offramp verdict --json`.")
PLAIN, EXITS, SMALLER = "plain", "exits", "smaller network"
TOLERANCE = 0.001


@dataclass(frozen=True)
class Conditions:
    """What every number at one batch size was measured under.

    Attributes:
        batch: samples per call.
        samples: how many were timed in each round.
        distinct: how many of these are different; fewer where the data has fewer samples than were needed.
        rounds: how often each was timed.
        device: what computed.
        threads: of the CPU.
        backend: what ran the network, plain and with exits.
    """

    batch: int
    samples: int
    distinct: int
    rounds: int
    device: str
    threads: int
    backend: str


@dataclass(frozen=True)
class Worth:
    """What one sample costs and what it gets, wherever it is measured.

    Attributes:
        accuracy: on all samples of the data; None without labels.
        macs: mean per sample, as predicted.
    """

    accuracy: float | None
    macs: float


@dataclass(frozen=True)
class Showing:
    """How one way of running did at one batch size.

    Attributes:
        name: "plain", "exits", "exit k alone" or "smaller network".
        seconds: per sample, in the median round.
        p50: median seconds of one call, over all calls and rounds.
        p95: 95 % quantile of the same.
        p99: 99 % quantile of the same.
        against_plain: its time over that of the plain network.
        against_exits: its time over that of the runtime.
        worth: accuracy and MACs.
        peak_bytes: the most memory of one call, see `offramp.verdicts.memory`; None where that cannot be seen.
    """

    name: str
    seconds: float
    p50: float
    p95: float
    p99: float
    against_plain: Ratio
    against_exits: Ratio
    worth: Worth
    peak_bytes: int | None

    @classmethod
    def of(
        cls, name: str, laps: Laps, plain: Laps, exits: Laps, samples: int, worth: Worth, peak_bytes: int | None
    ) -> Showing:
        """From its own times and those of plain network and runtime, in which so many samples were run per round."""
        p50, p95, p99 = laps.per_request(0.5, 0.95, 0.99)
        return cls(
            name=name,
            seconds=laps.median / samples,
            p50=p50,
            p95=p95,
            p99=p99,
            against_plain=Ratio.of(laps.totals, plain.totals),
            against_exits=Ratio.of(laps.totals, exits.totals),
            worth=worth,
            peak_bytes=peak_bytes,
        )

    @property
    def throughput(self) -> float:
        """Samples per second."""
        return 1 / self.seconds

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "throughput": self.throughput}


@dataclass(frozen=True)
class Macs:
    """Mean multiply-accumulates per sample of one batch with exits.

    Attributes:
        predicted: from the plan's costs and the exits taken.
        executed: counted while the runtime ran; None where a backend's operations cannot be counted.
    """

    predicted: float
    executed: float | None

    def check(self) -> Macs:
        """Itself, if both agree.

        Raises:
            VerdictError: they differ by more than 0.1 %.
        """
        if self.executed is not None and abs(self.executed - self.predicted) > TOLERANCE * self.predicted:
            raise VerdictError(
                f"The runtime executed {self.executed:,.0f} MACs per sample where {self.predicted:,.0f} were "
                f"predicted, more than {100 * TOLERANCE:g} % apart: a saving in MACs shown for this model would "
                "be wrong. Attach the exits again with an example of the shape that is used, or report it."
            )
        return self


@dataclass(frozen=True)
class Point:
    """Everything at one batch size.

    Attributes:
        conditions: under which it was measured.
        shares: `[exits]`, share of the timed samples that left at each exit.
        showings: plain network, runtime, and the baselines.
        tax: time of samples that never leave over the plain network's; only at batch 1, None elsewhere and where the
            policy has no exit to pass.
        remainder: where the time goes; None where the model has no stages.
        macs: predicted and executed.
    """

    conditions: Conditions
    shares: tuple[float, ...]
    showings: tuple[Showing, ...]
    tax: Ratio | None
    remainder: Remainder | None
    macs: Macs

    @property
    def batch(self) -> int:
        """Samples per call."""
        return self.conditions.batch

    @property
    def ratio(self) -> Ratio:
        """Time with exits over time without."""
        return self.exits.against_plain

    @property
    def answer(self) -> Answer:
        """Whether exits pay at this batch size, against the plain network."""
        return self.ratio.answer

    @property
    def better_alone(self) -> tuple[Showing, ...]:
        """Baselines that are surely faster than the runtime and, on this data, at least as accurate."""
        accuracy = self.exits.worth.accuracy
        return tuple(
            showing
            for showing in self.showings
            if showing.name not in (PLAIN, EXITS)
            and showing.against_exits.answer is Answer.PAYS
            and _at_least(showing.worth.accuracy, accuracy)
        )

    @property
    def plain(self) -> Showing:
        """The network without exits."""
        return self.showing(PLAIN)

    @property
    def exits(self) -> Showing:
        """The runtime."""
        return self.showing(EXITS)

    def showing(self, name: str) -> Showing:
        """One way of running, by its name."""
        return next(showing for showing in self.showings if showing.name == name)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "conditions": asdict(self.conditions),
            "answer": str(self.answer),
            "ratio": self.ratio.to_dict(),
            "shares": list(self.shares),
            "showings": [showing.to_dict() for showing in self.showings],
            "better_alone": [showing.name for showing in self.better_alone],
            "hard_sample_tax": None if self.tax is None else self.tax.to_dict(),
            "remainder": None if self.remainder is None else self.remainder.to_dict(),
            "macs": asdict(self.macs),
        }


@dataclass(frozen=True)
class Verdict:
    """Whether exits pay on one machine, by batch size. Made by `offramp.verdict`.

    Attributes:
        points: by rising batch size.
        samples: in the data: accuracies and shares are over these.
        split: what they are, e.g. "validation".
        labelled: whether the data had labels.
        seed: of the choice of the timed samples and the order of timing.
        memory: what `peak_bytes` means on this device.
    """

    points: tuple[Point, ...]
    samples: int
    split: str
    labelled: bool
    seed: int
    memory: str

    @property
    def answer(self) -> dict[int, Answer]:
        """Pays, does not pay or unresolved, by batch size."""
        return {point.batch: point.answer for point in self.points}

    @property
    def crossover(self) -> Crossover:
        """Up to which, or from which, batch size exits pay."""
        return Crossover.of(self.answer)

    @property
    def tax(self) -> Ratio | None:
        """At batch 1: time of a sample that never leaves over the plain network's; None where it was not measured."""
        return next((point.tax for point in self.points if point.tax is not None), None)

    def at(self, batch: int) -> Point:
        """Everything at one of the measured batch sizes.

        Raises:
            VerdictError: it was not measured.
        """
        for point in self.points:
            if point.batch == batch:
                return point
        raise VerdictError(
            f"Batch size {batch} was not measured, only {sorted(self.answer)}: ask for it in batch_sizes."
        )

    def sentences(self) -> list[str]:
        """What was found, in plain words."""
        return wording.sentences(self)

    def summary(self) -> str:
        """The sentences, one a line."""
        return "\n".join(self.sentences())

    def to_dict(self) -> dict[str, Any]:
        """Plain data with format and version."""
        data = {
            "answer": {str(batch): str(answer) for batch, answer in self.answer.items()},
            "crossover": self.crossover.to_dict(),
            "samples": self.samples,
            "split": self.split,
            "labelled": self.labelled,
            "seed": self.seed,
            "memory": self.memory,
            "points": [point.to_dict() for point in self.points],
            "sentences": self.sentences(),
        }
        return KIND.stamp(data)


def alone(exit: int) -> str:
    """Name of the baseline in which every sample leaves at one exit."""
    return f"exit {exit} alone"


def _at_least(first: float | None, second: float | None) -> bool:
    return first is not None and second is not None and first >= second
