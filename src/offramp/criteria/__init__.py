"""When a sample may leave: criteria score a sample's confidence from logits, larger = surer, never from a label.

To add one: a new file here with a class derived from `Criterion` and decorated with `register`, and its import
below. The conformance kit in `tests/conformance` then tests it by its existence.
"""

from offramp.criteria.always import Always
from offramp.criteria.criterion import CRITERIA, Criterion, criterion_from_dict, register
from offramp.criteria.entropy import Entropy
from offramp.criteria.margin import Margin
from offramp.criteria.max_probability import MaxProbability

__all__ = [
    "CRITERIA",
    "Always",
    "Criterion",
    "Entropy",
    "Margin",
    "MaxProbability",
    "criterion_from_dict",
    "register",
]
