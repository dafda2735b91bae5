"""A schedule for a budget: gates and thresholds learned together, so that the budget goes where it helps most.

Every row leaves exit k with the probability `sigmoid((g_k - t_k) / TAU)`, `g_k` the gate's log-odds. The gates and the
thresholds maximise the expected agreement with the last exit, less a penalty on expected costs above the budget. What
share of the rows left where becomes the schedule; thresholds then let the surest rows leave in these shares, and are
moved together until the costs on the recording keep to the budget.

Source: the idea, scores and exit shares learned jointly under a budget, is EENet's (Ilhan et al. 2024). Differs from it
in the loss, which is the expectation itself, and in the features, which are those of `train_gates`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from offramp.criteria import PerExit
from offramp.errors import CalibrationError
from offramp.gates.lessons import Lessons, check_recording
from offramp.gates.network import Network, likelihood_loss
from offramp.policy import NEVER, Policy
from offramp.recording import Recording, simulate

TAU = 0.5
STEPS = 400
RATE = 0.05
PENALTY = 20.0
HALVINGS = 40


def train_schedule(
    recording: Recording,
    budget: float,
    *,
    hidden: int = 0,
    top: int | None = None,
    temperatures: Sequence[float] | None = None,
    seed: int = 0,
) -> Policy:
    """Learns gates and thresholds for a budget of MACs per sample; it needs no labels.

    The budget is kept on this recording; what it costs elsewhere, and how accurate it is, `simulate` tells on another.

    Args:
        recording: of held-out samples.
        budget: mean MACs per sample, heads included.
        hidden: width of the gates' hidden layer; 0 for a logistic regression.
        top: how many probabilities the gates read; None as for `train_gates`.
        temperatures: of the policy, one per early exit; None means 1.
        seed: of the initial weights.

    Raises:
        CalibrationError: the budget is below the cost of the first exit, or as for `train_gates`.
    """
    check_recording(recording, "train_schedule")
    costs = torch.tensor(recording.macs, dtype=torch.float64)
    if not budget >= float(costs[0]):
        raise CalibrationError(
            f"train_schedule(budget={budget:g}): leaving at the first exit already costs {float(costs[0]):g} MACs per "
            "sample. Raise the budget, or attach an earlier exit."
        )
    lessons = Lessons.of(recording, top, temperatures)
    learner = _Learner.fresh(lessons, hidden, seed)
    shares = learner.learn(lessons, costs, budget)
    gates = PerExit(tuple(network.gate(lessons.classes, lessons.top) for network in learner.networks))
    return _within(recording, Policy(gates, [0.0] * len(gates.members), temperatures), shares, budget)


@dataclass(frozen=True, eq=False)
class _Learner:
    networks: tuple[Network, ...]
    thresholds: Tensor

    @classmethod
    def fresh(cls, lessons: Lessons, hidden: int, seed: int) -> _Learner:
        networks = tuple(Network.fresh(features, hidden, seed + k) for k, features in enumerate(lessons.features))
        return cls(networks, torch.zeros(len(networks), dtype=torch.float64, requires_grad=True))

    @torch.enable_grad()
    def learn(self, lessons: Lessons, costs: Tensor, budget: float) -> Tensor:
        """Shares `[exits]` of the rows that leave at each exit when all is learned."""
        parameters = [self.thresholds, *(p for network in self.networks for p in network.parameters)]
        optimizer = torch.optim.Adam(parameters, lr=RATE)
        for _ in range(STEPS):
            optimizer.zero_grad()
            torch.autograd.backward(self._loss(lessons, costs, budget))
            optimizer.step()
        return self._leaving(self._scores(lessons)).mean(dim=1).detach()

    def _loss(self, lessons: Lessons, costs: Tensor, budget: float) -> Tensor:
        scores = self._scores(lessons)
        leaving = self._leaving(scores)
        agreement = (leaving[:-1] * lessons.agrees).sum(dim=0).mean() + leaving[-1].mean()
        above = ((leaving.mean(dim=1) @ costs) / budget - 1).clamp_min(0.0)
        penalties = torch.stack([network.penalty() for network in self.networks]).sum()
        # The gates keep to what they predict, so that scores mean the same with and without a schedule.
        return likelihood_loss(scores.flatten(), lessons.agrees.flatten()) - agreement + PENALTY * above + penalties

    def _scores(self, lessons: Lessons) -> Tensor:
        return torch.stack([network(x) for network, x in zip(self.networks, lessons.features, strict=True)])

    def _leaving(self, scores: Tensor) -> Tensor:
        """Probability `[exits, n]` of leaving at each exit."""
        here = ((scores - self.thresholds[:, None]) / TAU).sigmoid()
        staying = torch.cat([torch.ones_like(here[:1]), (1 - here).cumprod(dim=0)])
        return torch.cat([here * staying[:-1], staying[-1:]])


def _within(recording: Recording, policy: Policy, shares: Tensor, budget: float) -> Policy:
    """The policy by which the surest leave in these shares, all of them earlier or later until the budget is kept."""

    def costing(power: float) -> tuple[Policy, float]:
        scheduled = _scheduled(recording, policy, shares, power)
        return scheduled, simulate(recording, scheduled).mean_macs

    low, high = 1e-3, 1e3
    for _ in range(HALVINGS):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if costing(middle)[1] > budget else (low, middle)
    found, cost = costing(high)
    if cost <= budget:
        return found
    # A schedule that leaves the first exit to nobody cannot be cheap enough; the first exit alone is.
    return Policy(policy.criterion, [-NEVER] + [NEVER] * (len(policy.thresholds) - 1), policy.temperatures)


def _scheduled(recording: Recording, policy: Policy, shares: Tensor, power: float) -> Policy:
    """Lets the share `1 - (1 - rate)^power` of the rows arriving at an exit leave, `rate` the schedule's."""
    inside = torch.arange(recording.samples)
    thresholds: list[float] = []
    for k in range(recording.exits - 1):
        rate = float(shares[k] / shares[k:].sum().clamp_min(1e-12))
        scores = policy.score(k, recording.logits[k, inside])
        thresholds.append(_threshold(scores, round((1 - (1 - min(rate, 1 - 1e-9)) ** power) * len(inside))))
        inside = inside[~(scores > thresholds[-1])]
    return Policy(policy.criterion, thresholds, policy.temperatures)


def _threshold(scores: Tensor, leaving: int) -> float:
    """Between the last row that leaves and the first that stays; closed, or open to all, where there is no other."""
    if leaving == 0:
        return NEVER
    if leaving >= len(scores):
        return -NEVER
    ordered = scores.double().sort(descending=True).values
    return float((ordered[leaving - 1] + ordered[leaving]) / 2)
