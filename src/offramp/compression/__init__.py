"""Accuracy-aware compression: algorithms that make a model smaller, and loops that train until the accuracy holds."""

from offramp.compression.algorithms import ALGORITHMS, Algorithm, Compressor, Stage, Statistics
from offramp.compression.compressing import compress
from offramp.compression.configuration import Configuration
from offramp.compression.controller import CompressionStatistics, Controller
from offramp.compression.creation import (
    AccuracyAwareTrainingLoop,
    create_accuracy_aware_training_loop,
    create_compressed_model,
)
from offramp.compression.deployed import BudgetedAccuracy, DeployedAccuracy
from offramp.compression.loops import LOOPS, AdaptiveCompressionLevel, EarlyExit, Loop, RateSearch, Stop
from offramp.compression.outcome import Interrupted, LoopStatistics, Outcome, Record
from offramp.compression.reading import ConfigurationError
from offramp.compression.sizes import Shrinking, Size
from offramp.compression.tolerance import DivergedError
from offramp.compression.trainer import Trainer

__all__ = [
    "ALGORITHMS",
    "LOOPS",
    "AccuracyAwareTrainingLoop",
    "AdaptiveCompressionLevel",
    "Algorithm",
    "BudgetedAccuracy",
    "CompressionStatistics",
    "Compressor",
    "Configuration",
    "ConfigurationError",
    "Controller",
    "DeployedAccuracy",
    "DivergedError",
    "EarlyExit",
    "Interrupted",
    "Loop",
    "LoopStatistics",
    "Outcome",
    "RateSearch",
    "Record",
    "Shrinking",
    "Size",
    "Stage",
    "Statistics",
    "Stop",
    "Trainer",
    "compress",
    "create_accuracy_aware_training_loop",
    "create_compressed_model",
]
