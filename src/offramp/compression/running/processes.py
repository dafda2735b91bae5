"""Several processes that run the same loop: one writes, and all must take the same decisions."""

from __future__ import annotations

import torch
import torch.distributed as dist


def several() -> bool:
    """Whether this is one of several processes."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def is_main() -> bool:
    """Whether this process writes files and speaks."""
    return not several() or dist.get_rank() == 0


def wait_for_all() -> None:
    """Waits until every process is here."""
    if several():
        dist.barrier()


def agreed(value: float) -> float:
    """The main process's value in all of them: the search of each must take the same turn."""
    if not several():
        return value
    device = torch.device("cuda") if dist.get_backend() == "nccl" else torch.device("cpu")
    shared = torch.tensor([value], dtype=torch.float64, device=device)
    dist.broadcast(shared, src=0)
    return float(shared)
