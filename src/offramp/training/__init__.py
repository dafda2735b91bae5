"""Training on accelerate: one loop for every regime, device and number of processes. See `fit`."""

from offramp.training.callbacks import Callback, Moment
from offramp.training.fitting import fit
from offramp.training.guard import FinalExitCheck, check_final_exit
from offramp.training.history import EpochRow, History, Scores
from offramp.training.options import TrainingOptions

__all__ = [
    "Callback",
    "EpochRow",
    "FinalExitCheck",
    "History",
    "Moment",
    "Scores",
    "TrainingOptions",
    "check_final_exit",
    "fit",
]
