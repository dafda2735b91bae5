"""Exports the network of a run, or a model that was never trained, and shows how the export was checked."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.markup import escape
from rich.table import Table

import offramp as ofr
from offramp import exporters, zoo
from offramp.cli import models
from offramp.cli.failures import UsageError
from offramp.cli.materials import Materials, check_name, cut_at, load_model
from offramp.cli.run_folder import RunFolder
from offramp.cli.session import Session
from offramp.criteria import CRITERIA
from offramp.exporters import ExportReport, Skipping
from offramp.exporters.formats import FORMATS
from offramp.exporters.programs import FORMS
from offramp.heads import HEADS

SPLIT = "calibration"
UNTRAINED = (
    "The exits are UNTRAINED: their heads have random weights, and the thresholds are what you gave. What is written "
    "shows that this model exports and skips; its early answers are worthless. Train with `offramp train` or "
    "offramp.fit first."
)


@dataclass(frozen=True)
class Order:
    """What to write.

    Attributes:
        out: folder.
        format: of the export.
        segments: form of a bundle's files, or None.
        overwrite: replace an earlier export.
    """

    out: Path
    format: str
    segments: str | None
    overwrite: bool

    def checked(self) -> Order:
        """The same, if its names exist.

        Raises:
            UsageError: one does not, or the two do not go together.
        """
        check_name("format", self.format, FORMATS)
        if self.segments is not None:
            check_name("segments", self.segments, FORMS)
            if self.format != "bundle":
                raise UsageError(f"--segments is for bundles, the form of the others is fixed: --format {self.format}.")
        return self


@dataclass(frozen=True)
class Draft:
    """A model that has no run, and the exits that it gets.

    Attributes:
        model: its name, see `offramp.cli.models`.
        at: cuts, as names or shares of the MACs; empty for the zoo's own.
        thresholds: one per early exit.
        criterion: name of what is compared with them.
        shape: of one input; None for the model's own.
        head: name of the exit head.
    """

    model: str
    at: tuple[str, ...]
    thresholds: tuple[float, ...]
    criterion: str
    shape: tuple[int, ...] | None
    head: str


def of_run(run: RunFolder, order: Order, session: Session) -> dict[str, Any]:
    """Exports a run's network under its policy.

    Raises:
        FileFormatError: a part of the run is missing or damaged.
        DataError: the images cannot be had, or are not those of the run.
        ExportError: the network does not convert, or the folder cannot be written.
    """
    facts = run.facts
    policy = ofr.Policy.load(run.policy)
    materials = Materials.of(run.request)
    materials.check_same(facts["data"]["splits"], run.description)
    model = load_model(run, materials, _device(order, session))
    session.announce(facts["data"]["notice"])
    inputs, _ = next(iter(materials.loader(SPLIT)))
    report = _export(model, policy, order, session, model.to_own_device(inputs), materials.train.classes)
    return {"subject": str(run.path), "notice": facts["data"]["notice"], **report.to_dict()}


def of_model(draft: Draft, order: Order, session: Session) -> dict[str, Any]:
    """Exports a model with untrained exits.

    Raises:
        UsageError: there is no such model, head or criterion, or the thresholds do not fit the cuts.
        AttachError: the exits cannot be attached there.
        ExportError: the model does not convert, or the folder cannot be written.
    """
    check_name("head", draft.head, HEADS)
    check_name("criterion", draft.criterion, [name for name in CRITERIA if name != "always"])
    backbone, example = models.resolve(draft.model, draft.shape)
    own = zoo.default_cuts(draft.model) if draft.model in zoo.ARCHITECTURES else []
    at = [cut_at(item, backbone) for item in draft.at] or own
    _check_thresholds(draft, len(at))
    model = ofr.attach(backbone, at, example, head=draft.head, seed=session.seed()).to(_device(order, session))
    session.announce(UNTRAINED)
    policy = ofr.Policy(CRITERIA[draft.criterion](), draft.thresholds)
    report = _export(model, policy, order, session)
    return {"subject": draft.model, "notice": UNTRAINED, "draft": asdict(draft), **report.to_dict()}


def _check_thresholds(draft: Draft, cuts: int) -> None:
    if cuts == 0:
        raise UsageError(
            f"{draft.model}: say where the exits are, e.g. --at 0.3 0.6 for shares of the MACs. See the places with: "
            f"offramp inspect {draft.model}"
        )
    if len(draft.thresholds) != cuts:
        raise UsageError(
            f"--thresholds {' '.join(map(str, draft.thresholds))}: give one number per early exit, which are {cuts} "
            f"here, e.g. --thresholds {' '.join(['0.8'] * cuts)}."
        )


def _device(order: Order, session: Session) -> torch.device:
    """ONNX files are made, and checked, on the CPU."""
    return torch.device("cpu") if "onnx" in (order.format, order.segments) else session.device


def _export(
    model: ofr.ExitModel,
    policy: ofr.Policy,
    order: Order,
    session: Session,
    inputs: Any = None,
    classes: tuple[str, ...] | None = None,
) -> ExportReport:
    session.say(f"Exporting and checking, format {order.format} ...")
    report = exporters.export(
        model,
        policy,
        order.out,
        order.format,
        inputs=inputs,
        class_names=classes,
        segments=order.segments,
        overwrite=order.overwrite,
    )
    session.console.print(_parity(report), highlight=False)
    for skipping in report.skipping:
        session.say(escape(sentence(skipping)))
    session.say(f"Written: {escape(str(order.out))} ({len(report.files)} files, {report.bytes / 2**20:.1f} MiB)")
    return report


def sentence(skipping: Skipping) -> str:
    """What was seen of skipping, in words."""
    first, last = skipping.first, skipping.last
    if first is None or last is None:
        return f"{skipping.artefact}: not shown to skip, as {skipping.reason}."
    how = "" if skipping.how == "inputs" else ", thresholds set for it"
    return (
        f"{skipping.artefact}: {skipping.rows} rows that leave at exit {first.exit} run {len(first.executed)} of "
        f"{len(last.executed)} segments and take {1e3 * first.seconds:.2f} ms; at exit {last.exit} "
        f"{1e3 * last.seconds:.2f} ms{how}."
    )


def _parity(report: ExportReport) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), title="Decisions against the runtime's", title_justify="left")
    table.title_style, table.caption_style, table.caption_justify = "bold", "dim", "left"
    table.caption = "near: rows that leave elsewhere, their score within rounding of the threshold"
    for name in ("what", "inputs"):
        table.add_column(name, no_wrap=True)
    for name in ("rows", "equal", "near", "logits off by"):
        table.add_column(name, justify="right", no_wrap=True)
    for found in report.parity:
        numbers = (found.rows, found.equal, found.near)
        table.add_row(found.artefact, found.inputs, *map(str, numbers), f"{found.largest_difference:.1e}")
    return table
