"""Cuts any model: the engines in the order of preference, and the self-check that chooses among them.

1. **spine** keeps the model's own modules, so that stages follow everything that happens to them.
2. **export** works where Python control flow stops the first, as in Hugging Face models.
3. **hooks** works where control flow depends on data, and cannot be compiled or exported.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from offramp.backbones import exported, hooked, spine
from offramp.backbones.check import check
from offramp.backbones.inputs import Signature
from offramp.backbones.modes import trying
from offramp.backbones.rehearsal import rehearse
from offramp.backbones.splitting import divide
from offramp.backbones.stages import Division
from offramp.backbones.tour import tour
from offramp.errors import CutError

NEIGHBOURS = 6
"""How many places beside a cut that is refused are tried out, to name one that can be cut."""

Divide = Callable[[nn.Module, Sequence[str], Signature, torch.device], Division]


def cut(backbone: nn.Module, names: Sequence[str], signature: Signature, device: torch.device) -> Division:
    """Divides a model behind the modules `names`, with the first engine whose result equals the plain model.

    Args:
        backbone: the model; it is run a few times in evaluation mode and left as it was.
        names: in the order in which they run.
        signature: of its inputs.
        device: where it is.

    Raises:
        CutError: a name does not run, runs repeatedly or is out of order; the model mixes rows or keeps state; or no
            engine can divide it there. The message gives each engine's reason.
    """
    with trying(backbone):
        expected = rehearse(backbone, names, signature, device)
        found, refusals = attempt(backbone, names, signature, device, expected)
        if found is not None:
            return found
        reasons = " ".join(f"{engine}: {reason}." for engine, reason in refusals.items())
        advice = _elsewhere(backbone, names, signature, device, expected)
    raise CutError(f"{type(backbone).__name__} cannot be cut at {list(names)}. {reasons}{advice}")


def attempt(
    backbone: nn.Module,
    names: Sequence[str],
    signature: Signature,
    device: torch.device,
    expected: dict[int, Tensor],
) -> tuple[Division | None, dict[str, str]]:
    """What the first engine gives that passes the self-check, and why those before it did not."""
    refusals: dict[str, str] = {}
    for engine, divided in ENGINES.items():
        try:
            division = divided(backbone, names, signature, device)
            check(division, len(names), device, expected)
        except CutError as error:
            refusals[engine] = str(error)
        else:
            return dataclasses.replace(division, refusals=refusals), refusals
    return None, refusals


def _by_spine(backbone: nn.Module, names: Sequence[str], signature: Signature, device: torch.device) -> Division:
    inside = {above for name in names for above in containers(name)}
    return divide(spine.trace(backbone, signature, inside), names, signature, device)


def _by_export(backbone: nn.Module, names: Sequence[str], signature: Signature, device: torch.device) -> Division:
    return divide(exported.trace(backbone, names, signature, device), names, signature, device)


ENGINES: dict[str, Divide] = {"spine": _by_spine, "export": _by_export, "hooks": hooked.divide}


def containers(name: str) -> list[str]:
    """The names of the modules above a module: `a.b.c` -> `["a", "a.b"]`."""
    parts = name.split(".")
    return [".".join(parts[:i]) for i in range(1, len(parts))]


def _elsewhere(
    backbone: nn.Module,
    names: Sequence[str],
    signature: Signature,
    device: torch.device,
    expected: dict[int, Tensor],
) -> str:
    """Names the place that can be cut, tried out, nearest to the first of the cuts that cannot."""

    def able(name: str) -> bool:
        try:
            rehearse(backbone, [name], signature, device)
        except CutError:
            return False
        return attempt(backbone, [name], signature, device, expected)[0] is not None

    culprit = next((name for name in names if len(names) == 1 or not able(name)), names[0])
    order = [stop.name for stop in tour(backbone, signature, 1, device)[:-1]]
    near = sorted(set(order) - set(names), key=lambda name: abs(order.index(name) - order.index(culprit)))
    found = next((name for name in near[:NEIGHBOURS] if able(name)), None)
    place = f" The nearest place to '{culprit}' that can be cut is '{found}'." if found else ""
    return f"{place} See every place with offramp.inspect."
