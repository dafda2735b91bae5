"""The features of a frozen backbone, computed once: what its early heads read in every epoch."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils.data import DataLoader

from offramp.errors import TrainingError
from offramp.regimes import Phase
from offramp.training.batch import labelled, placed

LOOK_AT = 64
"""Samples that are read twice, to see whether their augmentation is random."""

Batch = tuple[list[Tensor], Tensor]


def can_cache(phase: Phase) -> bool:
    """Whether the features stay the same through a phase: only heads train, and nothing looks inside the backbone."""
    return phase.parts == ("heads",) and not phase.loss.features and not phase.changes


def check_cacheable(loader: Any, processes: int) -> None:
    """Refuses what a cache would get wrong.

    Raises:
        TrainingError: several processes; a loader without a data set to read in order; or samples that are not the same
            each time they are read.
    """
    if processes > 1:
        raise TrainingError("fit(cache_features=...) works in one process only: leave it out of a launched run.")
    dataset = getattr(loader, "dataset", None)
    if not isinstance(loader, DataLoader) or loader.batch_sampler is None or not hasattr(dataset, "__len__"):
        raise TrainingError(
            f"fit(train_loader={type(loader).__name__}, cache_features=...): a DataLoader with batches of a data set "
            "that has a length is needed, whose samples can be read by number."
        )
    if callable(getattr(dataset, "set_epoch", None)) or not _reads_the_same(loader):
        raise TrainingError(
            "fit(cache_features=...): the training samples are not the same each time they are read, so their features "
            "cannot be kept. Give a loader without random augmentation, or leave cache_features out."
        )


def _reads_the_same(loader: DataLoader[Any]) -> bool:
    numbers = list(range(min(LOOK_AT, len(loader.dataset))))  # type: ignore[arg-type]
    readings = [_read(loader, numbers, seed) for seed in (1, 2)]
    first, second = (pytree.tree_leaves(reading) for reading in readings)
    return len(first) == len(second) and all(map(_equal, first, second))


def _read(loader: DataLoader[Any], numbers: list[int], seed: int) -> Any:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    whole = getattr(loader.dataset, "__getitems__", None)
    samples = whole(numbers) if callable(whole) else [loader.dataset[number] for number in numbers]
    return loader.collate_fn(samples)


def _equal(one: Any, other: Any) -> bool:
    return torch.equal(one, other) if isinstance(one, Tensor) else bool(np.all(one == other))


class CachedHeads(nn.Module):
    """Logits of every exit from kept features: the heads run, or their last layers; the final logits are kept.

    Args:
        tails: per early exit the module that is left to run.
    """

    def __init__(self, tails: Sequence[nn.Module]) -> None:
        super().__init__()
        self.tails = nn.ModuleList(tails)

    def forward(self, kept: Sequence[Tensor]) -> list[Tensor]:
        """Logits `[n, classes]` of every exit."""
        *features, final = kept
        return [*(tail(feature) for tail, feature in zip(self.tails, features, strict=True)), final]


def tail_of(head: nn.Module, features: Tensor) -> nn.Module:
    """What of a head depends on weights: its one layer with parameters, where all before it is fixed; else the head.

    A head that pools and then has a linear layer needs the pooled features only, which take a small part of the memory.

    Args:
        head: of an early exit.
        features: that it reads, for a few rows.
    """
    owners = [module for module in head.modules() if module._parameters or module._buffers]
    if len(owners) != 1 or owners[0] is head or any(owners[0].children()):
        return head
    tail, modes = owners[0], [(module, module.training) for module in head.modules()]
    # In mixed precision features are narrower than the weights; for the question asked here that is all the same.
    features = features.to(next(tail.parameters(), features).dtype) if features.is_floating_point() else features
    given: list[Tensor] = []
    made: list[Tensor] = []

    def note(module: nn.Module, inputs: Any, output: Any) -> None:
        given.append(inputs[0])
        made.append(output)

    handle = tail.register_forward_hook(note)
    try:
        with torch.no_grad():
            # In training mode, dropout in front of the layer shows itself.
            outputs = [head.train(mode)(features) for mode in (False, True, True)]
    finally:
        handle.remove()
        for module, training in modes:
            module.training = training
    passed_on = len(made) == 3 and all(out is own for out, own in zip(outputs, made, strict=True))
    fixed = passed_on and all(torch.equal(given[0], other) for other in given[1:])
    return tail if fixed else head


Kept = tuple["CachedBatches", list[Batch] | None]


class FeatureCache:
    """Kept features of a training and a validation set, and what runs on them.

    Args:
        model: from `attach`; its backbone does not change while this is used.
        forward: gives every exit's logits, in the precision of the run.
        device: of the run.
        channels_last: of the run.
    """

    def __init__(self, model: Any, forward: nn.Module, device: torch.device, channels_last: bool) -> None:
        self._forward, self._device, self._channels_last = forward, device, channels_last
        self._heads: list[nn.Module] = list(model.heads)
        self._tails = list(self._heads)
        self._given: dict[int, Tensor] = {}

    @property
    def heads(self) -> CachedHeads:
        """Runs on what the loaders give."""
        return CachedHeads(self._tails)

    def build(self, train: DataLoader[Any], val: Any | None, bound: int) -> Kept | None:
        """Runs the backbone over both sets; None, with a warning, where the features need more memory than the bound.

        Args:
            train: checked by `check_cacheable`.
            val: read once in its own order.
            bound: bytes that all that is kept may take.
        """
        in_order = DataLoader(
            train.dataset,
            batch_size=train.batch_size or LOOK_AT,
            num_workers=train.num_workers,
            collate_fn=train.collate_fn,
        )
        needed = self._bytes_per_sample(in_order) * (len(train.dataset) + _samples(val))  # type: ignore[arg-type]
        if needed > bound:
            warnings.warn(
                f"fit(cache_features=...): the features take {needed / 2**20:.1f} MiB and may take "
                f"{bound / 2**20:.1f}: training goes on without keeping them. Give cache_features=BYTES for more, or "
                "heads that pool first.",
                stacklevel=2,
            )
            return None
        return CachedBatches(train, list(self._batches(in_order))), None if val is None else list(self._batches(val))

    def _bytes_per_sample(self, loader: Any) -> int:
        with self._reading():
            kept, labels = self._kept(next(iter(loader)))
        self._tails = [tail_of(head, self._given[k]) for k, head in enumerate(self._heads)]
        with self._reading():
            kept, labels = self._kept(next(iter(loader)))
        return sum(tensor.nbytes for tensor in kept) // len(labels) + labels.itemsize

    def _batches(self, loader: Any) -> Iterator[Batch]:
        with self._reading():
            for batch in loader:
                yield self._kept(batch)

    def _kept(self, batch: Any) -> Batch:
        inputs, labels = labelled(batch, "keeping features")
        with torch.no_grad():
            logits = self._forward(placed(inputs, self._device, self._channels_last))
        kept = [self._given[k] for k in range(len(self._tails))]
        return [tensor.cpu() for tensor in (*kept, logits[-1])], labels.cpu()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Notes what the heads' remaining modules are given, in evaluation mode."""
        self._forward.eval()

        def note(k: int) -> Any:
            def hook(module: nn.Module, inputs: Any) -> None:
                # What runs behind the cut may overwrite it.
                self._given[k] = inputs[0].detach().clone()

            return hook

        handles = [tail.register_forward_pre_hook(note(k)) for k, tail in enumerate(self._tails)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _samples(loader: Any | None) -> int:
    return len(getattr(loader, "dataset", ()))


class CachedBatches:
    """Kept features in the batches, and in the order, in which a loader would give its samples.

    Args:
        loader: whose sampler draws the order.
        batches: of all samples, by number.
    """

    def __init__(self, loader: DataLoader[Any], batches: Sequence[Batch]) -> None:
        self._loader = loader
        columns = zip(*(kept for kept, _ in batches), strict=True)
        self._features = [torch.cat(column) for column in columns]
        self._labels = torch.cat([labels for _, labels in batches])

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Batch]:
        # A DataLoader draws a seed for its workers before its sampler draws the order; so must this, to draw the same.
        torch.empty((), dtype=torch.int64).random_(generator=self._loader.generator)
        for numbers in self._loader.batch_sampler or ():
            chosen = torch.as_tensor(numbers)
            yield [feature[chosen] for feature in self._features], self._labels[chosen]
