"""Small networks with the shapes that make removing channels hard."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from offramp.compression.algorithms import Workshop


def norm(width: int) -> nn.BatchNorm2d:
    made = nn.BatchNorm2d(width)
    nn.init.normal_(made.weight, 1.0, 0.3)
    nn.init.normal_(made.bias, 0.0, 0.5)
    made.running_mean.normal_()
    made.running_var.uniform_(0.5, 2.0)
    return made


class Residual(nn.Module):
    """Additions couple layers; the activation is not zero at zero; a flattened map feeds a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1, bias=False), norm(16), nn.Sigmoid())
        self.inner = nn.Sequential(nn.Conv2d(16, 24, 3, padding=1), norm(24), nn.ReLU(inplace=True))
        self.outer = nn.Sequential(nn.Conv2d(24, 16, 3, padding=1, bias=False), norm(16))
        self.down = nn.Sequential(nn.Conv2d(16, 24, 3, stride=2, padding=1), norm(24), nn.PReLU(24))
        self.fc = nn.Linear(24 * 16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = torch.sigmoid(x + self.outer(self.inner(x)))
        return self.fc(self.down(x).flatten(1))


class Depthwise(nn.Module):
    """An inverted bottleneck, with a depthwise convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        self.widen = nn.Sequential(nn.Conv2d(8, 32, 1, bias=False), norm(32), nn.Hardswish())
        self.depth = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1, groups=32, bias=False), norm(32), nn.Hardswish())
        self.narrow = nn.Conv2d(32, 8, 1)
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.narrow(self.depth(self.widen(x)))
        return self.fc(x.mean((2, 3)))


class Concatenating(nn.Module):
    """Two branches side by side, both read by one convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(1, 16, 3, padding=1)
        self.right = nn.Conv2d(1, 24, 1)
        self.both = nn.Conv2d(40, 16, 3)
        self.fc = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(torch.cat([self.left(x), self.right(x)], 1))
        return self.fc(torch.relu(self.both(x)).mean((2, 3)))


class Stubborn(nn.Module):
    """One convolution can be pruned; one feeds a view of fixed width, one a layer norm, one a mean over channels."""

    def __init__(self) -> None:
        super().__init__()
        self.free = nn.Conv2d(1, 16, 3, padding=1)
        self.viewed = nn.Conv2d(16, 16, 3, padding=1)
        self.normed = nn.Conv2d(16, 16, 3, padding=1)
        self.norm = nn.GroupNorm(4, 16)
        self.averaged = nn.Conv2d(16, 16, 3, padding=1)
        self.fc = nn.Linear(64, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.viewed(torch.relu(self.free(x))))
        x = x.view(-1, 16, 8, 8)
        x = self.averaged(torch.relu(self.norm(self.normed(x))))
        return self.fc(x.mean(1).flatten(1))


@dataclass(frozen=True)
class Network:
    """A network of one input `[n, 1, 8, 8]`; `make()` gives the same one each time, in evaluation mode."""

    build: Callable[[], nn.Module]

    def make(self) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            return self.build().eval()


NETWORKS = {kind.__name__: Network(kind) for kind in (Residual, Depthwise, Concatenating)}


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest) -> nn.Module:
    """Each of the prunable networks in turn."""
    return NETWORKS[request.param].make()


@pytest.fixture
def residual() -> nn.Module:
    """The network with additions."""
    return NETWORKS["Residual"].make()


@pytest.fixture
def stubborn() -> nn.Module:
    """The network of which little can be pruned."""
    return Network(Stubborn).make()


@pytest.fixture(scope="session")
def images() -> Tensor:
    """A batch of inputs."""
    return torch.randn(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="session")
def workshop_for(images: Tensor) -> Callable[..., Workshop]:
    """Makes the workshop of a model; its data are a few batches of noise with labels."""
    import copy

    labels = torch.arange(12) % 4
    batches = [(images[k : k + 4], labels[k : k + 4]) for k in (0, 4, 8)]

    def make(model: nn.Module) -> Workshop:
        original = copy.deepcopy(model).eval()
        return Workshop(images, original, batches, lambda out, y: nn.functional.cross_entropy(out, y))

    return make
