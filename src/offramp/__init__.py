"""offramp: early exits for PyTorch models that are really taken, with a stated risk.

The way of the data: `attach` exits to a model, `fit` them, `record` a calibration split, `calibrate` a policy,
`deploy` it. Names are imported on first use, so that `import offramp` does not load torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "attach": "offramp.exit_model",
    "ExitModel": "offramp.exit_model",
    "inspect": "offramp.backbones",
    "propose": "offramp.proposal",
    "Proposal": "offramp.proposal",
    "Policy": "offramp.policy",
    "always": "offramp.policy",
    "cascade": "offramp.cascading",
    "Decisions": "offramp.decisions",
    "Hierarchy": "offramp.hierarchies",
    "Recording": "offramp.recording",
    "record": "offramp.recording",
    "simulate": "offramp.recording",
    "train_class_thresholds": "offramp.gates",
    "train_ensemble": "offramp.gates",
    "train_gates": "offramp.gates",
    "train_schedule": "offramp.gates",
    "fit": "offramp.training",
    "History": "offramp.training",
    "calibrate": "offramp.calibrators",
    "Calibrated": "offramp.calibrators",
    "Infeasible": "offramp.calibrators",
    "frontier": "offramp.calibrators",
    "compress": "offramp.compression",
    "deploy": "offramp.runtimes",
    "exit_times": "offramp.runtimes.exit_times",
    "advise": "offramp.advice",
    "Advice": "offramp.advice",
    "by_deadline": "offramp.budgeting",
    "within_total": "offramp.budgeting",
    "export": "offramp.exporters",
    "load_bundle": "offramp.exporters",
    "verdict": "offramp.verdicts",
    "Verdict": "offramp.verdicts",
}
_MODULES = ("compression", "criteria", "errors", "goals", "heads", "metrics", "regimes", "training")

if TYPE_CHECKING:
    from offramp import compression, criteria, errors, goals, heads, metrics, regimes, training
    from offramp.advice import Advice, advise
    from offramp.backbones import inspect
    from offramp.budgeting import by_deadline, within_total
    from offramp.calibrators import Calibrated, Infeasible, calibrate, frontier
    from offramp.cascading import cascade
    from offramp.compression import compress
    from offramp.decisions import Decisions
    from offramp.exit_model import ExitModel, attach
    from offramp.exporters import export, load_bundle
    from offramp.gates import train_class_thresholds, train_ensemble, train_gates, train_schedule
    from offramp.hierarchies import Hierarchy
    from offramp.policy import Policy, always
    from offramp.proposal import Proposal, propose
    from offramp.recording import Recording, record, simulate
    from offramp.runtimes import deploy
    from offramp.runtimes.exit_times import exit_times
    from offramp.training import History, fit
    from offramp.verdicts import Verdict, verdict

__all__ = [
    "Advice",
    "Calibrated",
    "Decisions",
    "ExitModel",
    "Hierarchy",
    "History",
    "Infeasible",
    "Policy",
    "Proposal",
    "Recording",
    "Verdict",
    "advise",
    "always",
    "attach",
    "by_deadline",
    "calibrate",
    "cascade",
    "compress",
    "compression",
    "criteria",
    "deploy",
    "errors",
    "exit_times",
    "export",
    "fit",
    "frontier",
    "goals",
    "heads",
    "inspect",
    "load_bundle",
    "metrics",
    "propose",
    "record",
    "regimes",
    "simulate",
    "train_class_thresholds",
    "train_ensemble",
    "train_gates",
    "train_schedule",
    "training",
    "verdict",
    "within_total",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"offramp.{name}")
    raise AttributeError(f"module 'offramp' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
