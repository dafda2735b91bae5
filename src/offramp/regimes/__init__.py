"""How exits learn: a regime is a sequence of phases, each with what trains, for how long, and under which loss.

To add one: a new file here with a frozen dataclass derived from `Regime` (or from `Wrapping`, if it changes the phases
of another one) and decorated with `register`, and its import below.
"""

from offramp.regimes.backbone_alone import BackboneAlone
from offramp.regimes.disjoint import Disjoint
from offramp.regimes.joint import Joint
from offramp.regimes.losses import ExitLoss, Losses, Step, Sum, WeightedCrossEntropy
from offramp.regimes.mixed import Mixed
from offramp.regimes.phase import PassChange, Phase, Settings
from offramp.regimes.reading import from_dict, from_words
from offramp.regimes.regime import REGIMES, Regime, Wrapping, register
from offramp.regimes.weights import RampedCrossEntropy

__all__ = [
    "REGIMES",
    "BackboneAlone",
    "Disjoint",
    "ExitLoss",
    "Joint",
    "Losses",
    "Mixed",
    "PassChange",
    "Phase",
    "RampedCrossEntropy",
    "Regime",
    "Settings",
    "Step",
    "Sum",
    "WeightedCrossEntropy",
    "Wrapping",
    "from_dict",
    "from_words",
    "register",
]
