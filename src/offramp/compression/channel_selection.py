"""Which channels go: the least important ones, for a share of the channels or of the multiply-accumulates (MACs).

Pure functions of scores and sizes; nothing here knows a model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from offramp.compression.groups import Group

Scores = Mapping[str, Tensor]
"""Importance of each channel, `[channels]`, by the group's name; larger stays."""
Kept = dict[str, Tensor]
"""Bool `[channels]` by the group's name."""
MULTIPLE = 8
"""Kept channels are rounded up to a multiple of it, which hardware likes."""


def filter_scores(weight: Tensor, importance: str) -> Tensor:
    """Importance of each output of a weight `[out, ...]`, its filter w_i seen as one vector: `[out]`.

    "L1": sum of absolute values; "L2": Euclidean norm; "geometric_median": `sum_j |w_i - w_j|_2`, small for filters
    that the others can replace.

    Source: He et al. 2019, "Filter Pruning via Geometric Median" (arXiv 1811.00250), equation 5.

    Example:
        >>> filter_scores(torch.tensor([[3.0, 4.0], [0.0, 1.0]]), "L2")
        tensor([5., 1.])
    """
    filters = weight.detach().flatten(1).float()
    if importance == "geometric_median":
        return torch.cdist(filters, filters).sum(1)
    scores: Tensor = torch.linalg.vector_norm(filters, ord=1 if importance == "L1" else 2, dim=1)
    return scores


def lowest(scores: Scores, rate: float, multiple: int = MULTIPLE) -> Kept:
    """Takes the same share away from every group; the kept counts are rounded up to a multiple.

    Example:
        >>> lowest({"conv": torch.arange(16.0)}, rate=0.4)["conv"].sum()
        tensor(16)
        >>> lowest({"conv": torch.arange(16.0)}, rate=0.5)["conv"].sum()
        tensor(8)
    """
    return {name: _keep_best(s, rounded((1 - rate) * len(s), len(s), multiple)) for name, s in scores.items()}


def lowest_overall(scores: Scores, rate: float, multiple: int = MULTIPLE) -> Kept:
    """Takes a share of all channels away, those with the lowest scores anywhere; kept counts are rounded up.

    Scores of different groups must be comparable. No group loses its last channels.
    """
    total = sum(len(s) for s in scores.values())
    ordered = torch.cat(list(scores.values())).sort().values
    gone = min(int(rate * total), total - 1)
    threshold = ordered[gone]
    return {
        name: _keep_best(s, rounded(int((s >= threshold).sum()), len(s), multiple) if gone else len(s))
        for name, s in scores.items()
    }


def rounded(keep: float, channels: int, multiple: int = MULTIPLE) -> int:
    """A number of channels to keep, up to the next multiple, from one multiple to all of them.

    Example:
        >>> rounded(9, 32), rounded(0, 32), rounded(5, 6)
        (16, 8, 6)
    """
    # A hair below, so that (1 - 0.9) * 80 = 8.000000000000002 is eight.
    return min(channels, max(multiple, multiple * math.ceil((keep - 1e-6) / multiple)))


def _keep_best(scores: Tensor, count: int) -> Tensor:
    kept = torch.zeros(len(scores), dtype=torch.bool, device=scores.device)
    kept[scores.topk(count).indices] = True
    return kept


@dataclass(frozen=True)
class Sizes:
    """What each layer costs, and how that falls when channels go.

    Attributes:
        macs: of one row, by layer.
        parameters: of its weight, by layer.
        shapes: outputs and inputs of each layer's weight; inputs are 1 for depthwise ones.
    """

    macs: Mapping[str, float]
    parameters: Mapping[str, int]
    shapes: Mapping[str, tuple[int, int]]

    def left(self, groups: Sequence[Group], kept: Kept) -> tuple[float, float]:
        """Shares of MACs and of parameters that are left."""
        shares = self._shares(groups, kept)
        return tuple(  # type: ignore[return-value]
            sum(size * math.prod(shares[name]) for name, size in sizes.items()) / max(sum(sizes.values()), 1)
            for sizes in (self.macs, self.parameters)
        )

    def _shares(self, groups: Sequence[Group], kept: Kept) -> dict[str, list[float]]:
        """Share of the outputs and of the inputs of each layer that stay."""
        shares = {name: [1.0, 1.0] for name in self.macs}
        for group in groups:
            mask = kept[group.name].tolist()
            for coupling in group.couplings:
                if coupling.module in shares:
                    side = 1 if coupling.side == "reads" else 0
                    gone = sum(not mask[root] for root in coupling.roots)
                    shares[coupling.module][side] -= gone / self.shapes[coupling.module][side]
        return shares


def for_channels(select: Callable[[float], Kept], rate: float) -> Kept:
    """The largest selection that takes at most this share of all channels away, by bisection on what is selected at.

    Rounding lets every group give less than it is asked for, so that the whole can be asked for more.

    Args:
        select: channels kept at a rate, before rounding.
        rate: to be taken away.
    """
    low, high = 0.0, 1.0
    best = select(low)
    for _ in range(20):
        middle = (low + high) / 2
        found = select(middle)
        if share_gone(found) <= rate + 1e-9:
            best, low = found, middle
        else:
            high = middle
    return best


def share_gone(kept: Kept) -> float:
    """Share of the channels that are not kept."""
    total = sum(len(mask) for mask in kept.values())
    return 1 - sum(int(mask.sum()) for mask in kept.values()) / total


def for_macs(select: Callable[[float], Kept], macs_left: Callable[[Kept], float], share: float) -> Kept:
    """The smallest selection that takes at least this share of the MACs away, by bisection on the rate.

    Args:
        select: channels kept at a rate.
        macs_left: share of the MACs that is left.
        share: to be taken away.

    Returns:
        The selection at rate 1 where none takes that much away.
    """
    low, high = 0.0, 1.0
    best = select(high)
    for _ in range(20):
        middle = (low + high) / 2
        found = select(middle)
        if 1 - macs_left(found) >= share - 1e-9:
            best, high = found, middle
        else:
            low = middle
    return best
