"""How exits learn: a regime is a sequence of phases, each with what trains, for how long, and under which loss.

To add one: a new file here with a frozen dataclass derived from `Regime` (or from `Wrapping`, if it changes the phases
of another one) and decorated with `register`, and its import below.
"""

from offramp.regimes.alternating import Alternating
from offramp.regimes.backbone_alone import BackboneAlone
from offramp.regimes.boosted import Boosted
from offramp.regimes.branch_wise import BranchWise
from offramp.regimes.cascaded_heads import CascadedHeads
from offramp.regimes.confidence_gated import ConfidenceGated
from offramp.regimes.disjoint import Disjoint
from offramp.regimes.feature_hints import FeatureHints
from offramp.regimes.geometric_ensembling import GeometricEnsembling
from offramp.regimes.gradient_equilibrium import GradientEquilibrium
from offramp.regimes.gradual_unfreezing import GradualUnfreezing
from offramp.regimes.joint import Joint
from offramp.regimes.layer_dropout import LayerDropout
from offramp.regimes.learned_weights import LearnedWeights
from offramp.regimes.learning_to_exit import LearningToExit
from offramp.regimes.losses import ExitLoss, Losses, Step, Sum, WeightedCrossEntropy
from offramp.regimes.mixed import Mixed
from offramp.regimes.phase import PassChange, Phase, Settings
from offramp.regimes.reading import from_dict, from_words
from offramp.regimes.regime import REGIMES, Regime, Wrapping, register
from offramp.regimes.rotational import Rotational
from offramp.regimes.self_distillation import SelfDistillation
from offramp.regimes.weights import RampedCrossEntropy

__all__ = [
    "REGIMES",
    "Alternating",
    "BackboneAlone",
    "Boosted",
    "BranchWise",
    "CascadedHeads",
    "ConfidenceGated",
    "Disjoint",
    "ExitLoss",
    "FeatureHints",
    "GeometricEnsembling",
    "GradientEquilibrium",
    "GradualUnfreezing",
    "Joint",
    "LayerDropout",
    "LearnedWeights",
    "LearningToExit",
    "Losses",
    "Mixed",
    "PassChange",
    "Phase",
    "RampedCrossEntropy",
    "Regime",
    "Rotational",
    "SelfDistillation",
    "Settings",
    "Step",
    "Sum",
    "WeightedCrossEntropy",
    "Wrapping",
    "from_dict",
    "from_words",
    "register",
]
