"""The build-time self-check: a divided model, with rows leaving at its cuts, gives what the plain model gives."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from offramp.backbones.outputs import final_logits
from offramp.backbones.rehearsal import close
from offramp.backbones.stages import Division
from offramp.backbones.traced import first_line
from offramp.errors import CutError


def check(division: Division, cuts: int, device: torch.device, expected: dict[int, Tensor]) -> None:
    """Runs a divided model on several batches, and again with every second row leaving at every cut.

    Args:
        division: the model in evaluation mode, divided.
        cuts: how many cuts it has.
        device: where it is.
        expected: the plain model's logits for `division.signature.batch(rows, device)`, by number of rows.

    Raises:
        CutError: the logits differ, or it cannot be run.
    """
    for rows, logits in expected.items():
        if not close(_run(division, cuts, rows, device, leave=False), logits):
            raise CutError(f"it gives other outputs than the plain model, at {rows} rows")
        kept = torch.arange(rows, device=device)[:: 2**cuts]
        if not close(_run(division, cuts, rows, device, leave=True), logits[kept]):
            raise CutError(
                f"it gives other outputs when rows leave between its parts, at {rows} rows: values that cross a cut "
                "share memory and one is changed in place, or something behind the cut still has all rows"
            )


def _run(division: Division, cuts: int, rows: int, device: torch.device, leave: bool) -> Tensor:
    outputs: list[Any] = []

    def visit(k: int, feature: Any) -> Tensor | None:
        nonlocal rows
        outputs.append(feature)
        if not leave or k == cuts:
            return None
        index = torch.arange(0, rows, 2, device=device)
        rows = len(index)
        return index

    try:
        division.run(division.signature.batch(rows, device), visit)
    except Exception as error:
        raise CutError(f"it cannot be run on {rows} rows ({first_line(error)})") from error
    return final_logits(outputs[-1])
