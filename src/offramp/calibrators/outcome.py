"""What a calibration ends with: a policy and its evidence, or the best there is and why it is not enough."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, NoReturn

from offramp.calibrators.scoring import ScoreTable
from offramp.errors import InfeasibleError
from offramp.goals import Goal
from offramp.policy import Policy
from offramp.recording import simulate

EXCHANGEABLE = (
    "calibration and deployment samples are exchangeable: independent draws from one distribution, none of them used "
    "to train the model or to choose the temperatures"
)


@dataclass(frozen=True)
class Evidence:
    """Figures of a policy on the calibration samples, and what they were held against.

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
        mean_macs: per sample, heads included.
        plain_macs: of the network without exits or heads.
        macs_share: `mean_macs / plain_macs`.
        shares: `[exits]`, share of the samples that left at each exit.
        delta: probability with which the certificate may be wrong; None without a certificate.
        p_value: of the hypothesis that this policy misses the goal; None without a certificate.
        tested: number of policies tested one after the other; None without a certificate.
        certified: how many of them passed; None without a certificate.
        assumption: what the certificate rests on; None without a certificate.
    """

    goal: dict[str, Any]
    method: str
    samples: int
    split: str | None
    temperatures_from: str
    accuracy: float
    plain_accuracy: float
    drop: float
    worse: int
    better: int
    mean_macs: float
    plain_macs: float
    macs_share: float
    shares: tuple[float, ...]
    delta: float | None = None
    p_value: float | None = None
    tested: int | None = None
    certified: int | None = None
    assumption: str | None = None

    @property
    def harm(self) -> int:
        """Number of samples that the policy gets wrong and the plain network right; the same as `worse`."""
        return self.worse

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**asdict(self), "shares": list(self.shares)}

    def describe(self) -> str:
        """The figures in one sentence."""
        return (
            f"accuracy {100 * self.accuracy:.2f} % (drop {100 * self.drop:+.2f} points) at {self.macs_share:.3f} of "
            f"the plain network's MACs on {self.samples} samples"
        )


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
    right = decisions.predictions.numpy() == recording.required_labels.numpy()
    plain = table.plain_correct
    split = recording.meta.get("split")
    return Evidence(
        goal=goal.to_dict(),
        method=method,
        samples=table.samples,
        split=None if split is None else str(split),
        temperatures_from=temperatures_from,
        accuracy=float(right.mean()),
        plain_accuracy=float(plain.mean()),
        drop=(int(plain.sum()) - int(right.sum())) / table.samples,
        worse=int((plain & ~right).sum()),
        better=int((right & ~plain).sum()),
        mean_macs=decisions.mean_macs,
        plain_macs=recording.plain_macs,
        macs_share=decisions.mean_macs / recording.plain_macs,
        shares=tuple(decisions.shares.tolist()),
        **certificate,
    )
