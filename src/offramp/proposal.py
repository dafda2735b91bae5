"""Where exits would pay: what a simple probe can predict at every depth, and the places that this speaks for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from offramp import backbones
from offramp.backbones import Place
from offramp.backbones.placement import AUTO_COUNT, spread
from offramp.errors import RecordingError
from offramp.recording import unpack

RIDGE = 0.1
"""Strength of the probes' penalty, for features of unit variance and a mean loss."""


@dataclass(frozen=True)
class Probe:
    """What can be predicted at a place.

    Attributes:
        place: where.
        accuracy: of a linear probe on its pooled output, on samples that the probe was not fitted to.
    """

    place: Place
    accuracy: float


@dataclass(frozen=True)
class Proposal:
    """Where to put exits.

    Attributes:
        at: names of modules, for `attach(at=...)`.
        probes: every place that was looked at, in the order of running.
        plain: accuracy of the model itself on the same samples.
        saving: share of the MACs saved if every sample left at the first of `at` whose probe is right, heads not
            counted: no policy on such heads can know that, so that this is more than can be had.
        samples: how many samples the accuracies come from.
    """

    at: list[str]
    probes: tuple[Probe, ...]
    plain: float
    saving: float
    samples: int

    def __str__(self) -> str:
        lines = [f"{'place':<32}{'MACs':>8}{'probe':>8}"]
        for probe in self.probes:
            mark = " *" if probe.place.name in self.at else ""
            lines.append(f"{probe.place.name:<32}{probe.place.share:>8.1%}{probe.accuracy:>8.1%}{mark}")
        lines.append(f"{'the model itself':<32}{1:>8.1%}{self.plain:>8.1%}")
        return "\n".join(lines) + f"\n({self.samples} samples that the probes were not fitted to; * proposed)"


def propose(
    backbone: nn.Module,
    example: Any,
    loader: Iterable[Any],
    exits: int = AUTO_COUNT,
    samples: int = 2000,
    seed: int = 0,
) -> Proposal:
    """Proposes places for exits by what each depth can predict.

    At every place a linear probe is fitted in closed form: with features `x` pooled as `pooled_linear` does and brought
    to zero mean and unit variance, `W = (X'X / n + RIDGE I)^-1 X'Y / n` for one-hot labels `Y`. Half of the samples
    fit it, the other half judge it. Then places are chosen one by one, each time the one that adds most to the saving:
    `mean over samples of max over places k of right_k (1 - share_k)`.

    Args:
        backbone: the trained model; run in evaluation mode and left as it was.
        example: inputs, as for `attach`.
        loader: batches of `(inputs, labels)`, from the training split.
        exits: how many early exits.
        samples: how many samples are looked at.
        seed: of how they are halved.

    Raises:
        RecordingError: the loader has no labels, or fewer than two samples.
        AttachError: there is no place to cut.

    Example:
        >>> from torch import nn
        >>> _ = torch.manual_seed(0)
        >>> backbone = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> inputs = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
        >>> proposal = propose(backbone, inputs[:2], [(inputs, (inputs[:, 0] > 0).long())], exits=1)
        >>> proposal.at
        ['1']
    """
    places = spread(backbones.inspect(backbone, example), backbone)
    features, logits, labels = _collect(backbone, [p.name for p in places], loader, samples)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    fitting, judging = order[: len(order) // 2], order[len(order) // 2 :]
    right = torch.stack([_right(x, labels, fitting, judging) for x in features])
    saved = right * torch.tensor([[1 - p.share] for p in places])
    chosen = _chosen(saved, exits)
    return Proposal(
        at=[places[k].name for k in chosen],
        probes=tuple(Probe(p, float(r.float().mean())) for p, r in zip(places, right, strict=True)),
        plain=float((logits.argmax(1) == labels)[judging].float().mean()),
        saving=float(saved[chosen].amax(0).mean()),
        samples=len(judging),
    )


def _right(x: Tensor, labels: Tensor, fitting: Tensor, judging: Tensor) -> Tensor:
    """Mask of the judging samples that a probe `[n, d] -> classes`, fitted to the others, predicts right."""
    mean, scale = x[fitting].mean(0), x[fitting].std(0).clamp_min(1e-6)
    x = torch.cat([(x - mean) / scale, torch.ones(len(x), 1)], 1).double()
    targets = nn.functional.one_hot(labels).double()
    a, y = x[fitting], targets[fitting]
    gram = a.T @ a / len(a) + RIDGE * torch.eye(a.shape[1], dtype=torch.float64)
    weights = torch.linalg.solve(gram, a.T @ y / len(a))
    right: Tensor = (x[judging] @ weights).argmax(1) == labels[judging]
    return right


def _chosen(saved: Tensor, exits: int) -> list[int]:
    """Rows of `saved` `[places, samples]` chosen greedily for the largest mean of their maximum, in order."""
    chosen: list[int] = []
    best = torch.zeros(saved.shape[1])
    for _ in range(min(exits, len(saved))):
        gains = torch.maximum(saved, best).mean(1)
        gains[chosen] = -1.0
        chosen.append(int(gains.argmax()))
        best = torch.maximum(best, saved[chosen[-1]])
    return sorted(chosen)


def _collect(
    backbone: nn.Module, names: Sequence[str], loader: Iterable[Any], samples: int
) -> tuple[list[Tensor], Tensor, Tensor]:
    """Pooled features `[n, d]` of every place, logits `[n, classes]` and labels `[n]`, on the CPU."""
    device = backbones.device_of(backbone)
    features: dict[str, list[Tensor]] = {name: [] for name in names}
    logits: list[Tensor] = []
    labels: list[Tensor] = []
    with backbones.evaluating(backbone), torch.no_grad(), _pooling(backbone, features):
        for batch in loader:
            inputs, target = unpack(batch)
            if target is None:
                raise RecordingError("propose(loader=...): the batches have no labels, and a probe is fitted to them.")
            args, kwargs = backbones.arguments(backbones.map_tensors(lambda t: t.to(device), inputs))
            logits.append(backbones.final_logits(backbone(*args, **kwargs)).float().cpu())
            labels.append(torch.as_tensor(target).cpu())
            if sum(map(len, labels)) >= samples:
                break
    if sum(map(len, labels)) < 2:
        raise RecordingError("propose(loader=...) got fewer than two samples: the loader is empty, or nearly.")
    return [torch.cat(features[name]) for name in names], torch.cat(logits), torch.cat(labels)


@contextmanager
def _pooling(backbone: nn.Module, into: dict[str, list[Tensor]]) -> Iterator[None]:
    def pool(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            x = backbones.first_tensor(output)
            if x is not None:
                x = x.mean(1) if x.ndim == 3 else x.flatten(2).mean(2) if x.ndim > 3 else x
                into[name].append(x.float().cpu())

        return hook

    handles = [backbone.get_submodule(name).register_forward_hook(pool(name)) for name in into]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
