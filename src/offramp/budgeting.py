"""Hard budgets: for a whole set of samples (budgeted batch), and for one sample when its time runs out (anytime).

A goal such as `MACBudget` chooses thresholds whose *mean* cost keeps a budget. Here a budget is never exceeded,
whatever the samples are.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from offramp.cost import Cost
from offramp.decisions import Decisions
from offramp.errors import CalibrationError
from offramp.policy import NEVER, Policy
from offramp.recording import Recording


def by_deadline(policy: Policy, cost: Cost, deadline: float) -> Policy:
    """The policy that answers in time: what has not left by the last exit that fits the deadline leaves there.

    Args:
        policy: with a threshold per early exit; its choice of exits before the deadline stays.
        cost: of the exits, in MACs (`recording.cost`) or seconds (`offramp.exit_times(...).cost`).
        deadline: most that any sample may cost, in the unit of `cost`.

    Raises:
        CalibrationError: not even the first exit fits.
        PolicyError: the policy is for another number of exits.

    Example:
        >>> from offramp.criteria import Margin
        >>> cost = Cost(macs=(10.0, 20.0, 40.0), head_macs=(1.0, 1.0))
        >>> by_deadline(Policy(Margin(), [0.9, 0.8]), cost, deadline=25).thresholds
        (0.9, -inf)
    """
    thresholds = policy.thresholds_for(len(cost.macs) - 1)
    for exit in reversed(range(len(cost.macs))):
        forced = [*thresholds[:exit], *([-NEVER] if exit < len(thresholds) else [])]
        forced += [NEVER] * (len(thresholds) - len(forced))
        limited = Policy(policy.criterion, forced, policy.temperatures)
        if float(cost.under(limited.heads_needed(len(thresholds)))[exit]) <= deadline:
            return limited
    raise CalibrationError(
        f"by_deadline(deadline={deadline:g}): the first exit alone costs {cost.macs[0]:g}. Allow that much, or attach "
        "an earlier exit."
    )


def within_total(recording: Recording, policy: Policy, total: float, cost: Cost | None = None) -> Decisions:
    """Answers for a whole set within a total budget, without labels.

    The set goes through the network exit by exit. Those whose score is above the threshold leave, as `simulate` has it;
    if the rest cannot all afford the next exit, the least sure go on, as many as the budget allows, and the others
    answer where they are.

    Args:
        recording: of the set; labels are not read.
        policy: with a threshold per early exit.
        total: budget of all samples together, in the unit of `cost`.
        cost: of the exits; by default the recording's MACs.

    Returns:
        Decisions whose costs sum to at most `total`.

    Raises:
        CalibrationError: the first open exit alone costs more.
        PolicyError: the policy is for another number of exits.

    Source: the budgeted batch setting of MSDNet (Huang et al. 2018), section 3; there the thresholds alone keep the
    budget, in expectation.
    """
    early = recording.exits - 1
    thresholds = policy.thresholds_for(early)
    stops = [*(k for k in range(early) if thresholds[k] < NEVER), early]
    costs = (cost or recording.cost).under(policy.heads_needed(early))
    exits = torch.full((recording.samples,), stops[0])
    left = total - float(costs[stops[0]]) * recording.samples
    if left < 0:
        raise CalibrationError(
            f"within_total(total={total:g}): {recording.samples} samples cost {total - left:g} at exit {stops[0]} "
            "already. Raise the budget, or open an earlier exit."
        )
    for here, following in itertools.pairwise(stops):
        price = float(costs[following] - costs[here])
        going = _going(recording, policy, here, thresholds[here], exits == here)
        affordable = len(going) if price <= 0 else min(len(going), int(left / price))
        exits[going[:affordable]] = following
        left -= affordable * price
    logits = recording.answers(policy)[exits, torch.arange(recording.samples)]
    macs = recording.costs(policy)[exits]
    return Decisions(logits, exits, recording.exits, macs, policy.levels(logits, exits))


def _going(recording: Recording, policy: Policy, exit: int, threshold: float, here: Tensor) -> Tensor:
    """Indices of the samples here that do not leave by their score, the least sure first."""
    score = policy.score(exit, recording.logits[exit], recording.logits[:exit].unbind())
    rows = (here & ~(score > threshold)).nonzero().flatten()
    return rows[score[rows].nan_to_num(nan=-NEVER).argsort(stable=True)]
