"""The folder of a run: what was asked for, the model, recordings, the policy with its evidence, results, report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

from offramp.documents import DocumentKind
from offramp.errors import FileFormatError, TrainingError

RUN = DocumentKind("offramp.run", 1, "description of a run", "Train one with: offramp train --out RUN")
CALIBRATION = DocumentKind("offramp.calibration", 1, "calibration", "Calibrate again with: offramp calibrate RUN")


@dataclass(frozen=True)
class Request:
    """Everything that decides how a run is trained.

    Attributes:
        arch: name of a backbone in the zoo.
        data: name of a data set.
        at: cuts, as names or shares of the MACs; empty for the architecture's own.
        head: name of the exit head.
        seed: of splits, weights and training.
        validation: size of the validation split, a count (int) or a share of the training part (float).
        calibration: size of the calibration split, likewise.
        epochs: passes over the training split.
        batch_size: images per step.
        optimizer: "sgd" or "adamw".
        lr: initial learning rate; None for the optimizer's default.
        schedule: of the learning rate.
        warmup: epochs over which it rises first.
        weights: of the exits' losses: "mean", "depth", "ramp", or one per early exit.
        regime: names of regimes, each of which wraps the next.
        regime_options: "parameter=value" for them.
    """

    arch: str
    data: str
    at: tuple[str, ...]
    head: str
    seed: int
    validation: int | float
    calibration: int | float
    epochs: int
    batch_size: int
    optimizer: str
    lr: float | None
    schedule: str
    warmup: float
    weights: str | tuple[float, ...]
    regime: tuple[str, ...] = ("joint",)
    regime_options: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: Path) -> Request:
        """Inverse of `asdict`, after JSON.

        Raises:
            FileFormatError: fields are missing or unknown.
        """
        known = {field.name for field in fields(cls)}
        needed = {field.name for field in fields(cls) if field.default is MISSING}
        wrong = sorted((set(data) - known) | (needed - set(data)))
        if wrong:
            raise FileFormatError(f"{where} has missing or unknown fields: {', '.join(wrong)}. Train again.")
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in data.items()}
        return cls(**values)

    def differences(self, other: Request) -> list[str]:
        """Phrases such as "seed is 0 there and 1 now", for every field that is not the same."""
        mine, theirs = asdict(self), asdict(other)
        return [
            f"{name} is {mine[name]!r} there and {theirs[name]!r} now" for name in mine if mine[name] != theirs[name]
        ]


class RunFolder:
    """Paths and descriptions of a run; reading them checks them.

    Args:
        path: of the folder; need not exist yet.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.description = self.path / "run.json"
        self.model = self.path / "model"
        self.training = self.path / "training"
        self.history = self.training / "history.json"
        self.recordings = self.path / "recordings"
        self.policy = self.path / "policy.json"
        self.calibration = self.path / "calibration.json"
        self.results = self.path / "results.json"
        self.report = self.path / "report.html"

    def recording(self, split: str) -> Path:
        """File of a split's recording."""
        return self.recordings / f"{split}.safetensors"

    @property
    def trained(self) -> bool:
        """Whether training and recording are done: the calibration split is recorded last."""
        return self.description.exists() and self.recording("calibration").exists()

    def claim(self, request: Request, resume: bool) -> None:
        """Makes the folder ready for a training run; nothing of another run is ever overwritten.

        Raises:
            TrainingError: it cannot be written, or holds a run that is another one or was not to be resumed.
            FileFormatError: its description is damaged.
        """
        if self.description.exists():
            if not resume:
                raise TrainingError(
                    f"{self.path} holds a run already. Continue it with --resume, or choose another --out."
                )
            differing = self.request.differences(request)
            if differing:
                raise TrainingError(
                    f"{self.path} holds another run: {'; '.join(differing)}. Ask for the same, or choose another --out."
                )
        try:
            self.recordings.mkdir(parents=True, exist_ok=True)
            probe = self.path / ".probe"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise TrainingError(f"{self.path} cannot be written ({error}). Choose another --out.") from error

    def describe(self, request: Request, **facts: Any) -> None:
        """Writes `run.json`: what was asked for, and facts about data and surroundings."""
        RUN.write(self.description, {"request": asdict(request), **facts})

    @property
    def facts(self) -> dict[str, Any]:
        """Contents of `run.json`.

        Raises:
            FileFormatError: there is none, or it is damaged.
        """
        return RUN.read(self.description)

    def check(self) -> None:
        """Makes sure that this is a run: what is missing later is then a step, not the whole folder.

        Raises:
            FileFormatError: `run.json` is missing or damaged.
        """
        _ = self.request

    @property
    def request(self) -> Request:
        """What the run was asked for.

        Raises:
            FileFormatError: `run.json` is missing or damaged.
        """
        return Request.from_dict(self.facts.get("request", {}), self.description)
