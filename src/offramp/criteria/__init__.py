"""When a sample may leave: criteria score a sample's confidence from logits, larger = surer, never from a label.

To add one: a new file here with a class derived from `Criterion` and decorated with `register`, and its import
below. The conformance kit in `tests/conformance` then tests it by its existence.
"""

from __future__ import annotations

from dataclasses import MISSING, fields

from offramp.criteria.always import Always
from offramp.criteria.by_class import ClassFloors, ClassThresholds
from offramp.criteria.cascade import Cascade
from offramp.criteria.certainty import Certainty
from offramp.criteria.coarse import Coarse
from offramp.criteria.compositions import AllOf, AnyOf
from offramp.criteria.criterion import CRITERIA, Criterion, criterion_from_dict, register
from offramp.criteria.energy import Energy
from offramp.criteria.entropy import Entropy
from offramp.criteria.gate import Gate
from offramp.criteria.geometric_ensemble import GeometricEnsemble
from offramp.criteria.gini import Gini
from offramp.criteria.jensen_shannon import JensenShannon
from offramp.criteria.margin import Margin
from offramp.criteria.max_probability import MaxProbability
from offramp.criteria.minimum_depth import MinimumDepth
from offramp.criteria.normalised_entropy import NormalisedEntropy
from offramp.criteria.patience import Patience
from offramp.criteria.per_exit import PerExit
from offramp.criteria.random import Random
from offramp.criteria.voting import Voting
from offramp.criteria.weighted_ensemble import WeightedEnsemble

__all__ = [
    "CRITERIA",
    "AllOf",
    "Always",
    "AnyOf",
    "Cascade",
    "Certainty",
    "ClassFloors",
    "ClassThresholds",
    "Coarse",
    "Criterion",
    "Energy",
    "Entropy",
    "Gate",
    "GeometricEnsemble",
    "Gini",
    "JensenShannon",
    "Margin",
    "MaxProbability",
    "MinimumDepth",
    "NormalisedEntropy",
    "Patience",
    "PerExit",
    "Random",
    "Voting",
    "WeightedEnsemble",
    "criterion_from_dict",
    "ready_made",
    "register",
]


def ready_made() -> list[str]:
    """Names of the criteria that need no parameters and have a threshold to choose, as the command line takes them.

    Example:
        >>> ready_made()[:3]
        ['certainty', 'energy', 'entropy']
    """
    return sorted(name for name, member in CRITERIA.items() if not _needs_parameters(member))


def _needs_parameters(member: type[Criterion]) -> bool:
    parameters = fields(member)  # type: ignore[arg-type]  # members are dataclasses
    return any(f.default is MISSING and f.default_factory is MISSING for f in parameters)
