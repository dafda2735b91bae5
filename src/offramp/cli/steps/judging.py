"""Measures whether exits pay, for a run or for a model that was never trained, and shows it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from rich.markup import escape
from rich.table import Table
from torch import nn

import offramp as ofr
from offramp import verdicts, zoo
from offramp.cli import models
from offramp.cli.failures import UsageError
from offramp.cli.materials import Materials, check_name, cut_at, load_model
from offramp.cli.run_folder import RunFolder
from offramp.cli.session import Session
from offramp.cli.steps import surroundings
from offramp.comparison import Answer, Ratio
from offramp.errors import VerdictError
from offramp.heads import HEADS
from offramp.reporters import wording
from offramp.runtimes.backends import BACKENDS
from offramp.verdicts import Showing, Verdict

SPLIT = "validation"
"""The thresholds were chosen on another split, and the test split is for the evaluation alone."""
RATE = 0.5
COLOURS = {Answer.PAYS: "green", Answer.DOES_NOT_PAY: "red", Answer.UNRESOLVED: "yellow"}
UNTRAINED = (
    "Nothing was trained and no data was used: the inputs are noise, and thresholds were set so that the shares asked "
    "for leave ({shares}). Only times mean anything here. Whether so many samples may leave without harm, only "
    "training and calibration can say."
)


@dataclass(frozen=True)
class Options:
    """How to measure.

    Attributes:
        batch_sizes: samples per call.
        backend: what runs the network.
        rounds: how often.
        samples: how many per round, at least.
    """

    batch_sizes: tuple[int, ...]
    backend: str
    rounds: int
    samples: int

    def check(self) -> None:
        """Refuses what cannot be had before anything is loaded.

        Raises:
            UsageError: there is no such backend, or a number is out of range.
        """
        check_name("backend", self.backend, ["eager", "auto", *BACKENDS])
        try:
            verdicts.checked(self.batch_sizes, self.rounds, self.samples)
        except VerdictError as error:
            raise UsageError(str(error)) from error


@dataclass(frozen=True)
class Plan:
    """Exits that a model might get.

    Attributes:
        model: its name, see `offramp.cli.models`.
        at: cuts, as names or shares of the MACs, or "auto"; empty for the zoo's own, and "auto" for other models.
        rates: share of the arriving rows that leaves, per early exit; empty for a half each.
        shape: of one input; None for the model's own.
        head: name of the exit head.
    """

    model: str
    at: tuple[str, ...]
    rates: tuple[float, ...]
    shape: tuple[int, ...] | None
    head: str


def of_run(run: RunFolder, options: Options, session: Session) -> dict[str, Any]:
    """Measures a run's network under its policy, on its validation split, and prints the verdict.

    Raises:
        UsageError: a number is out of range, or there is no such backend.
        FileFormatError: a part of the run is missing or damaged.
        DataError: the images cannot be had, or are not those of the run.
    """
    options.check()
    facts = run.facts
    policy = ofr.Policy.load(run.policy)
    materials = Materials.of(run.request)
    materials.check_same(facts["data"]["splits"], run.description)
    model = load_model(run, materials, session.device)
    session.announce(facts["data"]["notice"])
    found = _measured(model, policy, materials.loader(SPLIT), options, session, SPLIT, run.request.seed)
    show(found, f"{run.request.arch} on {materials.train.name}", session)
    return {"subject": str(run.path), "notice": facts["data"]["notice"], **_described(found)}


def of_model(plan: Plan, options: Options, session: Session) -> dict[str, Any]:
    """Measures what exits would be worth if given shares left, and prints the verdict.

    Raises:
        UsageError: there is no such model, head or backend, or a number is out of range.
        AttachError: the exits cannot be attached there.
    """
    options.check()
    check_name("head", plan.head, HEADS)
    model = _attached(plan).to(session.device)
    rates = plan.rates or (RATE,) * (model.exits - 1)
    try:
        planned = verdicts.planned(model, rates, seed=session.seed())
    except VerdictError as error:
        raise UsageError(str(error)) from error
    notice = UNTRAINED.format(shares=", ".join(wording.percent(share, 1) for share in planned.shares))
    session.announce(notice)
    found = _measured(model, planned.policy, planned.inputs, options, session, "made-up", session.seed())
    show(found, f"{plan.model} with exits behind {', '.join(model.cuts)}", session)
    return {"subject": plan.model, "notice": notice, "plan": asdict(plan), "cuts": model.cuts, **_described(found)}


def show(verdict: Verdict, subject: str, session: Session) -> None:
    """Prints the tables and the sentences."""
    session.console.print(_answers(verdict, subject), highlight=False)
    session.console.print(_contenders(verdict), highlight=False)
    for sentence in verdict.sentences():
        session.say(escape(sentence))


def _attached(plan: Plan) -> ofr.ExitModel:
    backbone, example = models.resolve(plan.model, plan.shape)
    return ofr.attach(backbone, _places(plan, backbone), example, head=plan.head)


def _places(plan: Plan, backbone: nn.Module) -> list[str | float] | str:
    """Where the exits go: as asked for, or the zoo's own places, or left to `attach`, as many as there are rates."""
    if len(plan.at) == 1 and plan.at[0].startswith("auto"):
        return plan.at[0]
    if plan.at:
        return [cut_at(item, backbone) for item in plan.at]
    if plan.model in zoo.ARCHITECTURES:
        return [*zoo.default_cuts(plan.model)]
    return f"auto:{len(plan.rates)}" if plan.rates else "auto"


def _measured(
    model: ofr.ExitModel, policy: ofr.Policy, data: Any, options: Options, session: Session, split: str, seed: int
) -> Verdict:
    sizes = ", ".join(map(str, options.batch_sizes))
    session.say(f"Measuring at batch sizes {sizes}; let the machine do nothing else ...")
    return verdicts.verdict(model, policy, data, split=split, seed=seed, **asdict(options))


def _described(found: Verdict) -> dict[str, Any]:
    surrounding = {"created": surroundings.now(), "commit": surroundings.commit(), "versions": surroundings.versions()}
    return {**found.to_dict(), **surrounding, "machine": surroundings.device_name(torch.device(_device(found)))}


def _device(found: Verdict) -> str:
    return found.points[0].conditions.device


def _answers(verdict: Verdict, subject: str) -> Table:
    table = _table(f"Do exits pay? {subject}", "time per sample; ratio of times with interval, paired by rounds")
    for name in ("batch", "plain", "exits", "exits / plain"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("answer", no_wrap=True)
    for point in verdict.points:
        table.add_row(
            str(point.batch),
            wording.milliseconds(point.plain.seconds),
            wording.milliseconds(point.exits.seconds),
            _ratio(point.ratio),
            f"[{COLOURS[point.answer]}]{point.answer}[/]",
        )
    return table


def _contenders(verdict: Verdict) -> Table:
    table = _table("Ways of running", "time per sample by batch size; accuracy and MACs over all samples")
    table.add_column("", overflow="fold")
    for name in ("accuracy", "MACs", *(f"batch {point.batch}" for point in verdict.points)):
        table.add_column(name, justify="right", no_wrap=True)
    for first in verdict.points[0].showings:
        table.add_row(*_row(first, verdict))
    return table


def _row(first: Showing, verdict: Verdict) -> list[str]:
    times = [wording.milliseconds(point.showing(first.name).seconds) for point in verdict.points]
    return [first.name, wording.percent(first.worth.accuracy), wording.compact(first.worth.macs), *times]


def _ratio(ratio: Ratio) -> str:
    return f"{ratio.median:.3f} ({ratio.low:.3f} to {ratio.high:.3f})"


def _table(title: str, caption: str) -> Table:
    table = Table(title=escape(title), caption=escape(caption), title_justify="left", caption_justify="left")
    table.title_style, table.caption_style = "bold", "dim"
    return table
