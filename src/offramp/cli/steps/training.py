"""Trains the network of a run, and records the splits that calibration needs."""

from __future__ import annotations

from typing import Any

import offramp as ofr
from offramp.cli.materials import Materials, load_model, new_model
from offramp.cli.run_folder import Request, RunFolder
from offramp.cli.session import Session
from offramp.cli.steps import surroundings
from offramp.regimes import Regime

RECORDED = ("validation", "calibration")


def train(run: RunFolder, request: Request, session: Session, resume: bool, notice: str = "") -> dict[str, Any]:
    """Trains, saves the model, records.

    Args:
        run: where to.
        request: what is trained.
        session: surroundings of the command.
        resume: continue the run in the folder.
        notice: what must be announced wherever results of the run are shown.

    Returns:
        The run's folder, the exits with their costs, and how training went.

    Raises:
        TrainingError: the folder holds another run, or cannot be written; or training failed.
        DataError: the images cannot be had.
        AttachError: the cuts do not fit the network.
    """
    run.claim(request, resume)
    session.say(f"Loading {request.data} ...")
    materials = Materials.of(request)
    model = new_model(request, materials)
    run.describe(
        request,
        created=surroundings.now(),
        data={
            "name": materials.train.name,
            "provenance": materials.train.provenance,
            "notice": notice,
            "splits": materials.splits.record(),
        },
        cuts=list(model.cuts),
        device=surroundings.device_name(session.device),
        versions=surroundings.versions(),
        commit=surroundings.commit(),
    )
    history = _fit(run, request, session, materials, model, resume)
    if history.final_exit is not None:
        session.say(history.final_exit.sentence())
    model.save(run.model, meta={"arch": request.arch, "data": request.data})
    record(run, session, materials)
    return _summary(run, model, history)


def record(run: RunFolder, session: Session, materials: Materials) -> None:
    """Runs every exit on validation and calibration split."""
    model = load_model(run, materials, session.device)
    for split in RECORDED:
        session.say(f"Recording the {split} split ({len(getattr(materials.splits, split)):,} samples) ...")
        recording = ofr.record(model, materials.loader(split), {"split": split, "seed": run.request.seed})
        path = run.recording(split)
        # Complete or not there at all: its existence tells that this step is done.
        beside = path.with_suffix(".part")
        recording.save(beside)
        beside.replace(path)


def regime_of(request: Request) -> Regime:
    """The regime that is asked for.

    Raises:
        TrainingError: unknown names or parameters, or impossible values.
    """
    weights = () if request.weights == "mean" else (f"weights={_as_option(request.weights)}",)
    return ofr.regimes.from_words(request.regime, (*weights, *request.regime_options))


def _as_option(weights: str | tuple[float, ...]) -> str:
    return weights if isinstance(weights, str) else "".join(f"{weight!r}," for weight in weights)


def _fit(
    run: RunFolder, request: Request, session: Session, materials: Materials, model: ofr.ExitModel, resume: bool
) -> ofr.History:
    train_split = len(materials.splits.train)
    session.say(
        f"Training {request.arch} with exits behind {', '.join(model.cuts)} on {train_split:,} images for "
        f"{request.epochs} epochs on {surroundings.device_name(session.device)} ..."
    )
    return ofr.fit(
        model,
        materials.train_loader(),
        val=materials.loader("validation"),
        regime=regime_of(request),
        epochs=request.epochs,
        seed=request.seed,
        optimizer=request.optimizer,
        lr=request.lr,
        schedule=request.schedule,
        warmup=request.warmup,
        device=session.device,
        # Convolutions on a CPU run about twice as fast in this layout.
        channels_last=session.device.type == "cpu",
        out=run.training,
        resume=resume,
    )


def _summary(run: RunFolder, model: ofr.ExitModel, history: ofr.History) -> dict[str, Any]:
    best = next((row for row in history.rows if row.epoch == history.best_epoch), history.rows[-1])
    return {
        "run": str(run.path),
        "cuts": list(model.cuts),
        "macs": list(model.cost.macs),
        "plain_macs": model.cost.plain,
        "epochs": len(history.rows),
        "best_epoch": history.best_epoch,
        "seconds": history.seconds,
        "final_exit": None if history.final_exit is None else history.final_exit.to_dict(),
        "validation": None if best.val is None else {"accuracy": list(best.val.accuracy), "samples": best.val.samples},
    }
