"""A batch on its way into the model: split, checked, moved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from accelerate.utils import send_to_device
from torch import Tensor

from offramp.errors import TrainingError
from offramp.recording import unpack


def labelled(batch: Any, where: str) -> tuple[Any, Tensor]:
    """Inputs and labels `[n]` int64 of a loader's batch.

    Args:
        batch: see `offramp.recording.unpack`.
        where: for error messages, e.g. "training, epoch 3".

    Raises:
        TrainingError: there are no labels, or they are no class indices.
    """
    inputs, labels = unpack(batch)
    if labels is None:
        raise TrainingError(
            f"A batch has no labels ({where}): give batches of (inputs, labels), or dicts with a key 'labels'."
        )
    labels = torch.as_tensor(labels)
    if labels.ndim != 1 or labels.is_floating_point():
        raise TrainingError(
            f"Labels must be class indices of shape [n] ({where}); got shape {list(labels.shape)} and {labels.dtype}."
        )
    return inputs, labels.long()


def placed(value: Any, device: torch.device, channels_last: bool = False) -> Any:
    """Tensors, nested in tuples, lists or dicts, on the device; 4-d ones in channels-last order if so wished."""
    moved = send_to_device(value, device, non_blocking=True)
    return _channels_last(moved) if channels_last else moved


def _channels_last(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.contiguous(memory_format=torch.channels_last) if value.ndim == 4 else value
    if isinstance(value, dict):
        return {key: _channels_last(part) for key, part in value.items()}
    return type(value)(map(_channels_last, value)) if isinstance(value, list | tuple) else value


def check_logits(logits: Any, exits: int, samples: int) -> None:
    """Checks what the model gave, by its shapes alone.

    Raises:
        TrainingError: not one `[n, classes]` tensor per exit.
    """
    fits = isinstance(logits, Sequence) and len(logits) == exits
    if not fits or any(z.ndim != 2 or len(z) != samples for z in logits):
        shapes = [list(z.shape) for z in logits] if isinstance(logits, list | tuple) else type(logits).__name__
        raise TrainingError(
            f"The model must give a list of {exits} logits of shape [{samples}, classes], earliest exit first; "
            f"it gave {shapes}."
        )


def check_labels(labels: Tensor, classes: int, where: str) -> None:
    """Checks the range of labels `[n]`; cheap where they are still on the CPU.

    Raises:
        TrainingError: names the first label that is out of range.
    """
    if not len(labels):
        raise TrainingError(f"A batch has no samples ({where}): check the batch sampler.")
    low, high = torch.aminmax(labels)
    if low < 0 or high >= classes:
        worst = int(low) if low < 0 else int(high)
        raise TrainingError(
            f"Label {worst} is out of range ({where}): the model has {classes} classes, so labels are 0 to "
            f"{classes - 1}. Count from 0, or attach with num_classes={max(worst, int(high)) + 1}."
        )
