"""The test: statistics with exits taken, what it cost and how long it took, confusion, and the label oracle."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import torch

import offramp as ofr
from offramp.cli.steps.classification import lines
from offramp.cli.steps.classification.folder import replace_text
from offramp.cli.steps.classification.oracle_report import OracleReport
from offramp.cli.steps.classification.outcomes import Outcomes, outcomes_of
from offramp.cli.steps.classification.setting import Setting
from offramp.cli.steps.classification.statistics import confusion, figures
from offramp.runtimes import Runtime
from offramp.training.batch import labelled

SHOWN_CLASSES = 20


@dataclass(frozen=True)
class Executed:
    """What really taking the exits gave.

    Attributes:
        top1: percentage answered rightly.
        seconds: per sample, in the runtime alone; the median over the batches.
        plain_seconds: the same for the network without exits, batch by batch beside it.
    """

    top1: float
    seconds: float
    plain_seconds: float


def test(setting: Setting, model: ofr.ExitModel) -> dict[str, Any]:
    """Tests the network, prints what was found, and gives it as plain data.

    Args:
        setting: images, policy, and where things go.
        model: the trained network.

    Raises:
        RecordingError: the test split is empty.
    """
    policy, journal = setting.policy, setting.journal
    journal.say("--- test ---------------------")
    outcomes = outcomes_of(model, setting.images.test, policy)
    macs = model.cost.under(policy.heads_needed(model.exits - 1)).tolist()
    found = figures(outcomes, outcomes.taken(policy), macs)
    executed = execute(model, policy, setting.images.test)
    journal.say(*lines.figure_lines(found), lines.cost_line(found, model.cost.plain, executed.seconds))
    if model.exits > 1:
        journal.say(f"The plain network takes {1e6 * executed.plain_seconds:.1f} us per sample, in the same run.")
    journal.say(lines.total_line("Test", found))
    result: dict[str, Any] = {**found.to_dict(), "plain_macs": model.cost.plain, "executed": asdict(executed)}
    if setting.options.output.confusion:
        result["confusion"] = _confusion(setting, outcomes)
    if setting.options.exits.report_label_oracle:
        result["label_oracle"] = _oracle(setting, outcomes)
    return result


def execute(model: ofr.ExitModel, policy: ofr.Policy, loader: Iterable[Any]) -> Executed:
    """Takes the exits, and runs the plain network on the same batches in turn; loading is not timed."""
    exits = ofr.deploy(model, policy)
    plain = ofr.deploy(model, ofr.always(exit=model.exits - 1))
    right = samples = 0
    seconds: list[tuple[float, float]] = []
    for batch in loader:
        inputs, labels = labelled(batch, "test")
        inputs = model.to_own_device(inputs)
        if not samples:
            exits(inputs), plain(inputs)  # the first calls pay for what is set up once
        decisions, taken = timed(exits, inputs)
        seconds.append((taken / len(decisions), timed(plain, inputs)[1] / len(decisions)))
        right += int(decisions.predictions.cpu().eq(labels).sum())
        samples += len(decisions)
    return Executed(100 * right / samples, *(median(column) for column in zip(*seconds, strict=True)))


def timed(runtime: Runtime, inputs: Any) -> tuple[ofr.Decisions, float]:
    """Decisions, and the seconds until they are there."""
    began = time.perf_counter()
    decisions = runtime(inputs)
    if decisions.exits.device.type == "cuda":
        torch.cuda.synchronize()
    return decisions, time.perf_counter() - began


def _confusion(setting: Setting, outcomes: Outcomes) -> list[list[int]]:
    classes = setting.images.classes
    matrix: list[list[int]] = confusion(outcomes, outcomes.taken(setting.policy), len(classes)).tolist()
    text = "\n".join(",".join(map(str, row)) for row in matrix) + "\n"
    replace_text(setting.folder.path / "confusion.csv", text)
    if len(classes) <= SHOWN_CLASSES:
        setting.journal.say("==> Confusion (a row per label, a column per answer, exits taken):")
        setting.journal.say(*(" ".join(f"{count:5d}" for count in row) for row in matrix))
    else:
        setting.journal.say(f"Confusion of {len(classes)} classes: {setting.folder.path / 'confusion.csv'}")
    return matrix


def _oracle(setting: Setting, outcomes: Outcomes) -> dict[str, Any]:
    # An exit that calibration closed is closed to the oracle too: no loss is below 0.
    given = setting.options.exits.thresholds or [max(-t, 0.0) for t in setting.policy.thresholds]
    report = OracleReport.of(outcomes, given, setting.policy)
    setting.journal.say(*report.lines())
    return report.to_dict()
