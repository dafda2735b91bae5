"""How a model is cut: its spine is traced, divided into stages, classified, and checked against the plain model."""

from offramp.backbones.carry import Carry
from offramp.backbones.check import check, close
from offramp.backbones.inputs import Signature, arguments, describe, first_tensor, map_tensors
from offramp.backbones.places import Place, device_of, inspect, names_at
from offramp.backbones.spine import evaluating
from offramp.backbones.stages import Chain, Stage, cut

__all__ = [
    "Carry",
    "Chain",
    "Place",
    "Signature",
    "Stage",
    "arguments",
    "check",
    "close",
    "cut",
    "describe",
    "device_of",
    "evaluating",
    "first_tensor",
    "inspect",
    "map_tensors",
    "names_at",
]
