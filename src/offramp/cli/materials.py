"""What a run is made of: its images, split and batched, and its network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

import offramp as ofr
from offramp import data, zoo
from offramp.cli.failures import UsageError
from offramp.cli.run_folder import Request, RunFolder
from offramp.data import Augmentation, ImageData, Normalisation, Splits
from offramp.errors import DataError
from offramp.heads import HEADS
from offramp.training.options import OPTIMIZERS, SCHEDULES

SPLITS = ("train", "validation", "calibration", "test")


@dataclass(frozen=True)
class Sizes:
    """How much of a training part is held out: counts (int) or shares (float)."""

    validation: int | float
    calibration: int | float


DEFAULT_SIZES = {"fashion-mnist": Sizes(2500, 7500), "digits": Sizes(150, 500)}
# A mirrored digit is another sign, or none.
AUGMENTATIONS = {"fashion-mnist": Augmentation(padding=1), "digits": Augmentation(flip=False)}


def default_sizes(name: str) -> Sizes:
    """Of a data set; those of unknown ones do not matter, as `checked` refuses them."""
    return DEFAULT_SIZES.get(name, Sizes(0.1, 0.2))


def checked(request: Request) -> Request:
    """The same request, if all its names and sizes exist.

    Raises:
        UsageError: one does not; the message lists those that do.
    """
    check_name("arch", request.arch, zoo.ARCHITECTURES)
    check_name("data", request.data, data.DATASETS)
    check_name("head", request.head, HEADS)
    check_name("optimizer", request.optimizer, OPTIMIZERS)
    check_name("schedule", request.schedule, SCHEDULES)
    for option in ("epochs", "batch_size"):
        if getattr(request, option) < 1:
            raise UsageError(f"--{option.replace('_', '-')} {getattr(request, option)}: give at least 1.")
    return request


def check_name(option: str, name: str, known: Iterable[str]) -> None:
    """Refuses a name that is not known.

    Raises:
        UsageError: naming what is.
    """
    names = list(known)
    if name not in names:
        raise UsageError(f"--{option} {name}: there is none of this name. Allowed: {', '.join(names)}.")


@dataclass(frozen=True, eq=False)
class Materials:
    """Images of a run.

    Attributes:
        train: the training part, of which train, validation and calibration split are taken.
        test: the test part.
        splits: which sample is used for what.
        normalisation: of the train split.
        batch_size: for training.
    """

    train: ImageData
    test: ImageData
    splits: Splits
    normalisation: Normalisation
    batch_size: int

    @classmethod
    def of(cls, request: Request) -> Materials:
        """Loads and divides the images.

        Raises:
            DataError: the set cannot be had, a file is damaged, or the sizes exceed it.
        """
        train, test = data.load(request.data, fallback=False)
        splits = data.split(
            train.labels,
            validation=request.validation,
            calibration=request.calibration,
            test=len(test),
            seed=request.seed,
        )
        normalisation = Normalisation.of(train.images[splits.train])
        return cls(train, test, splits, normalisation, request.batch_size)

    def check_same(self, recorded: Mapping[str, Any], where: object) -> None:
        """Refuses to go on with other samples than the run was made with.

        Raises:
            DataError: the division is not the recorded one.
        """
        if self.splits.record() != dict(recorded):
            raise DataError(
                f"{self.train.name} is not divided as {where} says: the images or offramp changed since. Train again."
            )

    def train_loader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """Shuffled and augmented batches of the train split."""
        augmentation = AUGMENTATIONS.get(self.train.name, Augmentation())
        return data.train_loader(
            self.train, self.splits.train, self.normalisation, batch_size=self.batch_size, augmentation=augmentation
        )

    def loader(self, split: str) -> DataLoader[tuple[Tensor, Tensor]]:
        """Batches of a split in order, without augmentation."""
        part = self.test if split == "test" else self.train
        return data.evaluation_loader(part, getattr(self.splits, split), self.normalisation)

    def example(self) -> Tensor:
        """One image of the train split, as the network gets it."""
        return self.normalisation(self.train.images[self.splits.train[:1]])


def new_model(request: Request, materials: Materials) -> ofr.ExitModel:
    """A network with exits, its weights drawn from the request's seed.

    Raises:
        AttachError: the cuts do not fit the network.
    """
    backbone = _backbone(request, materials)
    at = [cut_at(item, backbone) for item in request.at] or zoo.default_cuts(request.arch)
    classes = len(materials.train.classes)
    return ofr.attach(backbone, at, materials.example(), classes, request.head, request.seed)


def load_model(run: RunFolder, materials: Materials, device: torch.device) -> ofr.ExitModel:
    """The trained network of a run, in evaluation mode.

    Raises:
        FileFormatError: it is missing, damaged, or of another architecture.
    """
    model = ofr.ExitModel.load(run.model, _backbone(run.request, materials)).to(device).eval()
    # Convolutions on a CPU run up to twice as fast in this layout.
    if device.type == "cpu":
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model


def _backbone(request: Request, materials: Materials) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(request.seed)
        height, width = materials.train.images.shape[-2:]
        return zoo.build(request.arch, len(materials.train.classes), materials.train.channels, (height, width))


def cut_at(item: str, backbone: nn.Module) -> str | float:
    """A module's name where there is one of this name ("0.1" in a Sequential), and otherwise a share of the MACs."""
    try:
        return item if item in dict(backbone.named_modules()) else float(item)
    except ValueError:
        return item
