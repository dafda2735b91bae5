"""Activations at the exits of a model: what the other analyses read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from offramp.backbones import first_tensor
from offramp.errors import AnalysisError
from offramp.exit_model import ExitModel
from offramp.recording import unpack


def activations(
    model: ExitModel, batches: Iterable[Any], samples: int, at: Sequence[str] | None = None
) -> dict[str, Tensor]:
    """What submodules give for the first so many samples, in evaluation mode.

    Args:
        model: with exits; its mode is restored.
        batches: see `offramp.recording.unpack`.
        samples: how many rows to keep.
        at: names of submodules of the backbone; the model's cuts when None.

    Returns:
        By name, in the order given: `[n, features]`, float32, flattened, on the CPU.

    Raises:
        AnalysisError: there are no batches, or a submodule gave no tensor.
    """
    names = tuple(model.cuts if at is None else at)
    found: dict[str, list[Tensor]] = {name: [] for name in names}

    def keep(name: str) -> Any:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            tensor = first_tensor(output)
            if tensor is not None:
                found[name].append(tensor.detach().float().flatten(1).cpu())

        return hook

    handles = [model.backbone.get_submodule(name).register_forward_hook(keep(name)) for name in names]
    try:
        with model.evaluating(), torch.no_grad():
            for rows, batch in _counted(batches, samples):
                model(model.to_own_device(unpack(batch)[0]))
                if rows >= samples:
                    break
    finally:
        for handle in handles:
            handle.remove()
    silent = [name for name, parts in found.items() if not parts]
    if silent:
        raise AnalysisError(
            f"activations(at={list(names)}): nothing came from {silent}. Give batches, and cuts that run."
        )
    return {name: torch.cat(parts)[:samples] for name, parts in found.items()}


def _counted(batches: Iterable[Any], samples: int) -> Iterable[tuple[int, Any]]:
    """Each batch with the number of rows up to it."""
    rows = 0
    for batch in batches:
        tensor = first_tensor(unpack(batch)[0])
        rows += samples if tensor is None else len(tensor)
        yield rows, batch
