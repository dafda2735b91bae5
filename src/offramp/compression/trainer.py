"""The functions that a loop needs, for classifiers: SGD on cross-entropy, accuracy on a validation split."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from offramp.backbones import arguments, device_of, map_tensors
from offramp.compression.controller import Controller
from offramp.errors import CompressionError
from offramp.recording import unpack
from offramp.training.seeding import seed_epoch


@dataclass(frozen=True)
class Trainer:
    """Trains and validates a classifier, with exits or without; `compress(model, config, **trainer.functions)`.

    Every epoch draws its randomness from (seed, epoch) alone, the loaders' own generators included, so that a loop that
    is resumed ends with the same bits.

    Args:
        train_loader: batches of `(inputs, labels)`.
        val_loader: the same, for validation.
        lr: of SGD with Nesterov momentum.
        momentum: likewise.
        weight_decay: on all parameters.
        seed: of all randomness in training.

    Attributes:
        metric: accuracy of the last exit, a share in [0, 1].
    """

    train_loader: Iterable[Any]
    val_loader: Iterable[Any]
    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    seed: int = 0

    def train_epoch(
        self, controller: Controller | None, model: nn.Module, epoch: int, optimizer: Any, lr_scheduler: Any
    ) -> float:
        """Trains one epoch, and gives the mean loss; without a controller, a model that is not compressed.

        Raises:
            CompressionError: the loader gives no batches, or batches without labels.
        """
        seed_epoch(self.seed, epoch + 1, 0, (self.train_loader,))
        device, total, batches = device_of(model), torch.zeros((), device=device_of(model)), 0
        for batch in self.train_loader:
            if controller is not None:
                controller.scheduler.step()
            logits, labels = _forward(model, batch, device)
            loss = self.loss(logits, labels)
            if controller is not None:
                loss = loss + controller.loss()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += loss.detach()
            batches += 1
        if not batches:
            raise CompressionError("The training loader gives no batches.")
        return float(total) / batches

    def validate(self, model: nn.Module, epoch: int = 0) -> float:
        """Share of the validation samples that the last exit classifies rightly."""
        return accuracy(model, self.val_loader)

    def configure_optimizers(self, model: nn.Module) -> tuple[torch.optim.Optimizer, None]:
        """A fresh optimizer; the learning rate is that of a fine-tuning and stays."""
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.SGD(
            trained, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay, nesterov=self.momentum > 0
        )
        return optimizer, None

    @property
    def functions(self) -> dict[str, Any]:
        """Arguments of `compress`."""
        return {
            "train_epoch": self.train_epoch,
            "validate": self.validate,
            "configure_optimizers": self.configure_optimizers,
            "data": self.train_loader,
            "loss": self.loss,
        }

    @staticmethod
    def loss(outputs: Any, labels: Tensor) -> Tensor:
        """Mean over the exits of the cross-entropy, in nats; `outputs` as a model gives them."""
        return torch.stack([F.cross_entropy(z, labels.long()) for z in _logits(outputs)]).mean()


@torch.no_grad()
def accuracy(model: nn.Module, loader: Iterable[Any]) -> float:
    """Share of the samples that the last exit classifies rightly; the model is used in the mode that it is in.

    Raises:
        CompressionError: the loader gives no samples, or batches without labels.
    """
    device = device_of(model)
    right = seen = 0
    for batch in loader:
        logits, labels = _forward(model, batch, device)
        right += int((logits[-1].argmax(1) == labels).sum())
        seen += len(labels)
    if not seen:
        raise CompressionError("The loader gives no samples.")
    return right / seen


def _forward(model: nn.Module, batch: Any, device: torch.device) -> tuple[list[Tensor], Tensor]:
    """Logits of every exit, earliest first, and the labels."""
    inputs, labels = unpack(batch)
    if labels is None:
        raise CompressionError("A batch has no labels: give batches of (inputs, labels).")
    args, kwargs = arguments(map_tensors(lambda tensor: tensor.to(device), inputs))
    return _logits(model(*args, **kwargs)), torch.as_tensor(labels).long().to(device)


def _logits(outputs: Any) -> list[Tensor]:
    logits = getattr(outputs, "logits", outputs)
    return list(logits) if isinstance(logits, list | tuple) else [logits]
