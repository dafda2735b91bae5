"""Cascade connections: each exit's logits are completed by a linear function of those of the exit before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from offramp.criteria.criterion import register
from offramp.criteria.wrapping import Wrapping
from offramp.errors import PolicyError

Matrix = tuple[tuple[float, ...], ...]


@register
@dataclass(frozen=True)
class Cascade(Wrapping):
    """`a_0 = z_0`, `a_m = z_m + C_m a_(m-1)` at the early exits m; the backbone's own output stays `z`.

    Another criterion then scores, and answers with, the completed logits `a` as if they were the exits' own. A head
    that ends in a linear layer and is given the earlier exit's logits beside its features computes exactly this, its
    weights for them being C_m; the criterion has no need for a head that waits for another one.

    The regime `CascadedHeads` learns the connections, and its history has the criterion. They are for logits as they
    are: use no temperatures. They are kept in JSON, so they are for some hundreds of classes at most.

    Source: ZTW (Wołczyk et al. 2021), "Zero time waste", the cascade connections.

    Attributes:
        criterion: reads the completed logits.
        connections: a matrix `[classes, classes]` for each early exit after the first.

    Example:
        >>> import torch
        >>> from offramp.criteria import MaxProbability
        >>> cascade = Cascade(MaxProbability(), connections=(((0.0, 1.0), (1.0, 0.0)),))
        >>> cascade.answer(torch.tensor([[5.0, 5.0]]), [torch.tensor([[1.0, 2.0]])])
        tensor([[7., 6.]])
    """

    connections: tuple[Matrix, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.criterion.hierarchical:
            raise PolicyError(f"Cascade(criterion={self.criterion!r}): it cannot be one that answers with groups.")
        matrices = tuple(tuple(tuple(map(float, row)) for row in matrix) for matrix in self.connections)
        object.__setattr__(self, "connections", matrices)
        sizes = sorted({len(rows) for matrix in matrices for rows in (matrix, *matrix)})
        # Made here and not where they are used, as what is made while a model is exported belongs to that export.
        tensors = [torch.tensor(matrix) for matrix in matrices] if len(sizes) < 2 else []
        if len(sizes) > 1 or not all(bool(tensor.isfinite().all()) for tensor in tensors):
            raise PolicyError(
                f"Cascade has connections of the sizes {sizes}: give square matrices of one size and of finite numbers."
            )
        object.__setattr__(self, "_tensors", tensors)

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
        """Never: the leading class of an exit's own logits need not lead when they are completed."""
        return False

    def check(self, early_exits: int, classes: int) -> None:
        """See `Criterion.check`."""
        widths = {len(matrix) for matrix in self.connections}
        if len(self.connections) != early_exits - 1 or not widths <= {classes}:
            raise PolicyError(
                f"The cascade connects {len(self.connections) + 1} early exits of {sorted(widths)} classes, here are "
                f"{early_exits} and {classes}: take the criterion of the history of this model's own training."
            )
        super().check(early_exits, classes)

    def score(self, logits: Tensor, earlier: Sequence[Tensor] = ()) -> Tensor:
        """See `Criterion.score`."""
        *before, own = self._completed([*earlier, logits])
        return self.criterion.score(own, before)

    def answer(self, logits: Tensor, earlier: Sequence[Tensor] = ()) -> Tensor:
        """See `Criterion.answer`."""
        *before, own = self._completed([*earlier, logits])
        return self.criterion.answer(own, before)

    def judge(self, logits: Tensor, earlier: Sequence[Tensor] = ()) -> tuple[Tensor, Tensor]:
        """See `Criterion.judge`."""
        *before, own = self._completed([*earlier, logits])
        return self.criterion.judge(own, before)

    def _completed(self, logits: Sequence[Tensor]) -> list[Tensor]:
        tensors: list[Tensor] = self.__dict__["_tensors"]
        found = [logits[0]]
        for own, matrix in zip(logits[1:], tensors, strict=False):
            found.append(own + found[-1] @ matrix.to(own).T)
        return [*found, *logits[len(found) :]]
