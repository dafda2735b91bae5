"""A model's inputs held in memory, and which of them to time: samples that leave like all the others do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from offramp.backbones import Signature
from offramp.errors import InputError
from offramp.exit_model import ExitModel
from offramp.recording import Recording

MOST_BYTES = 2**30
"""Reading stops behind the batch with which the inputs reach this size."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs with rows, and their labels where they have some.

    Attributes:
        leaves: the flat inputs, see `Signature`; those with rows hold all rows, where the data had them.
        signature: of the model's inputs.
        labels: `[n]`, on the CPU; None where the data has none.
    """

    leaves: tuple[Any, ...]
    signature: Signature
    labels: Tensor | None

    @classmethod
    def of(cls, model: ExitModel, data: Any) -> Samples:
        """Reads data, up to about 1 GiB of it.

        Args:
            model: says which inputs there are.
            data: a tensor, a dict of named inputs, a tuple of inputs, each with labels behind (in a dict under
                "labels" or "label") or without; or anything else that can be iterated over and gives such batches.

        Raises:
            InputError: there is no sample, the batches do not fit the model or each other, or only some have labels.
        """
        parts: list[list[Any]] = []
        labels: list[Tensor] = []
        size = 0
        for batch in _batches(data):
            inputs, target = _split(batch, model.signature)
            parts.append(model.signature.flatten(inputs))
            labels += [] if target is None else [torch.as_tensor(target).cpu()]
            size += sum(x.nbytes for x in parts[-1] if isinstance(x, Tensor))
            if size >= MOST_BYTES:
                break
        if not parts:
            raise InputError("The data holds no sample: the loader gave no batch. Check the split and drop_last.")
        if labels and len(labels) != len(parts):
            raise InputError(f"{len(labels)} of {len(parts)} batches have labels: give all of them some, or none.")
        return cls(_joined(parts, model.signature), model.signature, torch.cat(labels) if labels else None)

    def __len__(self) -> int:
        rows = next(x for x, has in zip(self.leaves, self.signature.has_rows, strict=True) if has)
        return int(rows.shape[0])

    def take(self, index: Tensor) -> Any:
        """The inputs of the rows `index` `[m]`, as the model takes them."""
        leaves = self.signature.take(self.leaves, index)
        if self.signature.lone:
            return leaves[0]
        args, named = self.signature.unflatten(leaves)
        return named or args

    def batches(self, rows: int) -> Iterator[Any]:
        """All inputs in order, this many rows at a time."""
        for index in parted(torch.arange(len(self)), rows):
            yield self.take(index)

    def record(self, model: ExitModel, rows: int = 256) -> Recording:
        """The logits of every exit, see `offramp.recording.record`."""
        with model.evaluating(), torch.no_grad():
            logits = [torch.stack([z.float().cpu() for z in model(model.to_own_device(x))]) for x in self.batches(rows)]
        return Recording(torch.cat(logits, dim=1), self.labels, model.cost.macs, model.cost.head_macs)


def representative(exits: Tensor, count: int, exit_count: int, seed: int) -> Tensor:
    """Indices `[count]`, in random order, of samples that take the exits in the proportions of all.

    Shares are rounded by largest remainders, so that they sum up exactly. Only where more samples are wanted than
    there are, samples come several times.

    Args:
        exits: `[n]`, the exit that each sample takes.
        count: how many.
        exit_count: number of exits.
        seed: of the choice.
    """
    generator = torch.Generator().manual_seed(seed)
    exact = torch.bincount(exits, minlength=exit_count).double() * count / len(exits)
    counts = exact.floor().long()
    largest = (exact - counts).argsort(descending=True, stable=True)[: count - int(counts.sum())]
    counts[largest] += 1
    parts = []
    for exit, wanted in enumerate(counts.tolist()):
        members = (exits == exit).nonzero().flatten()
        order = torch.randperm(len(members), generator=generator)
        parts.append(members[order[torch.arange(wanted) % max(len(members), 1)]])
    rows = torch.cat(parts)
    return rows[torch.randperm(len(rows), generator=generator)]


def timed_rows(exits: Tensor, batch: int, least: int, exit_count: int, seed: int) -> tuple[Tensor, ...]:
    """Indices `[batch]` of representative samples, for as many full batches as hold at least so many; see there."""
    count = -(-max(batch, least) // batch) * batch
    return tuple(parted(representative(exits, count, exit_count, seed), batch))


def parted(rows: Tensor, size: int) -> Iterator[Tensor]:
    """Rows, so many at a time."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _batches(data: Any) -> Iterable[Any]:
    if isinstance(data, Tensor | Mapping | tuple):
        return (data,)
    if not isinstance(data, Iterable):
        raise InputError(f"data={data!r}: give a tensor, a tuple or dict of inputs, or a loader of batches.")
    return data


def _split(batch: Any, signature: Signature) -> tuple[Any, Any | None]:
    """Inputs and labels; the signature tells a tuple of two inputs from an input with its labels."""
    positional, named = signature.unflatten(list(signature.leaves))
    if isinstance(batch, Mapping):
        inputs = dict(batch)
        key = next((name for name in ("labels", "label") if name in inputs and name not in named), None)
        return inputs, None if key is None else inputs.pop(key)
    if isinstance(batch, tuple | list) and len(batch) == max(len(positional), 1) + 1:
        *parts, labels = batch
        return (parts[0] if len(parts) == 1 else tuple(parts)), labels
    return batch, None


def _joined(parts: Sequence[Sequence[Any]], signature: Signature) -> tuple[Any, ...]:
    try:
        return tuple(
            torch.cat([part[i] for part in parts]) if has else parts[0][i] for i, has in enumerate(signature.has_rows)
        )
    except RuntimeError as error:
        raise InputError(
            f"The batches do not fit together ({error}). Give all rows the same shape, e.g. by padding."
        ) from error
