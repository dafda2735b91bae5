"""Trains the network by `fit`, with Distiller's loss and lines, and ends with the weights of the best epoch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

import offramp as ofr
from offramp.cli.classify_options import ClassifyOptions
from offramp.cli.steps.classification import networks
from offramp.cli.steps.classification.folder import ClassifyFolder, read_weights
from offramp.cli.steps.classification.learning import Classification, Lesson, Meter
from offramp.cli.steps.classification.monitor import Monitor, Watch
from offramp.cli.steps.classification.setting import Setting
from offramp.errors import TrainingError


def train(setting: Setting, resume: bool) -> None:
    """Trains in place; the model then has the weights of the best epoch.

    Args:
        setting: model, images, policy and where things go.
        resume: whether the run in the folder is continued.

    Raises:
        TrainingError: the loss became infinite, or the run's files cannot be written; the last whole ones stay.
        FileFormatError: the teacher's weights do not fit, or the checkpoint is damaged.
    """
    options, model, images = setting.options, setting.model, setting.images
    meter = Meter(model.exits)
    teacher = networks.teacher(options, len(images.classes), images.example)
    watch = Watch(
        validation=images.validation,
        policy=setting.policy,
        print_freq=options.training.print_freq,
        num_best=options.output.num_best_scores,
        lr=options.training.lr,
        facts=setting.facts(),
    )
    monitor = Monitor(watch, meter, setting.folder, setting.journal)
    weights = tuple(options.exits.loss_weights or ())
    regime = Classification(weights, meter)
    if teacher is not None:
        regime = Classification(weights, meter, _lesson(options), teacher.to(setting.device).eval())
    with _full_disks_explained(setting.folder):
        _fit(setting, regime, monitor, resume)
    networks.load(model, read_weights(setting.folder.best), str(setting.folder.best))
    model.eval()


def _fit(setting: Setting, regime: Classification, monitor: Monitor, resume: bool) -> None:
    asked = setting.options.training
    with deterministic(asked.deterministic):
        ofr.fit(
            setting.model,
            setting.images.train,
            # Validation is the monitor's, which takes exits.
            val=None,
            regime=regime,
            epochs=asked.epochs,
            seed=setting.seed,
            optimizer="sgd",
            lr=asked.lr,
            momentum=asked.momentum,
            weight_decay=asked.weight_decay,
            nesterov=False,
            schedule="constant",
            precision="fp32",
            device=setting.device,
            channels_last=setting.device.type == "cpu",
            out=setting.folder.training,
            resume=resume,
            progress=False,
            callbacks=[monitor],
        )


@contextmanager
def _full_disks_explained(folder: ClassifyFolder) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TrainingError(
            f"The run in {folder.path} was stopped by: {error}. The checkpoint of the last whole epoch is kept. Where "
            f"the disk is full, make room; then continue with --resume-from {folder.path}"
        ) from error


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Only deterministic operations inside, where that is wanted; what was before is put back."""
    if wanted:
        # Without it cuBLAS has no deterministic matrix product.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(wanted or before)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def _lesson(options: ClassifyOptions) -> Lesson:
    asked = options.distillation
    return Lesson(asked.temperature, asked.distill_weight, asked.student_weight, asked.start_epoch)
