"""The example inputs of a bundle: their tensors in `example.safetensors`, their structure in the manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from offramp.backbones import Signature
from offramp.errors import ExportError, FileFormatError
from offramp.segments import Entrance

EXAMPLE = "example.safetensors"
PLAIN = (bool, int, float, str, type(None))


def save_example(entrance: Entrance, folder: Path) -> dict[str, Any]:
    """Writes the tensors and gives the structure.

    Raises:
        ExportError: an input that is no tensor cannot be written as JSON.
    """
    signature = entrance.signature
    odd = [x for x in signature.leaves if not isinstance(x, (Tensor, *PLAIN))]
    if odd:
        raise ExportError(
            f"An input is {odd[0]!r}, which a bundle cannot hold: keep to tensors, numbers, strings and None, or bind "
            "it inside the model."
        )
    tensors = {f"{i}": x.contiguous() for i, x in enumerate(signature.leaves) if isinstance(x, Tensor)}
    safetensors.torch.save_file(tensors, folder / EXAMPLE)
    return {
        "tree": pytree.treespec_dumps(signature.tree),
        "constants": [None if isinstance(x, Tensor) else x for x in signature.leaves],
        "has_rows": list(signature.has_rows),
        "sources": list(entrance.sources),
    }


def load_example(folder: Path, structure: dict[str, Any], device: torch.device) -> Entrance:
    """The way in to the first segment, from what `save_example` wrote.

    Raises:
        FileFormatError: the structure does not fit the tensors.
    """
    try:
        tensors = safetensors.torch.load_file(folder / EXAMPLE)
        leaves = tuple(tensors.get(f"{i}", constant) for i, constant in enumerate(structure["constants"]))
        tree = pytree.treespec_loads(structure["tree"])
        signature = Signature(leaves, tuple(structure["has_rows"]), tree)
        return Entrance(signature, tuple(structure["sources"]), device)
    except (KeyError, TypeError, ValueError, OSError, safetensors.SafetensorError) as error:
        raise FileFormatError(f"{folder} has a damaged example of its inputs ({error}). Export again.") from error
