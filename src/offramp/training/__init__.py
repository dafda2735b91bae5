"""Training on accelerate: one loop for every regime, device and number of processes. See `fit`."""

from offramp.training.fitting import fit
from offramp.training.history import EpochRow, History, Scores
from offramp.training.options import TrainingOptions

__all__ = ["EpochRow", "History", "Scores", "TrainingOptions", "fit"]
