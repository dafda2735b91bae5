"""The live values between two stages, and how each follows when rows leave the batch.

A value is classified by what it was at two batch sizes: a tensor whose first dimension is the batch is compacted,
an integer or a shape derived from the batch size is recomputed, what did not change is a constant. Anything else
is refused, because dropping rows from it would give a silently wrong answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from offramp.errors import CutError

SIZES = (4, 7)
"""Batch sizes at which the values that cross a cut are classified."""


@dataclass(frozen=True)
class Constant:
    """Does not depend on the batch."""

    def recompute(self, known: Any, rows: int) -> Any:
        """The value as it is."""
        return known


@dataclass(frozen=True)
class Rows:
    """A tensor with the batch as its first dimension."""


@dataclass(frozen=True)
class Count:
    """An integer that is `factor` times the number of rows."""

    factor: int

    def recompute(self, known: Any, rows: int) -> Any:
        """The integer for this many rows."""
        return self.factor * rows


@dataclass(frozen=True)
class Shape:
    """A torch.Size of which some entries follow the number of rows."""

    entries: tuple[Constant | Count, ...]

    def recompute(self, known: Any, rows: int) -> Any:
        """The shape for this many rows."""
        return torch.Size(e.recompute(v, rows) for e, v in zip(self.entries, known, strict=True))


Kind = Constant | Rows | Count | Shape


@dataclass(frozen=True, eq=False)
class Carry:
    """How every live value across one cut follows when rows leave.

    Attributes:
        names: the values, as the graph calls them.
        kinds: for each value the kinds of its leaves.
        trees: for each value its structure.
        bytes_per_row: size of the batched tensors for one row.
    """

    names: tuple[str, ...]
    kinds: tuple[tuple[Kind, ...], ...]
    trees: tuple[pytree.TreeSpec, ...]
    bytes_per_row: int

    @property
    def tensors(self) -> int:
        """Number of batched tensors."""
        return sum(isinstance(kind, Rows) for kinds in self.kinds for kind in kinds)

    def keep(self, values: Sequence[Any], index: Tensor) -> list[Any]:
        """The values for the rows in `index` `[m]`, in that order."""
        return [
            # Most values are one tensor; going through its tree would take longer than the indexing.
            kept(kinds[0], value, index) if isinstance(value, Tensor) else _kept(value, kinds, tree, index)
            for value, kinds, tree in zip(values, self.kinds, self.trees, strict=True)
        ]

    @classmethod
    def of(cls, names: Sequence[str], small: Sequence[Any], large: Sequence[Any], sizes: tuple[int, int]) -> Carry:
        """Classifies values seen at two batch sizes.

        Raises:
            CutError: a value is neither batch-first, nor derived from the batch size, nor constant.
        """
        kinds, trees, bytes_per_row = [], [], 0
        for name, a, b in zip(names, small, large, strict=True):
            leaves_a, tree = pytree.tree_flatten(a, is_leaf)
            leaves_b, tree_b = pytree.tree_flatten(b, is_leaf)
            if tree != tree_b:
                raise CutError(f"the value '{name}' that crosses it changes its structure with the batch size")
            found = tuple(classify(name, x, y, sizes) for x, y in zip(leaves_a, leaves_b, strict=True))
            bytes_per_row += sum(
                x[0].numel() * x.element_size() for k, x in zip(found, leaves_a, strict=True) if isinstance(k, Rows)
            )
            kinds.append(found)
            trees.append(tree)
        return cls(tuple(names), tuple(kinds), tuple(trees), bytes_per_row)


def kept(kind: Kind, value: Any, index: Tensor) -> Any:
    """A value for the rows `index` `[m]` only. Plain indexing, unlike index_select, keeps the channels-last layout."""
    return value[index] if isinstance(kind, Rows) else kind.recompute(value, len(index))


def _kept(value: Any, kinds: Sequence[Kind], tree: pytree.TreeSpec, index: Tensor) -> Any:
    leaves = pytree.tree_leaves(value, is_leaf)
    return pytree.tree_unflatten([kept(k, x, index) for k, x in zip(kinds, leaves, strict=True)], tree)


def check_feature(name: str, a: Tensor | None, b: Tensor | None, sizes: tuple[int, int]) -> None:
    """Checks that the output of the module `name`, seen at two batch sizes, has a row per sample for a head to read.

    Raises:
        CutError: it is no tensor, has no batch dimension, or not as its first.
    """
    if a is None or b is None:
        raise CutError("it returns no tensor that a head could read")
    if not isinstance(classify(name, a, b, sizes), Rows):
        raise CutError(f"its output, of shape {list(a.shape)}, is the same for every batch: a head would see no sample")


def is_leaf(value: Any) -> bool:
    """A torch.Size is one value here, not a tuple of integers."""
    return isinstance(value, torch.Size)


def classify(name: str, a: Any, b: Any, sizes: tuple[int, int]) -> Kind:
    """Kind of a value that was `a` with `sizes[0]` rows and `b` with `sizes[1]`; see the module's docstring."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return _classify_tensor(name, a, b, sizes)
    if isinstance(a, torch.Size) and isinstance(b, torch.Size) and len(a) == len(b):
        entries = tuple(_classify_int(name, x, y, sizes) for x, y in zip(a, b, strict=True))
        return Shape(entries)
    if isinstance(a, int) and isinstance(b, int) and not isinstance(a, bool):
        return _classify_int(name, a, b, sizes)
    if type(a) is type(b) and a == b:
        return Constant()
    raise CutError(f"the value '{name}' that crosses it depends on the batch in an unknown way ({a!r}, then {b!r})")


def _classify_int(name: str, a: int, b: int, sizes: tuple[int, int]) -> Constant | Count:
    if a == b:
        return Constant()
    factor, rest = divmod(a, sizes[0])
    if rest == 0 and b == factor * sizes[1]:
        return Count(factor)
    raise CutError(
        f"the integer '{name}' that crosses it is {a} for {sizes[0]} rows and {b} for {sizes[1]}: no multiple"
    )


def _classify_tensor(name: str, a: Tensor, b: Tensor, sizes: tuple[int, int]) -> Kind:
    if a.shape == b.shape:
        if torch.equal(a, b):
            return Constant()
        raise CutError(f"the tensor '{name}' that crosses it depends on the whole batch but has no batch dimension")
    changed = [d for d, (x, y) in enumerate(zip(a.shape, b.shape, strict=False)) if x != y]
    if a.ndim == b.ndim and len(changed) == 1:
        d = changed[0]
        if (a.shape[d], b.shape[d]) == sizes:
            if d == 0:
                return Rows()
            raise CutError(
                f"the tensor '{name}' that crosses it has its batch in dimension {d} (shape {list(a.shape)} for "
                f"{sizes[0]} rows); stages need it first"
            )
        if a.shape[d] % sizes[0] == 0:
            raise CutError(
                f"the tensor '{name}' that crosses it merges the batch with another dimension (shape "
                f"{list(a.shape)} for {sizes[0]} rows)"
            )
    raise CutError(
        f"the tensor '{name}' that crosses it changes from {list(a.shape)} to {list(b.shape)} with the batch size"
    )
