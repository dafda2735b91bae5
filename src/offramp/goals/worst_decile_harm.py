"""A ceiling on the harm to any tenth of the samples, from those the full network finds easy to those it finds hard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from offramp.errors import CalibrationError
from offramp.goals.goal import register
from offramp.goals.loss_goal import Groups, LossGoal
from offramp.recording import Recording

DECILES = 10


@register
@dataclass(frozen=True)
class WorstDecileHarm(LossGoal):
    """The least mean MACs at which every tenth of the samples is harmed on at most `points` of its samples.

    Samples are ordered by the full network's largest probability and cut into ten equal parts. Harm is
    `P(policy wrong, full right)` within a part: the worst part's must not exceed `points`.

    For a certificate the nine values between the parts come from the tuning recording, so that they do not depend on
    the certified samples; each part is tested at level delta, see `ClassDrop`.

    Args:
        points: largest harm in any tenth, a share of its samples in [0, 1).
        delta: None judges it on the calibration samples; a number in (0, 1) asks for a certificate.

    Raises:
        CalibrationError: a parameter is out of range.

    Example:
        >>> WorstDecileHarm(0.05).describe()
        'harm of at most 5 % in every tenth of the samples, judged on the calibration samples'
    """

    name: ClassVar[str] = "worst_decile_harm"
    harm_only: ClassVar[bool] = True

    points: float
    delta: float | None = None

    def __post_init__(self) -> None:
        self._check_points(self.points)

    def bound(self, plain_accuracy: float) -> float:
        """See `LossGoal.bound`."""
        return self.points

    def groups(self, recording: Recording, tuning: Recording | None) -> Groups:
        """Tenths by the full network's confidence.

        Raises:
            CalibrationError: a certificate is asked for, and there is no tuning recording to take the limits from.
        """
        if self.delta is not None and tuning is None:
            raise CalibrationError(
                f"{self!r}: the limits of the tenths must not come from the certified samples. Give another recording "
                "as tuning=, e.g. of the validation split."
            )
        limits = _confidence(tuning or recording).quantile(torch.arange(1, DECILES).double() / DECILES)
        names = tuple(f"tenth {i + 1} of {DECILES} by the full network's confidence" for i in range(DECILES))
        return Groups(torch.bucketize(_confidence(recording), limits), names)

    def describe(self) -> str:
        """See `Goal.describe`."""
        return f"harm of at most {100 * self.points:g} % in every tenth of the samples, {self._risk()}"

    def promise(self) -> str:
        """See `Goal.promise`."""
        return (
            f"in no tenth of new samples more than {100 * self.points:g} % are answered wrongly where the plain "
            "network is right"
        )


def _confidence(recording: Recording) -> Tensor:
    return recording.logits[-1].double().softmax(dim=-1).amax(dim=-1)
