"""`fit`: trains a model with exits under a regime."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from offramp.errors import TrainingError
from offramp.regimes import Joint, Regime
from offramp.training.acceleration import accelerator_for
from offramp.training.callbacks import Callback, checked_callbacks
from offramp.training.history import History
from offramp.training.loaders import check_loader
from offramp.training.loop import Job, Loop
from offramp.training.options import OptimizerFactory, TrainingOptions, folder_of
from offramp.training.seeding import caller_randomness_kept


def fit(
    model: nn.Module,
    train_loader: Any,
    val: Any | None = None,
    regime: Regime | None = None,
    epochs: int = 3,
    seed: int = 0,
    *,
    optimizer: str | OptimizerFactory = "sgd",
    lr: float | None = None,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    nesterov: bool = True,
    schedule: str = "cosine",
    warmup: float = 0.0,
    precision: str = "auto",
    device: str | torch.device = "auto",
    channels_last: bool = False,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    patience: int | None = None,
    progress: bool = True,
    callbacks: Sequence[Callback] = (),
    cache_features: bool | int = False,
) -> History:
    """Trains a model with exits in place, on one device or, under `accelerate launch`, on many.

    Afterwards the model is on the training device, in evaluation mode and without gradients. With `val` every phase
    ends with the weights of its best epoch: the one with the highest mean validation accuracy of the exits that the
    phase watches (all of them, if all learn), the earliest among equals. Without, it ends with the last ones. The
    caller's random state is as before.

    Several processes: `accelerate launch --multi_gpu train.py`; on CPUs the same with ACCELERATE_USE_CPU=true and
    `--num_processes 2`, since accelerate's `--cpu` alone starts more than one process only through MPI. Batches are
    dealt out to them in turn, so a step sees as many batches as there are processes.

    With `out`, every epoch ends with a checkpoint that is replaced in one step. Each epoch draws its randomness (data
    order, augmentation, dropout) from (seed, epoch) alone, so a run that was interrupted or killed at any moment and
    is called again with `resume=True` ends with the same bits as one that was not, on the same machine and number of
    threads. On a GPU that takes deterministic kernels too (`torch.use_deterministic_algorithms`). Randomness must
    come from Python's, NumPy's or torch's global generators, or from a `generator` attribute of loader, sampler or
    data set. `out` also gets `history.csv`, `history.json` and, where TensorBoard is installed, its event files.

    Args:
        model: from `attach`: it has `exits`, and its forward gives the logits of every exit, earliest first.
        train_loader: batches of `(inputs, labels)`, see `offramp.recording.unpack`; iterated once per epoch.
        val: the same for validation; without augmentation, which is up to the loader.
        regime: how the exits learn; `Joint()` by default.
        epochs: passes over the training data that the regime shares out between its phases. Each phase begins the
            optimizer and the schedule anew, and may have settings of its own.
        seed: of all randomness in training; at least 0.
        optimizer: "sgd", "adamw", or a callable from the trainable parameters to a torch Optimizer.
        lr: initial learning rate; by default 0.1 for SGD (batches of about 128) and 0.001 for AdamW.
        momentum: of SGD.
        weight_decay: of SGD and AdamW, on all parameters.
        nesterov: whether SGD looks ahead.
        schedule: "cosine" to 0, changed at every step; "step": x 0.1 at half and three quarters; or "constant".
        warmup: epochs, fractions allowed, over which the rate first rises linearly.
        precision: "fp32"; "bf16" or "fp16" mixed precision; "auto": bf16 where the GPU has it, else fp16 on a GPU, fp32
            elsewhere.
        device: "auto" takes the accelerator if there is one; or a torch device.
        channels_last: stores 4-d weights and inputs channels last; the same model, faster on most GPUs.
        out: folder for checkpoint and logs, made if needed.
        resume: continue the run in `out`; where there is none yet, start.
        patience: a phase ends when each of its exits has gone this many epochs without a new best validation accuracy
            of its own.
        progress: a progress bar with the exits' running accuracies, and a line per epoch, on standard error.
        callbacks: are told of every phase, epoch and step, see `offramp.training.Callback`; their state is in the
            checkpoint.
        cache_features: in phases in which only heads train, run the frozen backbone once and keep what the heads read,
            for training and validation samples, in the main memory: up to 2 GiB, or this many bytes. What does not fit
            is not kept, with a warning. The samples must be the same each time they are read.

    Returns:
        Losses and accuracies of every exit, epoch by epoch.

    Raises:
        TrainingError: an argument is impossible; a loader is empty or its labels out of range; the loss became NaN or
            infinite; the regime names parts or exits that the model has not; `out` cannot be written, holds another
            run, or one and `resume` is False.
        FileFormatError: the checkpoint in `out` is damaged.
        KeyboardInterrupt: Ctrl-C, with a note that names the call to continue; the model is as the last step left it.

    Example:
        >>> history = fit(model, train_loader, val=val_loader, epochs=3, progress=False)  # doctest: +SKIP
        >>> history.rows[-1].val.accuracy  # doctest: +SKIP
        (0.889, 0.908, 0.92)
    """
    options = TrainingOptions(
        epochs=epochs,
        seed=seed,
        optimizer=optimizer,
        lr=lr,
        momentum=momentum,
        weight_decay=weight_decay,
        nesterov=nesterov,
        schedule=schedule,
        warmup=warmup,
        precision=precision,
        device=device,
        channels_last=channels_last,
        out=folder_of(out),
        resume=resume,
        patience=patience,
        progress=progress,
        cache_features=cache_features,
    )
    job = Job(model, train_loader, val, Joint() if regime is None else regime, checked_callbacks(callbacks))
    _check(job, options)
    return _train(job, options)


def _check(job: Job, options: TrainingOptions) -> None:
    exits = getattr(job.model, "exits", None)
    if not isinstance(exits, int) or exits < 1:
        raise TrainingError(
            f"fit(model={type(job.model).__name__}): a model with exits is needed; attach some with offramp.attach."
        )
    if not isinstance(job.regime, Regime):
        raise TrainingError(f"fit(regime={job.regime!r}): give an instance from offramp.regimes, e.g. Joint().")
    check_loader("train_loader", job.train, resumable=options.out is not None)
    if job.val is not None:
        check_loader("val", job.val, resumable=options.out is not None)


def _train(job: Job, options: TrainingOptions) -> History:
    with caller_randomness_kept((job.train, job.val)), accelerator_for(options) as accelerator:
        loop = Loop(job, options, accelerator)
        try:
            return loop.run()
        except KeyboardInterrupt as stop:
            stop.add_note(loop.interrupted())
            raise
        finally:
            loop.close()
