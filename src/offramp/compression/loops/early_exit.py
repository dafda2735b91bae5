"""Train until the accuracy holds, and not one epoch longer; the compression follows its own schedule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from offramp.compression.loops.limits import Bounds, Loop, register
from offramp.compression.loops.projection import hopeless
from offramp.compression.loops.search import AS_IT_IS, Evaluate, Evaluation, Move, Stop, better
from offramp.compression.settings import setting


@register
@dataclass(frozen=True, kw_only=True)
class EarlyExit(Loop):
    """Validates after initialisation and after every epoch, and ends as soon as the metric holds.

    Args:
        stop_when_hopeless: also end where, at the pace of the last epochs, the metric cannot hold in the epochs left.
            It is said in either case.

    Source: NNCF 2.19, mode `early_exit`. Differs in that the best epoch is looked for among the fully compressed
    ones only, in the order of saving as well as of loading.
    """

    stop_when_hopeless: bool = setting(False)

    def search(self, evaluate: Evaluate, bounds: Bounds) -> Stop:
        """Trains epoch by epoch; `bounds` do not matter, as it sets no rate."""
        return train_until_it_holds(
            evaluate, self.maximal_total_epochs, self.validate_every_n_epochs, self.stop_when_hopeless
        ).stop

    def prefers(self, one: Evaluation, other: Evaluation | None) -> bool:
        """The most accurate."""
        return better(one, other)


class Phase(NamedTuple):
    """What a stretch of training came to.

    Attributes:
        stop: why it ended.
        last: the latest evaluation that validated.
        best: the best one; None where no model was fully compressed.
    """

    stop: Stop
    last: Evaluation
    best: Evaluation | None


Prefers = Callable[[Evaluation, Evaluation | None], bool]


def train_until_it_holds(
    evaluate: Evaluate, epochs: int, every: int = 1, give_up: bool = False, prefers: Prefers = better
) -> Phase:
    """The loop itself.

    Args:
        evaluate: makes a move.
        epochs: trained at most; 0 only looks at the model as it is.
        every: epochs between two validations.
        give_up: whether to end where there is no hope.
        prefers: what makes a model the best.
    """
    now = evaluate(AS_IT_IS)
    best = now if prefers(now, None) else None
    budgets = [now.budget] if now.full else []
    for done in range(1, epochs + 1):
        if now.holds:
            break
        look = done % every == 0 or done == epochs
        seen = evaluate(Move(validate=look))
        if not look:
            continue
        now = seen
        best = now if prefers(now, best) else best
        budgets += [now.budget] if now.full else []
        if now.stop and not now.holds:
            return Phase(Stop.EARLY_STOPPING, now, best)
        if give_up and hopeless(budgets, (epochs - done) / every):
            return Phase(Stop.HOPELESS, now, best)
    return Phase(Stop.CRITERION if now.holds else Stop.EPOCHS, now, best)
