"""Figures of exits and policies: accuracy, drop and harm, calibration error, failure prediction, overthinking.

Pure functions of logits and labels, of a `Recording`, or of `Decisions`. What nobody took is None (n/a), never 0.
"""

from offramp.metrics.failure import ExitQuality, auroc, exit_quality
from offramp.metrics.intervals import paired_difference, wilson
from offramp.metrics.overthinking import Overthinking, overthinking
from offramp.metrics.policies import ExitRow, accuracy_per_exit, drop, exit_rows, harm, paired_counts
from offramp.metrics.probabilities import BINS, ReliabilityBin, brier, ece, nll, reliability

__all__ = [
    "BINS",
    "ExitQuality",
    "ExitRow",
    "Overthinking",
    "ReliabilityBin",
    "accuracy_per_exit",
    "auroc",
    "brier",
    "drop",
    "ece",
    "exit_quality",
    "exit_rows",
    "harm",
    "nll",
    "overthinking",
    "paired_counts",
    "paired_difference",
    "reliability",
    "wilson",
]
