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
from offramp.compression.algorithms.const_sparsity import ConstSparsity
from offramp.compression.algorithms.filter_pruning import FilterPruning
from offramp.compression.algorithms.knowledge_distillation import KnowledgeDistillation
from offramp.compression.algorithms.magnitude_sparsity import MagnitudeSparsity

__all__ = [
    "ALGORITHMS",
    "Algorithm",
    "Compressor",
    "ConstSparsity",
    "FilterPruning",
    "KnowledgeDistillation",
    "MagnitudeSparsity",
    "Stage",
    "Statistics",
    "Workshop",
    "register",
]
