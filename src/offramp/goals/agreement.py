"""A goal that needs no labels: answer as the full network does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from offramp.errors import CalibrationError
from offramp.goals.goal import register
from offramp.goals.loss_goal import LossGoal
from offramp.recording import Recording


@register
@dataclass(frozen=True)
class Agreement(LossGoal):
    """The least mean MACs at which the policy answers as the full network does on a share of the samples.

    The full network's answers take the place of the labels, so recordings without labels will do. Agreement bounds
    the drop as well: accuracy falls by at most `1 - share`, whatever the labels are.

    Args:
        share: least share of samples with the same answer, in (0, 1].
        delta: None judges it on the calibration samples; a number in (0, 1) asks for a certificate, by the exact
            binomial test.

    Raises:
        CalibrationError: a parameter is out of range.

    Example:
        >>> Agreement(0.98).describe()
        'agreement with the full network of at least 98 %, judged on the calibration samples'
    """

    name: ClassVar[str] = "agreement"
    harm_only: ClassVar[bool] = True

    share: float
    delta: float | None = None

    def __post_init__(self) -> None:
        self._check_number("share", self.share)
        if not 0 < self.share <= 1:
            raise CalibrationError(
                f"Agreement(share={self.share}) must lie in (0, 1]: the least share of samples that get the full "
                "network's answer, e.g. 0.99."
            )
        self._check_delta()

    def truth(self, recording: Recording) -> Tensor:
        """The full network's answers."""
        return recording.logits[-1].argmax(dim=-1)

    def bound(self, plain_accuracy: float) -> float:
        """See `LossGoal.bound`."""
        # 1 - 0.99 is a little more than 0.01 in floats; the share is what was asked for.
        return round(1 - self.share, 12)

    def describe(self) -> str:
        """See `Goal.describe`."""
        return f"agreement with the full network of at least {100 * self.share:g} %, {self._risk()}"

    def promise(self) -> str:
        """See `Goal.promise`."""
        return f"at least {100 * self.share:g} % of new samples get the plain network's answer"
