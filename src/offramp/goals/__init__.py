"""What a calibration is for: a goal says which policies it allows, which of those it prefers, and with what risk.

A goal without `delta` is judged on the calibration samples themselves (empirical). A goal with `delta` asks for a
finite-sample certificate: with probability at least `1 - delta` over the calibration samples, it holds for new ones.

| goal | keeps small | labels | certificate |
|---|---|---|---|
| `AccuracyDrop` | mean cost, within a drop of accuracy (points, or relative) | yes | drop tests |
| `Agreement` | mean cost, answering as the full network does | no | binomial test |
| `ClassDrop` | mean cost, within a drop in every class | yes | drop tests, all classes at once |
| `WorstDecileHarm` | mean cost, within a harm in every tenth of the samples | yes | binomial, all tenths at once |
| `ExpectedHarm` | mean cost, within a harm on average over calibrations | yes | conformal risk control: the mean only |
| `MACBudget` | errors, within mean MACs | yes | betting on the mean |
| `LatencyBudget` | errors, within a mean measured time | yes | betting on the mean |

To add one: a file with a frozen dataclass derived from `Goal` (or `LossGoal`, `BudgetGoal`), and an import below.
"""

from offramp.goals.accuracy_drop import AccuracyDrop
from offramp.goals.agreement import Agreement
from offramp.goals.budget_goal import BudgetGoal
from offramp.goals.class_drop import ClassDrop
from offramp.goals.expected_harm import ExpectedHarm
from offramp.goals.goal import GOALS, Figures, Goal, goal_from_dict, register
from offramp.goals.latency_budget import LatencyBudget
from offramp.goals.loss_goal import DropTest, LossGoal
from offramp.goals.mac_budget import MACBudget
from offramp.goals.worst_decile_harm import WorstDecileHarm

__all__ = [
    "GOALS",
    "AccuracyDrop",
    "Agreement",
    "BudgetGoal",
    "ClassDrop",
    "DropTest",
    "ExpectedHarm",
    "Figures",
    "Goal",
    "LatencyBudget",
    "LossGoal",
    "MACBudget",
    "WorstDecileHarm",
    "goal_from_dict",
    "register",
]
