"""The flags of `offramp classify`: Distiller's, under its names and with its defaults, and what is new here.

Nothing here imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from offramp.cli.options import Common

Switch = Parameter(negative=(), show_default=False)
Strings = list[str] | None
Numbers = list[float] | None
Summary = Literal["sparsity", "compute", "model", "modules", "png"]


def _named(*names: str) -> Parameter:
    return Parameter(name=names, negative=())


@Parameter(name="*", group="Network")
@dataclass(frozen=True)
class NetworkOptions:
    """Which network, and with which weights it starts."""

    arch: Annotated[str, _named("--arch", "-a")] = "resnet18"
    """Network of the zoo; the kind of data follows from it: cifar, mnist, or else an image folder as for ImageNet."""
    exits: Annotated[Strings, _named("--exits")] = None
    """Early exits elsewhere, or on a network without: module names as `offramp inspect` lists them, or shares of the
    MACs such as 0.25."""
    pretrained: Annotated[bool, Switch] = False
    """Start from torchvision's weights, if they are in torch's cache on this machine; nothing is downloaded."""
    resume_from: Annotated[Path | None, _named("--resume-from")] = None
    """Go on with an earlier run: its folder, or a checkpoint in it. Flags that are left out are as they were there."""
    load_weights_from: Annotated[Path | None, _named("--exp-load-weights-from")] = None
    """Start from the weights in a checkpoint, those of the same network without exits included."""
    reset_optimizer: Annotated[bool, Parameter(name="--reset-optimizer", negative=(), show_default=False)] = False
    """With --resume-from: take the weights only, and count epochs from the start."""


@Parameter(name="*", group="Early exits")
@dataclass(frozen=True)
class ExitOptions:
    """When samples leave, and how the exits learn."""

    thresholds: Annotated[Numbers, _named("--earlyexit_thresholds", "--earlyexit-thresholds")] = None
    """One per early exit, earliest first: a sample leaves where the entropy is strictly below it, in nats. With another
    --criterion: where the score is strictly above it."""
    loss_weights: Annotated[Numbers, _named("--earlyexit_lossweights", "--earlyexit-lossweights")] = None
    """Of the early exits' losses, earliest first; the final exit gets 1 minus their sum."""
    criterion: str = "entropy"
    """What decides whether a sample leaves: entropy, max_probability, margin, ..."""
    calibrate: Annotated[Strings, _named("--calibrate")] = None
    """Choose the thresholds on held-out training images: drop=1% is the most that accuracy may fall, delta=5% the
    risk that it falls by more; without delta the choice is empirical."""
    report_label_oracle: Annotated[bool, Parameter(negative=(), show_default=False)] = False
    """Also report Distiller's totals, whose exits are decided by the true labels: an oracle that cannot be deployed."""


@Parameter(name="*", group="Training")
@dataclass(frozen=True)
class TrainingOptions:
    """How weights are learned: stochastic gradient descent at a constant rate."""

    epochs: int = 90
    """Passes over the training images."""
    batch_size: Annotated[int, _named("--batch-size", "-b")] = 256
    """Images per step."""
    lr: Annotated[float, _named("--lr", "--learning-rate")] = 0.1
    """Learning rate."""
    momentum: float = 0.9
    """Of the gradient."""
    weight_decay: Annotated[float, _named("--weight-decay", "--wd")] = 1e-4
    """On all parameters."""
    print_freq: Annotated[int, _named("--print-freq", "-p")] = 10
    """Steps between two lines."""
    evaluate: Annotated[bool, Parameter(name=("--evaluate", "-e"), negative=(), show_default=False)] = False
    """Only evaluate, on the test images."""
    deterministic: Annotated[bool, Parameter(name=("--deterministic", "--det"), negative=(), show_default=False)] = (
        False
    )
    """Refuse operations whose results vary from run to run; on a CPU runs are alike without it."""


@Parameter(name="*", group="Images")
@dataclass(frozen=True)
class ImageOptions:
    """How the images are divided and read."""

    validation_split: Annotated[float, _named("--validation-split", "--valid-size", "--vs")] = 0.1
    """Share of the training images held out for validation; with --calibrate, as many again for that."""
    train_size: Annotated[float, _named("--effective-train-size", "--etrs")] = 1.0
    """Share of the training split that is used."""
    validation_size: Annotated[float, _named("--effective-valid-size", "--evs")] = 1.0
    """Share of the validation split that is used."""
    test_size: Annotated[float, _named("--effective-test-size", "--etes")] = 1.0
    """Share of the test images that is used."""
    workers: Annotated[int, _named("--workers", "-j")] = 4
    """Processes that prepare images; no more than there are cores, and none for images that fit in memory."""
    gpus: str | None = None
    """Number of the GPU to use, as torch counts them: one. Where there is none, the CPU is used, with a note."""
    cpu: Annotated[bool, Switch] = False
    """Use no GPU, whatever --gpus says."""


@Parameter(name="*", group="Output")
@dataclass(frozen=True)
class OutputOptions:
    """What is written and shown."""

    name: Annotated[str | None, _named("--name", "-n")] = None
    """Of the experiment; the run's folder is OUT/NAME___YYYY.MM.DD-HHMMSS."""
    out_dir: Annotated[Path, _named("--out-dir", "-o")] = Path("logs")
    """Folder for the runs' folders."""
    confusion: Annotated[bool, Switch] = False
    """Show the confusion matrix of what is answered on the test images."""
    num_best_scores: int = 1
    """How many of the best epochs are listed."""
    summary: Annotated[list[Summary] | None, _named("--summary")] = None
    """Describe the network and stop; may be given several times."""
    export_onnx: Annotated[str | None, _named("--export-onnx")] = None
    """Write the network with its exits as ONNX; a name for the folder may follow, default model.onnx."""


@Parameter(name="*", group="Knowledge distillation")
@dataclass(frozen=True)
class DistillationOptions:
    """A trained teacher, whose answers every exit learns."""

    teacher: Annotated[str | None, _named("--kd-teacher")] = None
    """Network of the zoo that teaches."""
    pretrained: Annotated[bool, Parameter(name="--kd-pretrained", negative=(), show_default=False)] = False
    """As --pretrained, for the teacher."""
    resume: Annotated[Path | None, _named("--kd-resume")] = None
    """Checkpoint with the teacher's weights."""
    temperature: Annotated[float, _named("--kd-temperature", "--kd-temp")] = 1.0
    """By which both networks' logits are divided before they are compared."""
    distill_weight: Annotated[float, _named("--kd-distill-wt", "--kd-dw")] = 0.5
    """Of the loss against the teacher's answers."""
    student_weight: Annotated[float, _named("--kd-student-wt", "--kd-sw")] = 0.5
    """Of the loss against the labels."""
    teacher_weight: Annotated[float, _named("--kd-teacher-wt", "--kd-tw")] = 0.0
    """Of the teacher's own loss, which changes no weight of the student; kept for Distiller's command lines."""
    start_epoch: Annotated[int, _named("--kd-start-epoch")] = 0
    """Epoch, counted from 0, with which distillation begins."""


@Parameter(name="*", group="Compression")
@dataclass(frozen=True)
class CompressionOptions:
    """Making the network smaller, exits included."""

    compress: Path | None = None
    """Configuration of accuracy-aware training, as for `offramp compress`; runs after the epochs."""
    sense: Annotated[Literal["element", "filter"] | None, _named("--sense", "--sensitivity")] = None
    """Prune each layer alone, by weights or by filters, measure what that costs, and stop."""
    sense_range: Annotated[Numbers, _named("--sense-range", "--sensitivity-range")] = None
    """First level, end and step of the sparsities tried by --sense; default 0.0 0.95 0.05, as in Distiller."""


@Parameter(name="*")
@dataclass(frozen=True)
class ClassifyOptions:
    """Everything that can be asked for."""

    network: NetworkOptions = field(default_factory=NetworkOptions)
    exits: ExitOptions = field(default_factory=ExitOptions)
    training: TrainingOptions = field(default_factory=TrainingOptions)
    images: ImageOptions = field(default_factory=ImageOptions)
    output: OutputOptions = field(default_factory=OutputOptions)
    distillation: DistillationOptions = field(default_factory=DistillationOptions)
    compression: CompressionOptions = field(default_factory=CompressionOptions)
    common: Common = field(default_factory=Common)
