"""How exits learn: a regime is a sequence of phases, each with what trains, for how long, and under which loss.

To add one: a new file here with a frozen dataclass derived from `Regime` and decorated with `register`, and its
import below.
"""

from offramp.regimes.joint import Joint
from offramp.regimes.regime import (
    REGIMES,
    ExitLoss,
    Losses,
    Phase,
    Regime,
    WeightedCrossEntropy,
    register,
)

__all__ = [
    "REGIMES",
    "ExitLoss",
    "Joint",
    "Losses",
    "Phase",
    "Regime",
    "WeightedCrossEntropy",
    "register",
]
