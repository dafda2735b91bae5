"""Temperature scaling per exit: one number that makes an exit's confidence mean what it says."""

from __future__ import annotations

import torch
from torch import Tensor

from offramp.recording import Recording

COLDEST, HOTTEST = 0.02, 50.0
"""Range of temperatures: on samples that an exit separates perfectly the likelihood has no maximum."""
STEPS = 60
TOLERANCE = 1e-7
ELEMENTS = 2_000_000
"""Logits looked at per exit; more change the third digit of a temperature, and cost seconds at 1,000 classes."""
FEWEST = 2_000


def fit_temperatures(recording: Recording, seed: int = 0) -> tuple[float, ...]:
    """Temperature of each early exit, `[exits - 1]`, that minimises its negative log-likelihood.

    `T_k = argmin_T mean_i [ logsumexp_c(z_kic / T) - z_ki,label / T ]`

    Args:
        recording: with labels. Large ones are subsampled, see `ELEMENTS`.
        seed: of the subsample.

    Raises:
        RecordingError: the recording has no labels.

    Source: Guo et al. 2017, "On calibration of modern neural networks", section 4.2.
    """
    labels = recording.required_labels
    rows = _rows(recording.samples, recording.classes, seed)
    return tuple(fit_temperature(recording.logits[k, rows], labels[rows]) for k in range(recording.exits - 1))


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """Temperature of one exit's logits `[n, classes]`.

    The loss is convex in `b = 1 / T`: its slope is `mean(E_p[z] - z_label)` and its curvature `mean(Var_p[z])`. Newton
    steps are taken inside a bracket of the slope's root; a step that leaves it is replaced by a bisection.
    """
    z = logits.double()
    z = z - z.gather(1, labels[:, None])
    low, high, inverse = 1 / HOTTEST, 1 / COLDEST, 1.0
    for _ in range(STEPS):
        slope, curvature = _derivatives(z, inverse)
        low, high = (low, inverse) if slope > 0 else (inverse, high)
        step = inverse - slope / curvature if curvature > 0 else low
        following = step if low < step < high else (low * high) ** 0.5
        if abs(following - inverse) <= TOLERANCE * inverse:
            break
        inverse = following
    return 1 / inverse


def _derivatives(z: Tensor, inverse: float) -> tuple[float, float]:
    """Slope and curvature in `b` of the loss, for logits relative to that of the label."""
    p = (z * inverse).softmax(dim=1)
    mean = (p * z).sum(dim=1)
    variance = (p * (z - mean[:, None]).square()).sum(dim=1)
    return float(mean.mean()), float(variance.mean())


def _rows(samples: int, classes: int, seed: int) -> Tensor:
    most = max(FEWEST, ELEMENTS // classes)
    if samples <= most:
        return torch.arange(samples)
    return torch.randperm(samples, generator=torch.Generator().manual_seed(seed))[:most]
