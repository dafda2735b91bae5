"""Three Gaussian classes and a model with three exits: seconds to train, with all that is random in training.

Imported by the tests beside it and by the scripts that they launch.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

CLASSES, FEATURES = 3, 8


class TinyExits(nn.Module):
    """Two early exits and a final one, with batch norm (buffers) and dropout (randomness)."""

    exits = 3
    cuts = ("first", "second")

    def __init__(self, seed: int = 0, width: int = 12) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.first = nn.Sequential(nn.Linear(FEATURES, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.2))
            self.second = nn.Sequential(nn.Linear(width, width), nn.ReLU())
            self.heads = nn.ModuleList(nn.Linear(width, CLASSES) for _ in range(3))

    def forward(self, inputs: Tensor) -> list[Tensor]:
        a = self.first(inputs)
        b = self.second(a)
        return [head(x) for head, x in zip(self.heads, (a, b, torch.relu(b) + a), strict=True)]


class Clusters(Dataset[tuple[Tensor, int]]):
    """Gaussian clusters; `noise` draws an augmentation from the global generator at every access."""

    def __init__(self, samples: int, seed: int, noise: float = 0.0) -> None:
        generator = torch.Generator().manual_seed(seed)
        centres = 1.5 * torch.eye(CLASSES, FEATURES)
        self.labels = torch.randint(CLASSES, (samples,), generator=generator)
        self.inputs = centres[self.labels] + torch.randn(samples, FEATURES, generator=generator)
        self.noise = noise

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.inputs[index] + self.noise * torch.randn(FEATURES), int(self.labels[index])


def train_loader(samples: int = 96, batch_size: int = 16, **options: Any) -> DataLoader[Any]:
    return DataLoader(Clusters(samples, seed=1, noise=0.3), batch_size, shuffle=True, **options)


def val_loader(samples: int = 50, batch_size: int = 16) -> DataLoader[Any]:
    return DataLoader(Clusters(samples, seed=2), batch_size)


class Trapped:
    """A loader that springs a trap just before it hands out a batch of an epoch (both from 1)."""

    def __init__(self, loader: DataLoader[Any], epoch: int, batch: int, trap: Callable[[], None]) -> None:
        self.loader, self.epoch, self.batch, self.trap = loader, epoch, batch, trap
        self.sampler, self.dataset, self.batch_size = loader.sampler, loader.dataset, loader.batch_size
        self.begun = 0

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        self.begun += 1
        for number, batch in enumerate(self.loader, start=1):
            if (self.begun, number) == (self.epoch, self.batch):
                self.trap()
            yield batch


def interrupt() -> None:
    raise KeyboardInterrupt


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
