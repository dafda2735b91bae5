"""How a model is cut: spine, export or hooks, whichever first gives what the plain model gives."""

from offramp.backbones.carry import Carry
from offramp.backbones.cutting import cut
from offramp.backbones.inputs import Signature, arguments, describe
from offramp.backbones.modes import device_of, evaluating
from offramp.backbones.outputs import final_logits, first_tensor, map_tensors
from offramp.backbones.placement import names_at
from offramp.backbones.places import Place, Survey, inspect, survey
from offramp.backbones.rehearsal import close
from offramp.backbones.stages import Chain, Division, Stage

__all__ = [
    "Carry",
    "Chain",
    "Division",
    "Place",
    "Signature",
    "Stage",
    "Survey",
    "arguments",
    "close",
    "cut",
    "describe",
    "device_of",
    "evaluating",
    "final_logits",
    "first_tensor",
    "inspect",
    "map_tensors",
    "names_at",
    "survey",
]
