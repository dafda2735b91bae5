"""What a loop has done so far, so that a search can be told it again when an interrupted loop goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from offramp.compression.loops import Evaluation, Move
from offramp.compression.outcome import Record
from offramp.errors import CompressionError


@dataclass
class Journal:
    """Moves with their evaluations, and all that is counted.

    Attributes:
        moves: in order.
        evaluations: what came of each.
        records: of those that validated.
        epoch: epochs trained.
        epochs_here: epochs trained with the current optimizers.
        loss: of the latest epoch.
        lr_is_due: whether the learning rate is still to be moved on after the latest epoch.
        best: number of the best evaluation, None where none was fully compressed.
    """

    moves: list[Move] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    epoch: int = 0
    epochs_here: int = 0
    loss: float | None = None
    lr_is_due: bool = False
    best: int | None = None

    def replay(self, number: int, move: Move) -> Evaluation | None:
        """What came of move `number`, counted from 0; None where it was not made yet.

        Raises:
            CompressionError: it was another one.
        """
        if number >= len(self.moves):
            return None
        if self.moves[number] != move:
            raise CompressionError(
                f"The interrupted loop went on with {self.moves[number]}, this one would with {move}: it is another "
                "search. Resume with the same settings and version, or choose another folder."
            )
        return self.evaluations[number]

    def enter(self, move: Move, evaluation: Evaluation) -> None:
        """Adds a move that was made."""
        self.moves.append(move)
        self.evaluations.append(evaluation)

    def evaluation(self, number: int) -> Evaluation:
        """The evaluation that validated under this number."""
        return next(e for e in self.evaluations if e.number == number)

    @property
    def latest(self) -> Evaluation | None:
        """The last evaluation."""
        return self.evaluations[-1] if self.evaluations else None

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        lists = {
            "moves": [asdict(move) for move in self.moves],
            "evaluations": [tuple(evaluation) for evaluation in self.evaluations],
            "records": [asdict(record) for record in self.records],
        }
        return {**self.__dict__, **lists}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Journal:
        """Inverse of `to_dict`."""
        lists: dict[str, Any] = {
            "moves": [Move(**move) for move in data["moves"]],
            "evaluations": [Evaluation(*evaluation) for evaluation in data["evaluations"]],
            "records": [Record(**record) for record in data["records"]],
        }
        return cls(**{**data, **lists})
