"""What happens inside a network while its exits learn: pure functions of weights, gradients and activations.

`gradients`: which exit a block listens to. `information`, `rank`, `similarity`: what activations hold. `landscape`:
what lies between and around solutions. `activations` collects what they need, `Recorder` does so while `fit` trains,
and `figures` draws it all.
"""

from offramp.analysis.activations import activations
from offramp.analysis.gradients import Dominance, gradient_dominance
from offramp.analysis.information import Information, information, information_sweep
from offramp.analysis.landscape import Direction, Plane, Surroundings, filter_normalised, plane_through
from offramp.analysis.rank import Spectrum, spectrum
from offramp.analysis.recorder import Recorder, Snapshot
from offramp.analysis.similarity import cka, cka_matrix

__all__ = [
    "Direction",
    "Dominance",
    "Information",
    "Plane",
    "Recorder",
    "Snapshot",
    "Spectrum",
    "Surroundings",
    "activations",
    "cka",
    "cka_matrix",
    "filter_normalised",
    "gradient_dominance",
    "information",
    "information_sweep",
    "plane_through",
    "spectrum",
]
