"""A compression that needs no algorithm of the library, and a trainer that trains for real in milliseconds."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from offramp.compression import ALGORITHMS, Algorithm, Compressor, Stage, Statistics
from offramp.compression.algorithms import Workshop, register
from offramp.compression.schedules import Schedule
from offramp.compression.settings import rate, setting

# Tests import what is also run as a script, in a process of its own.
sys.path.insert(0, str(Path(__file__).parent))

FAKES = ("thinning", "rounding")


@dataclass(frozen=True, kw_only=True)
class Thinning(Algorithm):
    """Takes the smallest weights of the first layer away, by a schedule over `steps` epochs."""

    rate_can_be_searched: ClassVar[bool] = True

    start: float = rate(0.5, at="start")
    target: float = rate(0.5)
    steps: int = setting(1, least=1, also=("params.pruning_steps",))
    names: tuple[str, ...] = setting(())
    kind: str = setting("small", choices=("small", "large"))

    def apply(self, model: nn.Module, workshop: Workshop) -> Thinner:
        return Thinner(model, self)

    @property
    def target_rate(self) -> float:
        return self.target


@dataclass(frozen=True)
class Rising(Schedule):
    """From start to target in equal steps."""

    target: float
    start: float
    steps: int

    def rate(self, epoch: int) -> float:
        return self.start + min(1.0, (epoch + 1) / self.steps) * (self.target - self.start)


class Thinner(Compressor):
    maximal_rate = 0.95

    def __init__(self, model: nn.Module, settings: Thinning) -> None:
        self.model, self.settings = model, settings
        self.layer = next(m for m in model.modules() if isinstance(m, nn.Linear))
        self.layer.register_buffer("mask", torch.ones_like(self.layer.weight))
        self.layer.register_forward_pre_hook(_mask)
        self.rate, self.frozen = settings.start, False
        self.schedule = Rising(settings.target, settings.start, settings.steps)
        self._apply()

    @property
    def stage(self) -> Stage:
        return Stage.FULLY if self.frozen or self.rate >= self.settings.target else Stage.PARTLY

    def statistics(self) -> Statistics:
        return Statistics(self.rate, float((self.layer.mask == 0).float().mean()))

    def epoch_step(self, epoch: int) -> None:
        if not self.frozen:
            self.rate = self.schedule.rate(epoch)
        self._apply()

    def set_rate(self, rate: float) -> None:
        self.rate, self.frozen = rate, True
        self._apply()

    def _apply(self) -> None:
        sizes = self.layer.weight.detach().abs().flatten()
        taken = sizes.argsort()[: int(self.rate * len(sizes))]
        self.layer.mask.fill_(1).view(-1)[taken] = 0

    def state_dict(self) -> dict[str, Any]:
        return {"rate": self.rate, "frozen": self.frozen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.rate, self.frozen = state["rate"], state["frozen"]


@dataclass(frozen=True, kw_only=True)
class Rounding(Algorithm):
    """Does nothing, and has no rate."""

    refuses: ClassVar[frozenset[str]] = frozenset({"thickening"})

    bits: int = setting(8, at="weights.bits", least=4, most=8)

    def apply(self, model: nn.Module, workshop: Workshop) -> Rounder:
        return Rounder()


class Rounder(Compressor):
    stage = Stage.FULLY

    def statistics(self) -> Statistics:
        return Statistics(None, None, details={"bits": 8.0})

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        return None


def _mask(layer: nn.Module, inputs: Any) -> None:
    # Straight onto the data, so that what is taken stays taken until the mask changes.
    layer.weight.data.mul_(layer.mask)


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files the two above for one test."""
    monkeypatch.setattr(ALGORITHMS, "_members", dict(ALGORITHMS._members))
    register(Thinning)
    register(Rounding)


class Task:
    """Sixteen points in four classes, two linear layers, and the callbacks that train and validate on them."""

    def __init__(self, lr: float = 0.1, dropout: float = 0.2) -> None:
        generator = torch.Generator().manual_seed(0)
        self.inputs = torch.randn(64, 6, generator=generator)
        self.labels = (self.inputs[:, 0] > 0).long() + 2 * (self.inputs[:, 1] > 0).long()
        self.lr, self.dropout = lr, dropout
        self.trained: list[int] = []
        self.validated: list[int] = []

    def model(self) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            return nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Dropout(self.dropout), nn.Linear(12, 4))

    def train_epoch(self, controller: Any, model: nn.Module, epoch: int, optimizer: Any, lr_scheduler: Any) -> float:
        self.trained.append(epoch)
        total = 0.0
        for rows in torch.randperm(64).split(16):
            controller.scheduler.step()
            loss = F.cross_entropy(model(self.inputs[rows]), self.labels[rows]) + controller.loss()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += float(loss.detach())
        return total / 4

    def validate(self, model: nn.Module, epoch: int) -> float:
        self.validated.append(epoch)
        logits: Tensor = model(self.inputs)
        return float((logits.argmax(1) == self.labels).float().mean())

    def optimizers(self, model: nn.Module) -> tuple[Any, Any]:
        optimizer = torch.optim.SGD(model.parameters(), lr=self.lr, momentum=0.9)
        return optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.9)

    @property
    def callbacks(self) -> dict[str, Any]:
        return {
            "train_epoch": self.train_epoch,
            "validate": self.validate,
            "configure_optimizers": self.optimizers,
            "example": self.inputs[:2],
            "progress": False,
        }


@pytest.fixture
def task() -> Task:
    return Task()
