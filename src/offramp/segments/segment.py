"""A segment: the stages between two stops, the head there and the criterion's score, tensors in and tensors out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from offramp import backbones
from offramp.backbones import Division, Stage
from offramp.backbones.carry import Carry, Constant, Kind, Rows, is_leaf
from offramp.errors import CutError
from offramp.exit_model import ExitModel, final_logits
from offramp.policy import Policy
from offramp.segments.plan import Plan


@dataclass(frozen=True, eq=False)
class Passage:
    """How the values that cross a cut are told by their batched tensors alone.

    Constants are remembered, whatever follows the batch size is recomputed.

    Attributes:
        kinds: for each value the kinds of its leaves.
        trees: for each value its structure.
        leaves: for each value its leaves, as they were for some batch; batched tensors are None.
    """

    kinds: tuple[tuple[Kind, ...], ...]
    trees: tuple[pytree.TreeSpec, ...]
    leaves: tuple[tuple[Any, ...], ...]

    @classmethod
    def over(cls, carry: Carry, values: Sequence[Any]) -> Passage:
        """For a cut, given values that crossed it once."""
        flat = [pytree.tree_leaves(value, is_leaf) for value in values]
        return cls(carry.kinds, carry.trees, tuple(_without_rows(k, x) for k, x in zip(carry.kinds, flat, strict=True)))

    @classmethod
    def into(cls, chain: Division) -> Passage:
        """For the inputs of the first stage."""
        leaves = chain.start(chain.signature.leaves)
        kinds = [(Rows() if has else Constant(),) for has in chain.start(chain.signature.has_rows)]
        leaf = pytree.tree_structure(0)
        flat = tuple(_without_rows(k, (x,)) for k, x in zip(kinds, leaves, strict=True))
        return cls(tuple(kinds), (leaf,) * len(kinds), flat)

    def __deepcopy__(self, memo: dict[int, Any]) -> Passage:
        """Nothing in it changes."""
        return self

    @property
    def width(self) -> int:
        """Number of batched tensors."""
        return sum(isinstance(kind, Rows) for kinds in self.kinds for kind in kinds)

    def pack(self, values: Sequence[Any]) -> list[Tensor]:
        """The batched tensors among values that cross."""
        return [
            leaf
            for value, kinds in zip(values, self.kinds, strict=True)
            for leaf, kind in zip(pytree.tree_leaves(value, is_leaf), kinds, strict=True)
            if isinstance(kind, Rows)
        ]

    def unpack(self, tensors: Sequence[Tensor]) -> list[Any]:
        """The values again; the inverse of `pack`."""
        rows, source = tensors[0].shape[0], iter(tensors)
        values = []
        for kinds, tree, known in zip(self.kinds, self.trees, self.leaves, strict=True):
            leaves = [_value(kind, leaf, source, rows) for kind, leaf in zip(kinds, known, strict=True)]
            values.append(pytree.tree_unflatten(leaves, tree))
        return values


def _without_rows(kinds: Sequence[Kind], leaves: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(None if isinstance(k, Rows) else x for k, x in zip(kinds, leaves, strict=True))


def _value(kind: Kind, known: Any, source: Iterator[Tensor], rows: int) -> Any:
    return next(source) if isinstance(kind, Rows) else kind.recompute(known, rows)


class Segment(nn.Module):
    """What runs from one stop to the next. It shares the model's parameters.

    `forward(*tensors)` takes the carry: the batched tensors that cross the cut and, where the criterion reads them, the
    logits of the earlier stops. It gives `(answer [n, classes], score [n], *carry)`, and at the last stop `(answer,)`.
    The answer is the exit's logits, unless the criterion combines those of several exits.

    Args:
        stages: of the model, run one after the other.
        head: turns what the last of these stages shows into logits; None at the backbone's own output.
        exit: number of the exit that ends it.
        policy: scores the logits and answers; its thresholds play no part here.
        entry: how the carry arrives.
        departure: how the carry leaves; None at the last stop.
        example: inputs of `forward`, a few rows.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        head: nn.Module | None,
        exit: int,
        policy: Policy,
        entry: Passage,
        departure: Passage | None,
        example: Sequence[Tensor],
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.head = head
        self.exit = exit
        self.policy = policy
        self.entry = entry
        self.departure = departure
        self.example = tuple(example)

    @property
    def name(self) -> str:
        """The cut that ends it, or "output"."""
        return str(self.stages[-1].name)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        values: Sequence[Any] = self.entry.unpack(tensors[: self.entry.width])
        earlier = tensors[self.entry.width :]
        feature: Any = None
        for stage in self.stages:
            feature, values = stage(*values)
        if self.departure is None or self.head is None:
            return (self.policy.answer(self.exit, final_logits(feature), earlier),)
        source = backbones.first_tensor(feature)
        assert source is not None  # attach refuses cuts without a tensor
        # A head may pass its input on, which the next segment may overwrite.
        logits = self.head(source).clone() if isinstance(self.head, nn.Identity) else self.head(source)
        score, answer = self.policy.judge(self.exit, logits, earlier)
        memory = (*earlier, logits) if self.policy.criterion.uses_earlier else ()
        return (answer, score, *self.departure.pack(values), *memory)


def segments_of(model: ExitModel, plan: Plan, rows: int = 4) -> tuple[Segment, ...]:
    """Divides a model at the stops of a plan.

    Args:
        model: in evaluation mode.
        plan: which exits are stops.
        rows: number of rows of each segment's example.

    Raises:
        CutError: the model is cut by hooks, and so has no stages.
    """
    chain = model.chain()
    if not chain.stages:
        raise CutError(
            f"{type(model.backbone).__name__} was cut by hooks, which run its own forward: it has no stages to "
            "compile, export or queue between. Use the eager backend."
        )
    segments: list[Segment] = []
    first, entry = 0, Passage.into(chain)
    values: Sequence[Any] = chain.start(chain.signature.batch(rows, model.device))
    earlier: Sequence[Tensor] = ()
    with torch.no_grad():
        for stop in plan.stops:
            last = stop == model.exits - 1
            example = [*entry.pack(values), *earlier]
            for stage in chain.stages[first : stop + 1]:
                _, values = stage(*values)
            departure = None if last else Passage.over(chain.carries[stop], values)
            head = None if last else model.heads[stop]
            parts = chain.stages[first : stop + 1]
            segment = Segment(parts, head, stop, plan.policy, entry, departure, example)
            segments.append(segment.eval())
            if departure is not None:
                earlier = segment(*example)[2 + departure.width :]
                first, entry = stop + 1, departure
    return tuple(segments)
