"""Data loaders as training sees them: their size, what makes one unusable, and a process's share of one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from accelerate import Accelerator
from accelerate.data_loader import prepare_data_loader
from torch.utils.data import DataLoader

from offramp.errors import TrainingError


def length(loader: Any) -> int | None:
    """Number of batches, None where the loader does not tell."""
    try:
        return len(loader)
    except TypeError:
        return None


def size(loader: Any) -> dict[str, int | None] | None:
    """Batches, batch size and samples, as far as they are told: a resumed run must find the same."""
    if loader is None:
        return None
    return {
        "batches": length(loader),
        "batch_size": getattr(loader, "batch_size", None),
        "samples": length(getattr(loader, "dataset", None)),
    }


def check_loader(name: str, loader: Any, resumable: bool) -> None:
    """Looks at a loader before training starts.

    Args:
        name: of the argument, for the message.
        loader: an iterable of batches, iterated once per epoch.
        resumable: whether the run has a folder from which it must be resumed bit by bit.

    Raises:
        TrainingError: no iterable, empty, or its workers keep their random state from epoch to epoch.
    """
    if not isinstance(loader, Iterable):
        raise TrainingError(f"fit({name}={type(loader).__name__}): give a DataLoader or another iterable of batches.")
    if length(loader) == 0:
        raise TrainingError(f"fit({name}=...) is empty: it has 0 batches. Check the split, and drop_last.")
    if resumable and getattr(loader, "persistent_workers", False):
        raise TrainingError(
            f"fit({name}=..., out=...): with persistent_workers=True the workers carry random state from one epoch to "
            "the next, so a resumed run would differ. Use persistent_workers=False, or leave out."
        )


def shard(loader: Any, name: str, accelerator: Accelerator, even: bool) -> Any:
    """This process's share of a loader; the loader itself where there is one process.

    Args:
        loader: iterable of batches; with several processes a `DataLoader`, whose batches they take in turn.
        name: of the argument, for the error message.
        accelerator: knows the processes.
        even: give all processes equally many batches of one size, repeating a few samples at the end. Training
            needs that, because gradients are averaged at every step; validation must not count anybody twice.

    Raises:
        TrainingError: with several processes, the loader is not a `DataLoader`.
    """
    if accelerator.num_processes == 1:
        return loader
    if not isinstance(loader, DataLoader):
        raise TrainingError(f"fit({name}={type(loader).__name__}): a launched run needs a torch DataLoader to divide.")
    return prepare_data_loader(
        loader,
        num_processes=accelerator.num_processes,
        process_index=accelerator.process_index,
        put_on_device=False,
        rng_types=None,
        even_batches=even,
    )
