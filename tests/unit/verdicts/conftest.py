"""A criterion that reads earlier logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import pytest
from torch import Tensor

from offramp.criteria import Criterion


@dataclass(frozen=True)
class AgreementSoFar(Criterion):
    """Overlap with the exit before."""

    uses_earlier: ClassVar[bool] = True

    def score(self, logits: Tensor, earlier: Sequence[Tensor] = ()) -> Tensor:
        before = earlier[-1] if earlier else logits
        return (logits.softmax(-1) * before.softmax(-1)).sum(-1)

    def grid(self, classes: int, size: int) -> list[float]:
        return [1 - i / size for i in range(size)]


@pytest.fixture
def soft_agreement_everywhere() -> Criterion:
    return AgreementSoFar()
