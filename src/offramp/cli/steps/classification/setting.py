"""Everything that the steps of one run share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

import offramp as ofr
from offramp.cli.classify_options import ClassifyOptions
from offramp.cli.session import Session
from offramp.cli.steps.classification import saved_options
from offramp.cli.steps.classification.folder import ClassifyFolder, Journal
from offramp.cli.steps.classification.images import Images


@dataclass(frozen=True, eq=False)
class Setting:
    """One run.

    Attributes:
        options: what is asked for, completed by the run that is resumed.
        session: surroundings of the command.
        journal: what is said goes there.
        folder: of the run.
        images: what it is fed.
        model: the network, with exits or without.
        policy: by which samples leave.
    """

    options: ClassifyOptions
    session: Session
    journal: Journal
    folder: ClassifyFolder
    images: Images
    model: ofr.ExitModel
    policy: ofr.Policy

    @property
    def seed(self) -> int:
        """Of splits, weights and training."""
        return self.options.common.seed or 0

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.session.device

    def facts(self) -> dict[str, Any]:
        """What a checkpoint says besides weights: all that is needed to use them, or to go on."""
        return {
            "arch": self.options.network.arch,
            "cuts": list(self.model.cuts),
            "classes": list(self.images.classes),
            "image_shape": list(self.images.example.shape[1:]),
            "policy": self.policy.to_dict(),
            "options": saved_options.to_dict(self.options),
            "split": self.images.record,
            "randomness": {"seed": self.seed, "drawn": "anew at every epoch's begin, from seed and epoch"},
        }
