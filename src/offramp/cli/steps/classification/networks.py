"""The network that is asked for, its exits, its first weights, and the policy by which samples leave."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

import offramp as ofr
from offramp import zoo
from offramp.backbones import Signature
from offramp.cli.classify_options import ClassifyOptions, ExitOptions
from offramp.cli.failures import UsageError
from offramp.cli.materials import check_name
from offramp.cli.steps.classification.checking import Places
from offramp.cli.steps.classification.folder import read_weights
from offramp.criteria import CRITERIA, Entropy, ready_made
from offramp.errors import FileFormatError, closest
from offramp.exit_model import ExitModel

CACHE = Path("checkpoints")
TWIN = "_earlyexit"
RANDOM = (
    "No weights are given, so they are random: --resume-from RUN or --exp-load-weights-from FILE takes trained ones."
)


def places(arch: str, exits: Sequence[str] | None, flag: str = "--arch") -> Places:
    """The early exits that are asked for, before anything is built.

    Args:
        arch: name of the network.
        exits: where exits go instead of where they were published.
        flag: what named the network, for the message.

    Raises:
        UsageError: there is no such architecture; the message names the closest.
    """
    known = zoo.names()
    if arch not in known:
        raise UsageError(f"{flag} {arch}: there is no such network. {closest(arch, known)}")
    twin = arch + TWIN
    own = zoo.published_exits(arch) if zoo.is_early_exit(arch) else ()
    return Places(arch, tuple(exits or own), twin if twin in known else None)


def network(arch: str, exits: Sequence[str] | None, classes: int, example: Tensor, seed: int) -> ExitModel:
    """A network with fresh weights; one without exits answers through the same interface, with its own output alone.

    Args:
        arch: its name.
        exits: where exits go instead of where they were published.
        classes: number of them.
        example: `[1, channels, height, width]`.
        seed: of the weights.

    Raises:
        AttachError: the network cannot be cut there.
        OfframpError: the images are too small for it.
    """
    channels, height, width = example.shape[1:]
    if places(arch, exits).cuts:
        return zoo.build_with_exits(arch, classes, channels, (height, width), exits, seed)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        backbone = zoo.build(arch, classes, channels, (height, width))
    return ExitModel(backbone, (), (), Signature.of(example), classes)


def load(model: ExitModel, weights: dict[str, Tensor], source: str) -> str:
    """Takes over weights, those of the plain network included; all or nothing.

    Returns:
        What was taken, in words.

    Raises:
        FileFormatError: they do not fit.
    """
    plain = model.exits == 1
    taken = zoo.load_weights(model.backbone if plain else model, weights, source)
    if plain or taken.heads:
        return f"Weights from {source}."
    return f"Weights from {source}: those of the backbone; the exits' heads start afresh."


def start(model: ExitModel, options: ClassifyOptions) -> str | None:
    """Loads the first weights that are asked for, and says which; None where there are none and training follows.

    Raises:
        FileFormatError: they are missing, damaged or of another network.
    """
    asked = options.network
    if asked.pretrained:
        return load(model, *_pretrained(asked.arch))
    path = asked.load_weights_from or asked.resume_from
    if path is None:
        return RANDOM if options.training.evaluate or options.compression.sense else None
    said = load(model, read_weights(path), str(path))
    if options.exits.calibrate and asked.resume_from is None:
        said += " Whether they were trained on images that --calibrate now holds out is not known: it would void it."
    return said


def teacher(options: ClassifyOptions, classes: int, example: Tensor) -> ExitModel | None:
    """The network that teaches, with its weights; None where none is asked for.

    Raises:
        UsageError: there is no such network.
        FileFormatError: its weights are missing, damaged or of another network.
    """
    asked = options.distillation
    if asked.teacher is None:
        return None
    built = network(asked.teacher, None, classes, example, 0)
    load(built, *_pretrained(asked.teacher)) if asked.resume is None else load(
        built, read_weights(asked.resume), str(asked.resume)
    )
    return built


def policy(asked: ExitOptions, cuts: Sequence[str]) -> ofr.Policy:
    """When samples leave; before thresholds are chosen by --calibrate, never.

    Distiller's threshold T of the entropy is -T here, where larger scores are surer.

    Raises:
        UsageError: there is no such criterion.
    """
    check_name("criterion", asked.criterion, ready_made())
    criterion = CRITERIA[asked.criterion]()
    given = asked.thresholds
    if given is None:
        return ofr.Policy(criterion, [float("inf")] * len(cuts))
    return ofr.Policy(criterion, [-t for t in given] if isinstance(criterion, Entropy) else given)


def _pretrained(arch: str) -> tuple[dict[str, Tensor], str]:
    """Torchvision's weights, where torch's cache on this machine has them, and their file."""
    folder = Path(torch.hub.get_dir()) / CACHE
    plain = zoo.plain_name(arch)
    files = sorted(folder.glob(f"{plain}-*.pth"))
    if not files:
        raise FileFormatError(
            f"--pretrained: there is no {plain}-*.pth in {folder}, and nothing is downloaded. Put torchvision's file "
            "there, or give a checkpoint with --exp-load-weights-from."
        )
    return read_weights(files[0]), str(files[0])
