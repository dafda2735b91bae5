"""The weights of an ensemble of the exits so far, learned per exit."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from offramp.criteria import Criterion, MaxProbability, WeightedEnsemble
from offramp.gates.lessons import check_recording, scaled
from offramp.gates.network import DECAY, minimise
from offramp.recording import Recording


def train_ensemble(
    recording: Recording,
    *,
    biases: bool = False,
    confidence: Criterion | None = None,
    temperatures: Sequence[float] | None = None,
) -> WeightedEnsemble:
    """Finds, for each exit, the weights of the exits up to it that make the labels likeliest.

    Source: ZTW (Wołczyk et al. 2021). Differs from it in that weights are found by L-BFGS on held-out
    samples, not by SGD on the training split.

    Args:
        recording: of held-out samples, with labels.
        biases: also a number per exit and class; they overfit where there are few samples per class.
        confidence: what scores the ensemble, default `MaxProbability()`.
        temperatures: of the policy that is to use it, one per early exit; None means 1.

    Raises:
        CalibrationError: no early exit, the test split, or impossible temperatures.
        RecordingError: the recording has no labels.

    Example:
        >>> logits = torch.randn(2, 200, 3, generator=torch.Generator().manual_seed(0))
        >>> ensemble = train_ensemble(Recording(logits, logits[1].argmax(1), macs=[1, 2]))
        >>> ensemble.weights[1][1] > ensemble.weights[1][0]
        True
    """
    check_recording(recording, "train_ensemble")
    labels = recording.required_labels
    log_p = torch.stack(scaled(recording, temperatures)).log_softmax(dim=-1)
    found = [_weigh(log_p[: k + 1], labels, biases) for k in range(recording.exits)]
    rows = tuple(tuple(bias.tolist()) for _, bias in found) if biases else ()
    return WeightedEnsemble(tuple(tuple(w.tolist()) for w, _ in found), rows, confidence or MaxProbability())


def _weigh(log_p: Tensor, labels: Tensor, biases: bool) -> tuple[Tensor, Tensor]:
    """Weights `[m]` and biases `[classes]` for log-probabilities `[m, n, classes]`."""
    raw = torch.full((len(log_p),), 0.5, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(log_p.shape[-1], dtype=torch.float64, requires_grad=biases)

    def loss() -> Tensor:
        # Squares keep the weights from falling below 0, and let them reach it.
        logits = torch.einsum("m,mnc->nc", raw.square(), log_p) + bias
        penalty = DECAY * (raw.square().sum() + bias.square().sum())
        return torch.nn.functional.cross_entropy(logits, labels) + penalty

    minimise(loss, [raw, bias] if biases else [raw])
    return raw.detach().square(), bias.detach()
