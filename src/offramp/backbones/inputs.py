"""What goes into a model: a tensor, a tuple of positional inputs or a dict of named ones, seen as a flat list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
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

    @cached_property
    def lone(self) -> bool:
        """Whether the model takes one batched tensor and nothing else, which is checked much faster."""
        return self.has_rows == (True,) and self.tree == pytree.tree_structure(arguments(0))

    def flatten(self, inputs: Any) -> list[Any]:
        """The flat list of inputs that fit this signature.

        Raises:
            InputError: other structure, other constants, another dtype, an empty batch, or tensors that disagree on
                its size.
        """
        if isinstance(inputs, Tensor) and self.lone:
            batch_size([inputs])
            _check_dtype(inputs, self.leaves[0])
            return [inputs]
        leaves, tree = pytree.tree_flatten(self._in_known_order(arguments(inputs)))
        if tree != self.tree:
            raise InputError(
                f"The inputs are {outline(arguments(inputs))}, the model was attached with an example that is "
                f"{outline(self.unflatten(list(self.leaves)))}. Pass the same kind, or attach again with such inputs."
            )
        rows = batch_size([x for x, has in zip(leaves, self.has_rows, strict=True) if has])
        for value, known, has in zip(leaves, self.leaves, self.has_rows, strict=True):
            if has and (not isinstance(value, Tensor) or value.ndim == 0 or value.shape[0] != rows):
                raise InputError(f"All batched inputs must have {rows} rows; one is {describe(value)}.")
            if isinstance(value, Tensor) and isinstance(known, Tensor):
                _check_dtype(value, known)
            if not isinstance(known, Tensor) and (isinstance(value, Tensor) or value != known):
                raise InputError(
                    f"An input is {describe(value)}, the model was attached with {describe(known)}: attach it again."
                )
        return leaves

    def _in_known_order(self, inputs: Arguments) -> Arguments:
        """A dict may be filled in any order, but is flattened in the example's."""
        args, named = inputs
        _, known = self.unflatten(list(self.leaves))
        return args, {name: named[name] for name in known if name in named} | named

    def batch(self, rows: int, device: torch.device) -> list[Any]:
        """Inputs with this many rows, no two alike, made from the example: repeated, then perturbed by fixed noise."""
        noise = torch.Generator().manual_seed(0)
        return [
            self._rows_of(x, rows, noise).to(device) if has else x.to(device) if isinstance(x, Tensor) else x
            for x, has in zip(self.leaves, self.has_rows, strict=True)
        ]

    def take(self, leaves: Sequence[Any], index: Tensor) -> list[Any]:
        """The flat inputs of the rows `index` `[m]`."""
        return [x[index.to(x.device)] if has else x for x, has in zip(leaves, self.has_rows, strict=True)]

    def cast(self, change: Callable[[torch.dtype], torch.dtype]) -> Signature:
        """The same signature with other floating-point types; itself where nothing changes."""
        leaves = tuple(
            x.to(change(x.dtype)) if isinstance(x, Tensor) and x.is_floating_point() else x for x in self.leaves
        )
        changed = any(new is not old for new, old in zip(leaves, self.leaves, strict=True))
        return Signature(leaves, self.has_rows, self.tree) if changed else self

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


def _check_dtype(value: Tensor, known: Tensor) -> None:
    if value.dtype != known.dtype:
        raise InputError(
            f"An input is {describe(value)}, the model takes {known.dtype}: convert it with .to({known.dtype}), or "
            "convert the model."
        )


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


def describe(value: Any) -> str:
    """Short phrase for a value in an error message."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {list(value.shape)} ({value.dtype}, {value.device})"
    return f"{type(value).__name__} {value!r}"


def outline(value: Any) -> str:
    """Structure of inputs for an error message: `(tensor, {mask: tensor})`."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {outline(x)}" for name, x in value.items()) + "}"
    if isinstance(value, tuple | list):
        return "(" + ", ".join(outline(x) for x in value) + ")"
    return "tensor" if isinstance(value, Tensor) else repr(value)
