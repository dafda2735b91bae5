"""Compresses the network of a run, or one that is trained first, and shows what came of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from torch import nn

import offramp as ofr
from offramp import zoo
from offramp.cli.failures import UsageError
from offramp.cli.materials import Materials, check_name, checked, default_sizes, load_model
from offramp.cli.run_folder import Request, RunFolder
from offramp.cli.session import Session
from offramp.cli.steps import surroundings
from offramp.cli.steps.pretraining import pretrained
from offramp.compression.configuration import Configuration
from offramp.compression.deployed import BudgetedAccuracy, Deployed, DeployedAccuracy, with_exits
from offramp.compression.exporting import FORMATS
from offramp.compression.outcome import Outcome
from offramp.compression.sizes import Shrinking
from offramp.compression.trainer import Trainer, accuracy
from offramp.errors import CompressionError
from offramp.reporters import compression as report
from offramp.reporters import wording

Watched = ofr.Policy | float | None
Sizes = tuple[int | float | None, int | float | None]


@dataclass(frozen=True)
class Subject:
    """The network that is compressed, and its images.

    Attributes:
        name: in words.
        request: the run it belongs to, or what such a run would be asked for.
        run: its folder, None where it is trained first.
        default_out: where results go.
    """

    name: str
    request: Request
    run: RunFolder | None
    default_out: Path


@dataclass(frozen=True)
class Task:
    """What is asked for.

    Attributes:
        subject: what is compressed.
        config: file that says how.
        lr: learning rate while the compressed network trains.
        exports: formats in which the small network is written.
        out: folder for everything.
        resume: whether an interrupted loop is continued there.
        watched: what the loop watches: the accuracy of the last exit, that under a policy, or that at mean MACs of
            this share of the plain network's.
    """

    subject: Subject
    config: Path
    lr: float
    exports: tuple[str, ...]
    out: Path
    resume: bool
    watched: Watched = None


def of_run(path: Path, batch_size: int) -> Subject:
    """The network with exits of a run.

    Raises:
        FileFormatError: the folder is no run.
    """
    run = RunFolder(path)
    request = replace(run.request, batch_size=batch_size)
    return Subject(f"{request.arch} with exits, on {request.data}", request, run, path / "compressed")


def of_arch(name: str, data: str, seed: int, sizes: Sizes, epochs: int, batch_size: int, lr: float) -> Subject:
    """A network of the zoo, to be trained first.

    Raises:
        UsageError: a name does not exist, or a number is out of range.
    """
    default = default_sizes(data)
    request = Request(
        arch=name,
        data=data,
        at=(),
        head="pooled_linear",
        seed=seed,
        validation=default.validation if sizes[0] is None else sizes[0],
        calibration=default.calibration if sizes[1] is None else sizes[1],
        epochs=epochs,
        batch_size=batch_size,
        optimizer="sgd",
        lr=lr,
        schedule="cosine",
        warmup=0.0,
        weights="mean",
    )
    out = Path("runs") / f"compressed-{name}-{data}-seed{seed}"
    return Subject(f"{name} on {data}", checked(request), None, out)


def watched(subject: Subject, deployed: bool, budget: float | None) -> Watched:
    """What the options for exits ask for, checked before anything is trained.

    Raises:
        UsageError: the budget is none.
        FileFormatError: the run has no policy.
    """
    if budget is not None and not budget > 0:
        raise UsageError(f"--budget {budget:g}: give a positive share of the plain network's MACs, e.g. 0.6.")
    return ofr.Policy.load(subject.run.policy) if deployed and subject.run is not None else budget


def run(task: Task, session: Session) -> dict[str, Any]:
    """Compresses, measures on the test split, and writes `outcome.json`, `report.html` and the exports.

    Raises:
        UsageError: there is no such format.
        ConfigurationError: the configuration has mistakes; all are named.
        CompressionError: it asks for no loop, does not fit the network, or the folder holds another loop.
        DataError: the images cannot be had.
    """
    for name in task.exports:
        check_name("export", name, FORMATS)
    configuration = Configuration.load(task.config)
    if configuration.loop is None:
        raise CompressionError(
            f"{task.config} asks for no loop: add accuracy_aware_training, see the manual's example."
        )
    _check_folder(task)
    session.say(f"Loading {task.subject.request.data} ...")
    materials = Materials.of(task.subject.request)
    model = _model(task, materials, session)
    trainer = Trainer(
        materials.train_loader(), materials.loader("validation"), lr=task.lr, seed=task.subject.request.seed
    )
    example = materials.example().to(session.device)
    session.say(f"Compressing {task.subject.name} on {surroundings.device_name(session.device)} ...")
    metric = _metric(task, materials, model)
    functions = trainer.functions if metric is None else {**trainer.functions, "validate": metric}
    # The network's own inputs are known; those of the configuration may be of another one.
    outcome = ofr.compress(
        model, configuration, **functions, example=example, out=task.out / "training", resume=task.resume
    )
    return _finish(task, session, materials, model, outcome, metric)


def _check_folder(task: Task) -> None:
    if (task.out / "training").exists() and not task.resume:
        raise CompressionError(f"{task.out} holds a loop already. Continue it with --resume, or choose another --out.")


def _model(task: Task, materials: Materials, session: Session) -> nn.Module:
    if task.subject.run is not None:
        return load_model(task.subject.run, materials, session.device)
    with torch.random.fork_rng():
        torch.manual_seed(task.subject.request.seed)
        classes, (channels, height, width) = len(materials.train.classes), materials.train.images.shape[1:]
        model = zoo.build(task.subject.request.arch, classes, channels, (height, width)).to(session.device)
    return pretrained(model, materials, task.subject.request, task.out / "plain.pth", session)


def _metric(task: Task, materials: Materials, model: nn.Module) -> Deployed | None:
    """What the loop watches instead of the accuracy of the last exit."""
    if task.watched is None:
        return None
    loader = materials.loader("validation")
    if isinstance(task.watched, ofr.Policy):
        return DeployedAccuracy(loader, task.watched)
    return BudgetedAccuracy(loader, macs=task.watched * with_exits(model).cost.plain)


def _finish(
    task: Task,
    session: Session,
    materials: Materials,
    model: nn.Module,
    outcome: Outcome,
    metric: Deployed | None,
) -> dict[str, Any]:
    small = outcome.strip()
    example = outcome.controller.workshop.example
    session.say("Measuring before and after ...")
    shrinking = Shrinking.of(model, small, example)
    models = {"before": model.eval(), "after": small}
    files = {name: str(FORMATS[name](small, example, task.out / f"compressed.{name}")) for name in task.exports}
    result = {
        **outcome.to_dict(),
        "subject": task.subject.name,
        "config": str(task.config),
        "test": _plain_test(models, materials) if metric is None else _test(models, materials, metric, task.out),
        "size": shrinking.to_dict(),
        "exports": files,
        "seed": task.subject.request.seed,
        "device": surroundings.device_name(session.device),
        "versions": surroundings.versions(),
        "commit": surroundings.commit(),
    }
    (task.out / "outcome.json").write_text(json.dumps(result, indent=2, default=dict) + "\n", encoding="utf8")
    report.write(result, task.out / "report.html")
    _show(result, session)
    session.say(f"Report: {task.out / 'report.html'}")
    return json.loads(json.dumps(result, default=dict))  # type: ignore[no-any-return]


def _plain_test(models: Mapping[str, nn.Module], materials: Materials) -> dict[str, Any]:
    loader = materials.loader("test")
    return {**{name: accuracy(m, loader) for name, m in models.items()}, "samples": len(materials.test)}


def _test(models: Mapping[str, nn.Module], materials: Materials, metric: Deployed, out: Path) -> dict[str, Any]:
    """Accuracy and mean MACs with exits taken; the policy of the small network is written to `policy.json`."""
    found: dict[str, Any] = {"samples": len(materials.test), "watched": metric.describe(), "mean_macs": {}}
    for name, model in models.items():
        policy = metric.policy_for(ofr.record(with_exits(model), metric.loader))
        recording = ofr.record(with_exits(model), materials.loader("test"))
        decisions = ofr.simulate(recording, policy)
        found[name] = decisions.accuracy(recording.required_labels)
        found["mean_macs"][name] = decisions.mean_macs
        policy.save(out / "policy.json")
    return found


def _show(result: dict[str, Any], session: Session) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), title=report.lead(result), title_justify="left", title_style="bold")
    for column in ("", "before", "after", "ratio"):
        table.add_column(column, justify="left" if not column else "right")
    for row in report.size_rows(result):
        table.add_row(*row)
    session.console.print(table, highlight=False)
    for notice in result["notices"]:
        session.announce(notice)
    stats = result["statistics"]
    session.say(
        f"Validation accuracy {wording.percent(stats['compressed_accuracy'])}, "
        f"budget left {wording.points(stats['accuracy_budget'])} points, stopped by: {result['stopped']}."
    )
