"""Criteria that are learned from a recording: gates, ensembles' weights, thresholds per class, schedules for a budget.

Train them on held-out samples that are neither the training split, where all exits agree too well, nor those on which
the policy is then calibrated, nor the test split, which is refused where a recording says that it is one.
"""

from offramp.gates.agreement import train_gates
from offramp.gates.class_thresholds import train_class_thresholds
from offramp.gates.ensemble import train_ensemble
from offramp.gates.schedule import train_schedule

__all__ = ["train_class_thresholds", "train_ensemble", "train_gates", "train_schedule"]
