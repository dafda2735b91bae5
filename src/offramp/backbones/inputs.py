"""What goes into a model: a tensor, a tuple of positional inputs or a dict of named ones, seen as a flat list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from offramp.errors import InputError

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def arguments(inputs: Any) -> Arguments:
    """Positional and named arguments for calling a model: a dict is named, a tuple or list positional.

    Example:
        >>> arguments({"x": 1}), arguments((1, 2)), arguments(3)
        (((), {'x': 1}), ((1, 2), {}), ((3,), {}))
    """
    if isinstance(inputs, dict):
        return (), inputs
    if isinstance(inputs, tuple | list):
        return tuple(inputs), {}
    return (inputs,), {}


@dataclass(frozen=True, eq=False)
class Signature:
    """The shape of a model's inputs, read off an example: structure, which tensors have rows, and other values.

    Attributes:
        leaves: the example's flat list; tensors are kept detached, on the CPU, two rows at most.
        has_rows: for each leaf, whether its first dimension is the batch.
        tree: how the flat list folds back into positional and named arguments.
    """

    leaves: tuple[Any, ...]
    has_rows: tuple[bool, ...]
    tree: pytree.TreeSpec

    @classmethod
    def of(cls, example: Any) -> Signature:
        """Reads the signature off example inputs.

        Raises:
            InputError: no tensor among the inputs, or an empty batch.
        """
        leaves, tree = pytree.tree_flatten(arguments(example))
        rows = batch_size(leaves)
        has_rows = tuple(isinstance(x, Tensor) and x.ndim > 0 and x.shape[0] == rows for x in leaves)
        kept = tuple(
            (x[:2] if has else x).detach().cpu().clone() if isinstance(x, Tensor) else x
            for x, has in zip(leaves, has_rows, strict=True)
        )
        return cls(kept, has_rows, tree)

    def __deepcopy__(self, memo: dict[int, Any]) -> Signature:
        return self  # immutable

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self.leaves, self.has_rows, pytree.treespec_dumps(self.tree))

    def flatten(self, inputs: Any) -> list[Any]:
        """The flat list of inputs that fit this signature.

        Raises:
            InputError: other structure, other constants, an empty batch, or tensors that disagree on its size.
        """
        leaves, tree = pytree.tree_flatten(arguments(inputs))
        if tree != self.tree:
            raise InputError(
                f"The inputs are built as {tree}, the model was attached with an example built as {self.tree}."
            )
        rows = batch_size([x for x, has in zip(leaves, self.has_rows, strict=True) if has])
        for value, known, has in zip(leaves, self.leaves, self.has_rows, strict=True):
            if has and (not isinstance(value, Tensor) or value.ndim == 0 or value.shape[0] != rows):
                raise InputError(f"All batched inputs must have {rows} rows; one is {describe(value)}.")
            if not isinstance(known, Tensor) and value != known:
                raise InputError(f"An input is {value!r}, but the model was attached with {known!r}: attach it again.")
        return leaves

    def batch(self, rows: int, device: torch.device) -> list[Any]:
        """Inputs with this many rows, no two alike, made from the example: repeated, then perturbed by fixed noise."""
        noise = torch.Generator().manual_seed(0)
        return [
            self._rows_of(x, rows, noise).to(device) if has else x.to(device) if isinstance(x, Tensor) else x
            for x, has in zip(self.leaves, self.has_rows, strict=True)
        ]

    @staticmethod
    def _rows_of(x: Tensor, rows: int, noise: torch.Generator) -> Tensor:
        repeated = x[torch.arange(rows) % x.shape[0]]
        if x.is_floating_point():
            return repeated + 0.1 * torch.randn(repeated.shape, generator=noise).to(x.dtype)
        if x.ndim < 2:
            return repeated
        return torch.stack([row.roll(i, dims=-1) for i, row in enumerate(repeated)])

    def unflatten(self, leaves: list[Any]) -> Arguments:
        """Positional and named arguments again."""
        args, kwargs = pytree.tree_unflatten(leaves, self.tree)
        return args, kwargs


def _restore(leaves: tuple[Any, ...], has_rows: tuple[bool, ...], tree: str) -> Signature:
    return Signature(leaves, has_rows, pytree.treespec_loads(tree))


def batch_size(leaves: list[Any]) -> int:
    """Rows of the first tensor.

    Raises:
        InputError: there is no tensor with a batch dimension, or it is empty.
    """
    for leaf in leaves:
        if isinstance(leaf, Tensor) and leaf.ndim > 0:
            if leaf.shape[0] == 0:
                raise InputError(
                    f"The batch is empty: the input has the shape {list(leaf.shape)}. Pass at least one row."
                )
            return int(leaf.shape[0])
    raise InputError(
        "There is no tensor with a batch dimension among the inputs: pass a tensor, a tuple or a dict of them."
    )


def first_tensor(value: Any) -> Tensor | None:
    """The first tensor in a module's output, which may be a tensor, a tuple, a dict or a dataclass of them."""
    if isinstance(value, Tensor):
        return value
    found = [x for x in pytree.tree_leaves(value) if isinstance(x, Tensor)]
    return found[0] if found else None


def map_tensors(change: Callable[[Tensor], Tensor], value: Any) -> Any:
    """The same structure with every tensor changed."""
    return pytree.tree_map_only(Tensor, change, value)


def describe(value: Any) -> str:
    """Short phrase for a value in an error message."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {list(value.shape)} ({value.dtype}, {value.device})"
    return f"{type(value).__name__} {value!r}"
