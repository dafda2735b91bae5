"""How a policy is chosen from a recording, with or without a finite-sample certificate.

`calibrate` reads the goal and calls one of the calibrators: `empirical` (the frontier over per-exit thresholds) or
`learn_then_test` (a certified accuracy drop). The rest is what they share: `scoring`, `curves`, `pareto` and `search`
for the frontier, `drop_tests` for the certificate, `temperature`, and `outcome` for what comes back.
"""

from offramp.calibrators.choosing import calibrate
from offramp.calibrators.empirical import FrontierPoint, frontier
from offramp.calibrators.outcome import Calibrated, Evidence, Infeasible, Outcome
from offramp.calibrators.temperature import fit_temperatures

__all__ = [
    "Calibrated",
    "Evidence",
    "FrontierPoint",
    "Infeasible",
    "Outcome",
    "calibrate",
    "fit_temperatures",
    "frontier",
]
