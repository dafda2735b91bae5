"""Gates that predict whether an exit already says what the last one will say."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from offramp.criteria import Gate, PerExit
from offramp.gates.lessons import Lessons, check_recording
from offramp.gates.network import Network, likelihood_loss, minimise
from offramp.recording import Recording


def train_gates(
    recording: Recording,
    *,
    hidden: int = 0,
    top: int | None = None,
    shared: bool = False,
    temperatures: Sequence[float] | None = None,
    seed: int = 0,
) -> PerExit:
    """Trains a gate per early exit to predict "this exit agrees with the last one"; it needs no labels.

    A gate reads the largest probabilities, their margin and the entropy. It is a criterion like any other: give it to
    `calibrate` with a recording of other samples.

    Args:
        recording: of held-out samples.
        hidden: width of a hidden layer; 0 for a logistic regression.
        top: how many probabilities the gates read, 2 to the number of classes; None for 3, or 2 of 2.
        shared: train one gate for all exits, which also reads the exit's depth: for few samples.
        temperatures: of the policy that is to use the gates, one per early exit; None means 1.
        seed: of the initial weights.

    Raises:
        CalibrationError: no early exit, the test split, or an impossible parameter.

    Example:
        >>> logits = torch.randn(3, 200, 5, generator=torch.Generator().manual_seed(0))
        >>> gates = train_gates(Recording(logits, None, macs=[1, 2, 3]))
        >>> len(gates.members), gates.members[0].classes
        (2, 5)
    """
    check_recording(recording, "train_gates")
    lessons = Lessons.of(recording, top, temperatures)
    return PerExit(_shared(lessons, hidden, seed) if shared else _apart(lessons, hidden, seed))


def _apart(lessons: Lessons, hidden: int, seed: int) -> tuple[Gate, ...]:
    return tuple(
        _trained(features, agrees, hidden, seed).gate(lessons.classes, lessons.top)
        for features, agrees in zip(lessons.features, lessons.agrees, strict=True)
    )


def _shared(lessons: Lessons, hidden: int, seed: int) -> tuple[Gate, ...]:
    early, rows, _ = lessons.features.shape
    depths = torch.arange(early).double()
    with_depth = torch.cat([lessons.features, depths[:, None, None].expand(early, rows, 1)], dim=-1)
    network = _trained(with_depth.flatten(0, 1), lessons.agrees.flatten(), hidden, seed)
    return tuple(network.gate(lessons.classes, lessons.top, fixed=[depth]) for depth in depths.tolist())


def _trained(features: Tensor, agrees: Tensor, hidden: int, seed: int) -> Network:
    network = Network.fresh(features, hidden, seed)
    minimise(lambda: likelihood_loss(network(features), agrees) + network.penalty(), network.parameters)
    return network
