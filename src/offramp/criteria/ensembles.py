"""What ensembles have in common: the exits so far become one set of probabilities, which a confidence scores."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from offramp.criteria.criterion import Criterion
from offramp.errors import PolicyError


class Ensemble(Criterion):
    """Derive from it as a frozen dataclass with a field `confidence`, and define `answer`.

    Attributes:
        confidence: scores the answer; it reads no earlier exits itself.
    """

    confidence: Criterion

    def __post_init__(self) -> None:
        name, given = type(self).__name__, self.confidence
        if not isinstance(given, Criterion):
            raise PolicyError(f"{name}(confidence={given!r}): give a criterion, e.g. MaxProbability().")
        if given.uses_earlier or given.at(0) is not given:
            raise PolicyError(
                f"{name}(confidence={given!r}): what scores an ensemble reads its answer only. Give MaxProbability(), "
                "Margin(), Entropy() or another that is the same at every exit and reads no earlier ones."
            )

    @property
    def uses_earlier(self) -> bool:
        """Always."""
        return True

    @property
    def combines(self) -> bool:
        """Always."""
        return True

    @property
    def graded(self) -> bool:
        """As the confidence."""
        return self.confidence.graded

    def score(self, logits: Tensor, earlier: Sequence[Tensor] = ()) -> Tensor:
        """See `Criterion.score`."""
        return self.judge(logits, earlier)[0]

    def judge(self, logits: Tensor, earlier: Sequence[Tensor] = ()) -> tuple[Tensor, Tensor]:
        """See `Criterion.judge`."""
        answer = self.answer(logits, earlier)
        return self.confidence.score(answer), answer

    def grid(self, classes: int, size: int) -> list[float]:
        """Of the confidence."""
        return self.confidence.grid(classes, size)
