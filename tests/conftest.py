"""Tiny networks, one for every way in which a model can be awkward to cut, and the settings of all tests."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import hypothesis
import pytest
import torch
from torch import Tensor, nn

import offramp as ofr

torch.set_num_threads(1)

hypothesis.settings.register_profile("quick", deadline=None, max_examples=8, derandomize="CI" in os.environ)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=200)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

CLASSES = 4


class Block(nn.Module):
    """Residual block with in-place activations."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.act = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.last_act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(self.act(self.norm(self.conv(x))))
        return self.last_act(y.add_(x))


class ResNet(nn.Module):
    """Its stem is in place, its blocks are residual, its norms have seen data."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True))
        self.layer1 = Block(6)
        self.layer2 = nn.Sequential(Block(6), nn.MaxPool2d(2))
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer2(self.layer1(self.stem(x)))
        return self.fc(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))


class Reshaping(nn.Module):
    """Takes the batch size off its input at the start and uses it in views behind every cut."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 12)
        self.second = nn.Linear(4, 4)
        self.third = nn.Linear(12, CLASSES)
        self.register_buffer("scale", torch.full((12,), 1.5))

    def forward(self, x: Tensor) -> Tensor:
        n = x.shape[0]
        x = self.first(x.view(n, -1)) * self.scale
        x = self.second(torch.relu(x.view(n * 3, 4)).view(n, 3, 4))
        return self.third(x.view(n, 12) * self.scale)


class TwoInputs(nn.Module):
    """An image and a vector; the vector is used again behind the cuts."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3)
        self.mix = nn.Linear(3 + 2, 8)
        self.out = nn.Linear(8 + 2, CLASSES)

    def forward(self, image: Tensor, vector: Tensor) -> Tensor:
        seen = torch.relu(self.conv(image)).mean((2, 3))
        mixed = torch.tanh(self.mix(torch.cat([seen, vector], 1)))
        return self.out(torch.cat([mixed, vector], 1))


class Transformer(nn.Module):
    """Encoder layers of torch with a padding mask, which crosses every cut."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True) for _ in range(3))
        self.out = nn.Linear(8, CLASSES)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        x = self.embed(tokens)
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=mask)
        return self.out(x[:, 0])


class Recurrent(nn.Module):
    """Two recurrent layers; each gives a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.lower = nn.LSTM(3, 6, batch_first=True)
        self.upper = nn.GRU(6, 6, batch_first=True)
        self.out = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x, _ = self.lower(x)
        x, _ = self.upper(x)
        return self.out(x[:, -1])


@dataclass(frozen=True)
class Tiny:
    """A tiny network: `make()` gives a fresh one in evaluation mode, the same each time."""

    name: str
    build: Callable[[], nn.Module]
    cuts: tuple[str, ...]
    inputs: Callable[[int, torch.Generator], Any]
    """Inputs with so many rows."""

    def make(self) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            backbone = self.build()
            for module in backbone.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.running_mean.normal_()
                    module.running_var.uniform_(0.3, 3.0)
        return backbone.eval()

    def batch(self, rows: int, seed: int = 0) -> Any:
        return self.inputs(rows, torch.Generator().manual_seed(seed))

    def attach(self, **options: Any) -> ofr.ExitModel:
        """With heads that are surer than fresh ones, so that scores differ from row to row."""
        model = ofr.attach(self.make(), at=list(self.cuts), example=self.batch(2), **options).eval()
        with torch.no_grad():
            for parameter in model.heads.parameters():
                parameter.mul_(4)
        return model


def tokens(rows: int, generator: torch.Generator) -> dict[str, Tensor]:
    ids = torch.randint(0, 11, (rows, 5), generator=generator)
    lengths = torch.randint(1, 6, (rows, 1), generator=generator)
    return {"tokens": ids, "mask": torch.arange(5) >= lengths}


def images(rows: int, generator: torch.Generator) -> Tensor:
    return torch.randn(rows, 2, 6, 6, generator=generator)


def image_and_vector(rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    return torch.randn(rows, 1, 5, 5, generator=generator), torch.randn(rows, 2, generator=generator)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 9), nn.ReLU(), nn.Linear(9, 9), nn.ReLU(inplace=True), nn.Linear(9, CLASSES))


TINY = [
    Tiny("mlp", mlp, ("1", "3"), lambda n, g: torch.randn(n, 5, generator=g)),
    Tiny("resnet", ResNet, ("stem", "layer1", "layer2"), images),
    Tiny("resnet cut in a residual", ResNet, ("layer1.norm", "layer2.0.conv"), images),
    Tiny("batch size in views", Reshaping, ("first", "second"), lambda n, g: torch.randn(n, 2, 2, generator=g)),
    Tiny("two inputs in a tuple", TwoInputs, ("conv", "mix"), image_and_vector),
    Tiny(
        "two inputs in a dict",
        TwoInputs,
        ("mix",),
        lambda n, g: dict(zip(("image", "vector"), image_and_vector(n, g), strict=True)),
    ),
    Tiny("transformer with a mask", Transformer, ("layers.0", "layers.1"), tokens),
    Tiny("recurrent", Recurrent, ("lower", "upper"), lambda n, g: torch.randn(n, 4, 3, generator=g)),
]


@pytest.fixture(scope="session", params=TINY, ids=lambda tiny: tiny.name)
def tiny(request: pytest.FixtureRequest) -> Tiny:
    """Each of the tiny networks in turn."""
    return request.param


@pytest.fixture(scope="session")
def tiny_mlp() -> Tiny:
    """The plainest network: no dimension but batch and width."""
    return TINY[0]


@pytest.fixture(scope="session")
def tiny_resnet() -> Tiny:
    """The network with residuals, norms and in-place operations."""
    return TINY[1]


@pytest.fixture(scope="session")
def tiny_pair() -> Tiny:
    """The network with two inputs, in a tuple."""
    return TINY[4]


@pytest.fixture(scope="session")
def tiny_tokens() -> Tiny:
    """The network with token inputs and a mask, in a dict."""
    return TINY[6]


@pytest.fixture(scope="session")
def attached(tiny: Tiny) -> ofr.ExitModel:
    """The tiny network with exits, in evaluation mode. Shared by all tests: do not change it."""
    return tiny.attach()
