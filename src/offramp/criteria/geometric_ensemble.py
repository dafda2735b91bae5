"""The geometric mean of all exits so far, as confidence and as answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from offramp.criteria.criterion import Criterion, register
from offramp.criteria.ensembles import Ensemble
from offramp.criteria.max_probability import MaxProbability


@register
@dataclass(frozen=True)
class GeometricEnsemble(Ensemble):
    """`q_m,c ~ (prod_{j <= m} p_j,c)^(1 / m)`: the exits' probabilities multiplied, renormalised and scored.

    The answer is `ln q`, at the last exit too.

    Source: ZTW (Wołczyk et al. 2021), "Zero time waste", with equal weights and no bias.

    Attributes:
        confidence: scores the mean.

    Example:
        >>> import torch
        >>> cat, dog = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
        >>> GeometricEnsemble().score(dog, [cat]), GeometricEnsemble().score(cat, [cat])
        (tensor([0.5000]), tensor([0.7311]))
    """

    confidence: Criterion = field(default_factory=MaxProbability)

    def answer(self, logits: Tensor, earlier: Sequence[Tensor] = ()) -> Tensor:
        """See `Criterion.answer`."""
        # The exits' own normalisers are the same for all classes, so the last normalisation takes them out.
        share = 1 / (len(earlier) + 1)
        return sum((share * z for z in earlier), share * logits).log_softmax(dim=-1)
