"""How much each layer alone can be pruned: `--sense`, on the validation split, exits taken."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from offramp.cli.failures import UsageError
from offramp.cli.steps.classification.folder import replace_text
from offramp.cli.steps.classification.outcomes import outcomes_of
from offramp.cli.steps.classification.setting import Setting
from offramp.cli.steps.classification.statistics import Figures, figures

DEFAULT_RANGE = (0.0, 0.95, 0.05)
COLUMNS = ("parameter", "sparsity", "top1", "top5", "loss")


def measure(setting: Setting) -> list[dict[str, Any]]:
    """Prunes every layer alone at every level, and puts it back; writes `sensitivity.csv`.

    Raises:
        UsageError: the levels are impossible.
    """
    wanted = levels(setting.options.compression.sense_range)
    by_filter = setting.options.compression.sense == "filter"
    rows = []
    for name, weight in _weights(setting.model):
        for level in wanted:
            with pruned(weight, level, by_filter):
                found = _validated(setting)
            rows.append(dict(zip(COLUMNS, (name, level, found.top1, found.top5, found.loss), strict=True)))
            setting.journal.say(f"{name} at {level:.2f}: Top1 {found.top1:.3f}  Top5 {found.top5:.3f}")
    replace_text(setting.folder.path / "sensitivity.csv", _csv(rows))
    return rows


def levels(given: list[float] | None) -> list[float]:
    """Sparsities from the first to below the end.

    Raises:
        UsageError: not three numbers, or outside [0, 1].

    Example:
        >>> levels([0.0, 0.3, 0.1])
        [0.0, 0.1, 0.2]
    """
    values = DEFAULT_RANGE if given is None else tuple(given)
    if len(values) != 3 or not (0 <= values[0] < values[1] <= 1 and values[2] > 0):
        listed = " ".join(f"{value:g}" for value in values)
        raise UsageError(f"--sense-range {listed}: give the first level, the end and the step, within 0 to 1.")
    first, end, step = values
    # The end itself is left out, whatever rounding does to it.
    return [round(first + k * step, 10) for k in range(10_000) if first + k * step < end - 1e-9]


@contextmanager
def pruned(weight: Tensor, level: float, by_filter: bool) -> Iterator[None]:
    """The weight with its smallest entries, or filters by their mean absolute entry, at zero; put back afterwards.

    Args:
        weight: `[out, ...]`, changed in place.
        level: share of entries or filters, rounded down.
        by_filter: which of the two.
    """
    kept = weight.detach().clone()
    size = kept.abs().flatten(1).mean(dim=1) if by_filter else kept.abs().flatten()
    smallest = size.argsort(stable=True)[: int(level * len(size))]
    try:
        with torch.no_grad():
            (weight.data if by_filter else weight.data.view(-1))[smallest] = 0
        yield
    finally:
        weight.data.copy_(kept)


def _weights(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            yield f"{name}.weight", module.weight


def _validated(setting: Setting) -> Figures:
    outcomes = outcomes_of(setting.model, setting.images.validation or (), setting.policy)
    return figures(outcomes, outcomes.taken(setting.policy))


def _csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(COLUMNS), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
