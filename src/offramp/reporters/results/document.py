"""`Results`: everything a report shows, as one value that goes to JSON and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from offramp.decisions import Decisions
from offramp.documents import DocumentKind
from offramp.policy import Policy
from offramp.recording import Recording, simulate
from offramp.reporters.results.agreement import Agreement
from offramp.reporters.results.certificate import Certificate
from offramp.reporters.results.exits import Exits
from offramp.reporters.results.final_exit import FinalExit
from offramp.reporters.results.frontier import Frontier
from offramp.reporters.results.gallery import Gallery
from offramp.reporters.results.headline import Headline
from offramp.reporters.results.learning import Learning
from offramp.reporters.results.levels import Levels
from offramp.reporters.results.plain import build
from offramp.reporters.results.provenance import Provenance, Subject
from offramp.reporters.results.reliability import Reliability
from offramp.reporters.results.speed import Speed
from offramp.training import History

KIND = DocumentKind("offramp.results", 1, "results file", "Write one with: offramp evaluate RUN")


@dataclass(frozen=True)
class Results:
    """Plain data; a section that could not be computed is None, and is left out of reports.

    Attributes:
        subject: the model and the data.
        policy: `Policy.to_dict()` of what was evaluated.
        headline: what was gained, on the test split.
        exits: every exit alone and under the policy, on the test split.
        reliability: confidence against accuracy, on the test split.
        provenance: what made the results.
        speed: measured time, one entry per batch size.
        frontier: of the calibration split.
        certificate: what the calibration promises.
        agreement: exits taken against exits simulated; None where none were really taken.
        gallery: images; None where there are none.
        learning: the training run.
        final_exit: what training cost the final exit; None where the backbone alone was never looked at.
        levels: how finely samples are answered; None where all are answered with a class.
    """

    subject: Subject
    policy: dict[str, Any]
    headline: Headline
    exits: Exits
    reliability: Reliability
    provenance: Provenance
    speed: tuple[Speed, ...] = ()
    frontier: Frontier | None = None
    certificate: Certificate | None = None
    agreement: Agreement | None = None
    gallery: Gallery | None = None
    learning: Learning | None = None
    final_exit: FinalExit | None = None
    levels: Levels | None = None

    @classmethod
    def of(
        cls,
        test: Recording,
        policy: Policy,
        subject: Subject,
        provenance: Provenance,
        *,
        taken: Decisions | None = None,
        images: Tensor | None = None,
        calibration: Recording | None = None,
        evidence: Mapping[str, Any] | None = None,
        history: History | None = None,
        speed: tuple[Speed, ...] = (),
    ) -> Results:
        """Computes all sections.

        Args:
            test: recording of the samples to report on, with labels.
            policy: what is evaluated.
            subject: the model and the data.
            provenance: what made the results.
            taken: what the deployed runtime decided on the same samples; None takes what `simulate` says.
            images: uint8 `[n, channels, height, width]` of the same samples, for the gallery.
            calibration: recording of the calibration split, for the frontier.
            evidence: `Evidence.to_dict()` of the calibration that chose the policy.
            history: of the training run.
            speed: measured times.

        Raises:
            PolicyError: the policy is for another number of exits.
            RecordingError: a recording has no labels.
        """
        simulated = simulate(test, policy)
        decisions = simulated if taken is None else taken
        headline = Headline.of(test, decisions)
        seed, device = headline.source.seed, headline.source.device
        return cls(
            subject=subject,
            policy=policy.to_dict(),
            headline=headline,
            exits=Exits.of(test, policy, decisions, subject.places),
            reliability=Reliability.of(test, policy),
            provenance=provenance,
            speed=speed,
            frontier=None if calibration is None else Frontier.of(calibration, policy),
            certificate=None if evidence is None else Certificate.of(evidence, seed, device),
            agreement=None if taken is None else Agreement.of(taken, simulated, headline.source),
            gallery=None if images is None else Gallery.of(test, policy, decisions, images, subject.classes),
            learning=None if history is None else Learning.of(history, seed, device),
            final_exit=None if history is None else FinalExit.of(history, seed, device),
            levels=Levels.of(test, policy, decisions),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data with format and version."""
        return KIND.stamp(asdict(self))

    @classmethod
    def from_dict(cls, data: Any, where: str | Path = "What was given") -> Results:
        """Inverse of `to_dict`; `where` is the file it is from, for errors.

        Raises:
            FileFormatError: no results, damaged, or written by a newer version.
        """
        data = KIND.check(data, where)
        # A file from before a section was thought of is one without it.
        optional = {field.name: field.default for field in fields(cls) if field.default is not MISSING}
        names = {field.name for field in fields(cls)}
        return build(cls, {**optional, **{key: value for key, value in data.items() if key in names}})

    def save(self, path: str | Path) -> None:
        """Writes a JSON file, in one step.

        Raises:
            FileFormatError: it cannot be written there.
        """
        KIND.write(path, self.to_dict(), indent=1)

    @classmethod
    def load(cls, path: str | Path) -> Results:
        """Reads what `save` wrote.

        Raises:
            FileFormatError: the file is missing, no JSON, or no results.
        """
        return cls.from_dict(KIND.read(path), path)
