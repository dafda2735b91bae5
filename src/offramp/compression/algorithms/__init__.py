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

__all__ = ["ALGORITHMS", "Algorithm", "Compressor", "Stage", "Statistics", "Workshop", "register"]
