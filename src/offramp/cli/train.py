"""`offramp train`: trains a network of the zoo with exits, and records what calibration needs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from offramp.cli.failures import UsageError
from offramp.cli.options import Common
from offramp.cli.run_folder import Request, RunFolder

List = Annotated[list[str] | None, Parameter(consume_multiple=True, negative=())]


def train(
    *,
    arch: str = "resnet_small",
    data: str = "fashion-mnist",
    at: List = None,
    head: str = "pooled_linear",
    epochs: int = 6,
    batch_size: int = 128,
    optimizer: str = "sgd",
    lr: float | None = None,
    schedule: str = "cosine",
    warmup: float = 0.0,
    regime: List = None,
    regime_options: List = None,
    regime_weights: List = None,
    validation: int | float | None = None,
    calibration: int | float | None = None,
    out: Path | None = None,
    resume: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    common: Common = Common(),  # noqa: B008 - frozen, so sharing it is safe
) -> None:
    """Train a network with exits on a data set.

    The run folder then holds the model, the training history and the recordings that calibration needs.

    Args:
        arch: network of the zoo, e.g. resnet_small, resnet20_cifar, lenet.
        data: fashion-mnist or digits.
        at: cuts: module names as `offramp inspect` lists them, or shares of the MACs such as 0.25; by default the
            network's own.
        head: exit head: pooled_linear or sdn_pool.
        epochs: passes over the training split.
        batch_size: images per step.
        optimizer: sgd or adamw.
        lr: initial learning rate; by default the optimizer's.
        schedule: of the learning rate: cosine, step or constant.
        warmup: epochs over which it rises from 0 first.
        regime: how the exits learn: joint (default), disjoint, mixed, ...; several names wrap one another, the
            outermost first.
        regime_options: its parameters, e.g. first=4 for the epochs of the first phase, or joint.lr_factor=0.1.
        regime_weights: of the exits' losses: mean, depth, ramp, or one number per early exit.
        validation: size of the validation split, as a count or a share of the training part.
        calibration: size of the calibration split, likewise.
        out: run folder; by default runs/ARCH-DATA-seedSEED.
        resume: continue the run in the folder.
        common: options of every command.
    """
    from offramp.cli.materials import checked, default_sizes
    from offramp.cli.session import Session
    from offramp.cli.steps import training

    session = Session(common)
    sizes = default_sizes(data)
    request = checked(
        Request(
            arch=arch,
            data=data,
            at=tuple(at or ()),
            head=head,
            seed=session.seed(),
            validation=sizes.validation if validation is None else validation,
            calibration=sizes.calibration if calibration is None else calibration,
            epochs=epochs,
            batch_size=batch_size,
            optimizer=optimizer,
            lr=lr,
            schedule=schedule,
            warmup=warmup,
            weights=parse_weights(regime_weights),
            regime=tuple(regime or ("joint",)),
            regime_options=tuple(regime_options or ()),
        )
    )
    training.regime_of(request)
    folder = RunFolder(out or Path("runs") / f"{arch}-{data}-seed{request.seed}")
    result = training.train(folder, request, session, resume)
    session.say(f"Next: offramp calibrate {folder.path}")
    session.deliver(result)


def parse_weights(given: list[str] | None) -> str | tuple[float, ...]:
    """A name, or numbers.

    Raises:
        UsageError: neither.
    """
    if not given:
        return "mean"
    if given in (["mean"], ["depth"], ["ramp"]):
        return given[0]
    try:
        return tuple(float(weight) for weight in given)
    except ValueError as error:
        raise UsageError(
            f"--regime-weights {' '.join(given)}: give mean, depth, ramp, or one number per early exit."
        ) from error
