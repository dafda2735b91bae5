"""Training on accelerate: one loop for every regime, device and number of processes. See `fit`."""

from offramp.training.callbacks import Callback, Moment
from offramp.training.fitting import fit
from offramp.training.history import EpochRow, History, Scores
from offramp.training.options import TrainingOptions

__all__ = ["Callback", "EpochRow", "History", "Moment", "Scores", "TrainingOptions", "fit"]
