"""What comes out of a model or one of its modules: a tensor, or a tuple, dict or dataclass of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree

from offramp.errors import InputError


def first_tensor(value: Any) -> Tensor | None:
    """The first tensor in a module's output, which may be a tensor, a tuple, a dict or a dataclass of them."""
    if isinstance(value, Tensor):
        return value
    return next((x for x in tensors_in(value) if x is not None), None)


def tensors_in(value: Any) -> list[Tensor | None]:
    """One item for every leaf of the structure: the tensor there, or None for anything else."""
    found: list[Tensor | None] = []
    for leaf in pytree.tree_leaves(value):
        # A dataclass that its author did not register with pytree is one leaf.
        if _is_record(leaf):
            found += [x for field in dataclasses.fields(leaf) for x in tensors_in(getattr(leaf, field.name))]
        else:
            found.append(leaf if isinstance(leaf, Tensor) else None)
    return found


def map_tensors(change: Callable[[Tensor], Tensor], value: Any) -> Any:
    """The same structure with every tensor changed, in the order of `tensors_in`."""

    def changed(leaf: Any) -> Any:
        if isinstance(leaf, Tensor):
            return change(leaf)
        if _is_record(leaf):
            new = {f.name: map_tensors(change, getattr(leaf, f.name)) for f in dataclasses.fields(leaf) if f.init}
            return dataclasses.replace(leaf, **new)
        return leaf

    return pytree.tree_map(changed, value)


def final_logits(output: Any) -> Tensor:
    """The logits in a backbone's output: the tensor itself, its `.logits`, its item "logits", or its first tensor.

    Raises:
        InputError: there is no tensor in it.
    """
    named = output.get("logits") if isinstance(output, dict) else getattr(output, "logits", None)
    found = named if isinstance(named, Tensor) else first_tensor(output)
    if found is None:
        raise InputError(f"The backbone's output ({type(output).__name__}) holds no tensor: there are no logits.")
    return found


def _is_record(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)
