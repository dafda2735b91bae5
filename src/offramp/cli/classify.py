"""`offramp classify`: Distiller's command line for image classifiers, with exits that are taken."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from offramp.cli.classify_options import ClassifyOptions
from offramp.cli.failures import UsageError


def classify(
    data: Path | None = None,
    /,
    *,
    options: ClassifyOptions = ClassifyOptions(),  # noqa: B008 - frozen, so sharing it is safe
) -> int:
    """Train or evaluate an image classifier with early exits, by the flags of Distiller's compress_classifier.py.

    Exits are decided by the entropy of what they answer, never by the label. Every run has a folder of its own, with
    text log, checkpoints, statistics (JSON, CSV, TensorBoard) and the policy. The test runs on the best epoch.

    Args:
        data: folder of the images: CIFAR's python batches, MNIST's idx files, or train/ and val/ with a folder per
            class.
        options: everything else.
    """
    network = replace(options.network, arch=options.network.arch.lower())
    options = replace(options, network=network)
    common = replace(options.common, device=device_of(options))
    from offramp.cli.session import Session
    from offramp.cli.steps.classification import running

    return running.run(data, options, Session(common))


def device_of(options: ClassifyOptions) -> str:
    """The device that --cpu, --gpus and --device ask for together.

    As in Distiller, --cpu overrules --gpus, and --gpus means the CPU where torch can use no GPU.

    Raises:
        UsageError: they contradict each other, or ask for several.
    """
    asked, gpus, cpu = options.common.device, options.images.gpus, options.images.cpu
    if asked != "auto" and (cpu or gpus):
        raise UsageError(f"--device {asked} and {'--cpu' if cpu else f'--gpus {gpus}'}: give one of them.")
    if cpu:
        return "cpu"
    if gpus is None:
        return asked
    if not gpus.isdecimal():
        raise UsageError(
            f"--gpus {gpus}: give the number of one GPU, e.g. --gpus 0. Several are not used by one process."
        )
    import torch

    return f"cuda:{gpus}" if torch.cuda.is_available() else "cpu"
