"""An image and a text model with exits, batch norm, dropout and residual blocks; a fit takes a fraction of a second."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import offramp as ofr

CLASSES, SAMPLES = 3, 48


class Residual(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def convolution(width: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())


class Images(nn.Module):
    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1)
        self.blocks = nn.Sequential(*(Residual(convolution(width)) for _ in range(3)))
        self.dropout = nn.Dropout(0.1)
        self.out = nn.Linear(width, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        return self.out(self.dropout(self.blocks(self.stem(images)).mean((2, 3))))


class Texts(nn.Module):
    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, width)
        layers = (nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU()) for _ in range(3))
        self.blocks = nn.Sequential(*(Residual(layer) for layer in layers))
        self.dropout = nn.Dropout(0.1)
        self.out = nn.Linear(width, CLASSES)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        states = self.blocks(self.embedding(tokens)) * mask[..., None]
        return self.out(self.dropout(states.sum(1) / mask.sum(1, keepdim=True)))


class Named(Dataset[Any]):
    """Token sequences as dicts, as text loaders give them."""

    def __init__(self, tokens: Tensor, labels: Tensor) -> None:
        self.tokens, self.labels = tokens, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"tokens": self.tokens[index], "mask": torch.ones(5), "labels": self.labels[index]}


def image_model(seed: int = 0) -> ofr.ExitModel:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return ofr.attach(Images(), at=["blocks.0", "blocks.1"], example=torch.zeros(1, 1, 6, 6), seed=seed)


def text_model(seed: int = 0) -> ofr.ExitModel:
    example = {"tokens": torch.zeros(1, 5, dtype=torch.long), "mask": torch.ones(1, 5)}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return ofr.attach(Texts(), at=["blocks.0", "blocks.1"], example=example, seed=seed)


def dataset(kind: str, seed: int, samples: int = SAMPLES) -> Dataset[Any]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (samples,), generator=generator)
    if kind == "image":
        images = torch.randn(samples, 1, 6, 6, generator=generator)
        images[torch.arange(samples), 0, labels] += 1.5
        return TensorDataset(images, labels)
    tokens = torch.randint(11, (samples, 5), generator=generator)
    tokens[:, 0] = labels
    return Named(tokens, labels)


MODELS = {"image": image_model, "text": text_model}


def train_loader(kind: str = "image", batch_size: int = 16) -> DataLoader[Any]:
    return DataLoader(dataset(kind, seed=1), batch_size, shuffle=True)


def val_loader(kind: str = "image") -> DataLoader[Any]:
    return DataLoader(dataset(kind, seed=2), 32)
