"""Trains a network of the zoo without exits, so that there is something to compress."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from offramp.cli.materials import Materials
from offramp.cli.run_folder import Request
from offramp.cli.session import Session
from offramp.compression.trainer import Trainer
from offramp.errors import FileFormatError
from offramp.reporters import wording
from offramp.training.optimization import Schedule


def pretrained(model: nn.Module, materials: Materials, request: Request, file: Path, session: Session) -> nn.Module:
    """The network after its epochs; goes on after the last one that is in the file.

    Args:
        model: with fresh weights; is changed.
        materials: its images.
        request: says for how long, and how.
        file: gets weights and optimizer after every epoch.
        session: surroundings of the command.

    Raises:
        FileFormatError: the file is damaged, or of another network.
    """
    trainer = Trainer(materials.train_loader(), materials.loader("validation"), lr=request.lr or 0.1, seed=request.seed)
    optimizer, _ = trainer.configure_optimizers(model)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    schedule = Schedule(request.schedule, request.epochs)
    done = _restored(model, optimizer, file)
    for epoch in range(done, request.epochs):
        schedule.apply(optimizer, epoch, 1.0)
        model.train()
        loss = trainer.train_epoch(None, model, epoch, optimizer, None)
        shown = wording.percent(trainer.validate(model.eval()))
        session.say(f"plain epoch {epoch + 1}/{request.epochs}  loss {loss:.3f}  validation accuracy {shown}")
        _save(model, optimizer, epoch + 1, file)
    return model.eval()


def _restored(model: nn.Module, optimizer: torch.optim.Optimizer, file: Path) -> int:
    if not file.exists():
        return 0
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        return int(state["epochs"])
    except Exception as error:
        raise FileFormatError(
            f"{file} is damaged, or of another network ({type(error).__name__}). Delete it."
        ) from error


def _save(model: nn.Module, optimizer: torch.optim.Optimizer, epochs: int, file: Path) -> None:
    state: dict[str, Any] = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epochs": epochs}
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_suffix(".part")
    torch.save(state, beside)
    beside.replace(file)
