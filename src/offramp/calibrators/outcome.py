"""What a calibration ends with: a policy and its evidence, or the best there is and why it is not enough."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, NoReturn

from offramp.calibrators.scoring import ScoreTable
from offramp.decisions import Decisions
from offramp.errors import InfeasibleError
from offramp.goals import Goal, LatencyBudget
from offramp.metrics import paired_counts
from offramp.policy import Policy
from offramp.recording import Recording, simulate

EXCHANGEABLE = (
    "calibration and deployment samples are exchangeable: independent draws from one distribution, none of them used "
    "to train the model or to choose the temperatures"
)


@dataclass(frozen=True)
class Evidence:
    """Figures of a policy on the calibration samples, and what they were held against.

    What labels are needed for is None where the recording has none.

    Attributes:
        goal: the goal's name and parameters.
        method: how the policy was chosen.
        samples: number of calibration samples.
        split: name of the split they come from, where the recording says it.
        temperatures_from: where the temperatures come from.
        accuracy: of the policy.
        plain_accuracy: of the network without exits.
        drop: `plain_accuracy - accuracy`, a share; positive where the policy is worse.
        worse: number of samples that only the plain network gets right (harm).
        better: number of samples that only the policy gets right.
        agreement: share of samples on which policy and plain network answer alike.
        mean_macs: per sample, heads included.
        plain_macs: of the network without exits or heads.
        macs_share: `mean_macs / plain_macs`.
        shares: `[exits]`, share of the samples that left at each exit.
        delta: probability with which the certificate may be wrong; None without a certificate.
        p_value: of the hypothesis that this policy misses the goal; None without a certificate.
        tested: number of policies tested one after the other; None without a certificate.
        certified: how many of them passed; None without a certificate.
        assumption: what the certificate rests on; None without a certificate.
        mean_seconds: measured time per sample by exit taken, on average; None where the goal is no time.
        plain_seconds: the same of the network without exits or heads.
        caution: what the figures do not say; None with a certificate.
    """

    goal: dict[str, Any]
    method: str
    samples: int
    split: str | None
    temperatures_from: str
    accuracy: float | None
    plain_accuracy: float | None
    drop: float | None
    worse: int | None
    better: int | None
    agreement: float
    mean_macs: float
    plain_macs: float
    macs_share: float
    shares: tuple[float, ...]
    delta: float | None = None
    p_value: float | None = None
    tested: int | None = None
    certified: int | None = None
    assumption: str | None = None
    mean_seconds: float | None = None
    plain_seconds: float | None = None
    caution: str | None = None

    @property
    def harm(self) -> int | None:
        """Number of samples that the policy gets wrong and the plain network right; the same as `worse`."""
        return self.worse

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**asdict(self), "shares": list(self.shares)}

    def describe(self) -> str:
        """The figures in one sentence."""
        if self.accuracy is None or self.drop is None:
            gain = f"agreement with the full network {100 * self.agreement:.2f} %"
        else:
            gain = f"accuracy {100 * self.accuracy:.2f} % (drop {100 * self.drop:+.2f} points)"
        time = ""
        if self.mean_seconds is not None and self.plain_seconds is not None:
            time = f" and {self.mean_seconds / self.plain_seconds:.3f} of its measured time"
        return f"{gain} at {self.macs_share:.3f} of the plain network's MACs{time} on {self.samples} samples"


@dataclass(frozen=True)
class Calibrated:
    """The goal is reached.

    Attributes:
        policy: what to deploy.
        evidence: its figures on the calibration samples.
    """

    feasible: ClassVar[bool] = True

    policy: Policy
    evidence: Evidence

    def unwrap(self) -> Policy:
        """The policy."""
        return self.policy

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"feasible": True, "policy": self.policy.to_dict(), "evidence": self.evidence.to_dict()}


@dataclass(frozen=True)
class Infeasible:
    """No policy reaches the goal, or none can be shown to.

    Attributes:
        reason: why, with the figures and what would help.
        best: the best policy there is.
        evidence: its figures on the calibration samples.
    """

    feasible: ClassVar[bool] = False

    reason: str
    best: Policy
    evidence: Evidence

    def unwrap(self) -> NoReturn:
        """There is no policy to give.

        Raises:
            InfeasibleError: always, with the reason and the best there is.
        """
        thresholds = ", ".join(f"{t:.4g}" for t in self.best.thresholds)
        raise InfeasibleError(
            f"{self.reason} The best there is: {self.evidence.describe()}, thresholds [{thresholds}]; it is the "
            "attribute `best` of the result."
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        evidence = self.evidence.to_dict()
        return {"feasible": False, "reason": self.reason, "best": self.best.to_dict(), "evidence": evidence}


Outcome = Calibrated | Infeasible


def gather_evidence(
    table: ScoreTable, policy: Policy, goal: Goal, method: str, temperatures_from: str, **certificate: Any
) -> Evidence:
    """Evidence for a policy from `simulate` on the recording itself, whatever a search believed of it."""
    recording = table.recording
    decisions = simulate(recording, policy)
    split = recording.meta.get("split")
    return Evidence(
        goal=goal.to_dict(),
        method=method,
        samples=table.samples,
        split=None if split is None else str(split),
        temperatures_from=temperatures_from,
        **_labelled(recording, decisions),
        agreement=float((decisions.predictions == recording.logits[-1].argmax(dim=-1)).double().mean()),
        mean_macs=decisions.mean_macs,
        plain_macs=recording.plain_macs,
        macs_share=decisions.mean_macs / recording.plain_macs,
        shares=tuple(decisions.shares.tolist()),
        **_timed(table, policy, goal, decisions),
        **certificate,
    )


def _labelled(recording: Recording, decisions: Decisions) -> dict[str, Any]:
    if recording.labels is None:
        return dict.fromkeys(("accuracy", "plain_accuracy", "drop", "worse", "better"))
    worse, better = paired_counts(decisions, recording)
    return {
        "accuracy": decisions.accuracy(recording.labels),
        "plain_accuracy": float((recording.logits[-1].argmax(dim=-1) == recording.labels).double().mean()),
        "drop": (worse - better) / recording.samples,
        "worse": worse,
        "better": better,
    }


def _timed(table: ScoreTable, policy: Policy, goal: Goal, decisions: Decisions) -> dict[str, Any]:
    if not isinstance(goal, LatencyBudget):
        return {}
    seconds = table.costs(policy.thresholds_for(table.early))[decisions.exits.numpy()]
    return {"mean_seconds": float(seconds.mean()), "plain_seconds": table.cost.plain}
