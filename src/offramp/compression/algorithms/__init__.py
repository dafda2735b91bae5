"""Compression algorithms: a file each; import it below, and configurations know it by its name."""

from offramp.compression.algorithms.algorithm import (
    ALGORITHMS,
    Algorithm,
    Compressor,
    Stage,
    Statistics,
    Workshop,
    register,
)
from offramp.compression.algorithms.binarization import Binarization
from offramp.compression.algorithms.const_sparsity import ConstSparsity
from offramp.compression.algorithms.filter_pruning import FilterPruning
from offramp.compression.algorithms.knowledge_distillation import KnowledgeDistillation
from offramp.compression.algorithms.low_rank import LowRank
from offramp.compression.algorithms.magnitude_sparsity import MagnitudeSparsity
from offramp.compression.algorithms.movement_sparsity import MovementSparsity
from offramp.compression.algorithms.quantization import Quantization
from offramp.compression.algorithms.rb_sparsity import RbSparsity

__all__ = [
    "ALGORITHMS",
    "Algorithm",
    "Binarization",
    "Compressor",
    "ConstSparsity",
    "FilterPruning",
    "KnowledgeDistillation",
    "LowRank",
    "MagnitudeSparsity",
    "MovementSparsity",
    "Quantization",
    "RbSparsity",
    "Stage",
    "Statistics",
    "Workshop",
    "register",
]
