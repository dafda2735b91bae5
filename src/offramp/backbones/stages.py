"""A divided model: what every way of cutting gives, and the way that has stages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, fx, nn

from offramp.backbones.carry import Carry
from offramp.backbones.inputs import Signature
from offramp.backbones.traced import Held, children

Visit = Callable[[int, Any], Tensor | None]
"""Called at every cut with its number and the value there. Returns the rows that go on: their index, None for all."""


class Stage(nn.Module):
    """One part of the network, from the values that cross the cut before it to those that cross the cut behind it.

    Args:
        body: graph of the part; its submodules and parameters are the network's own.
        name: the cut that ends it, or "output".
    """

    def __init__(self, body: fx.GraphModule, name: str) -> None:
        super().__init__()
        self.body = body
        self.name = name

    def forward(self, *values: Any) -> tuple[Any, tuple[Any, ...]]:
        """The value at the cut that ends the stage (for the last stage, the network's output), and the next carry."""
        # Not `self.body(...)`: nobody can hook the body, and its call wraps the graph's in two more.
        return self.body.forward(*values)  # type: ignore[no-any-return]


@dataclass(frozen=True, eq=False, kw_only=True)
class Division(ABC):
    """A model that can be run part by part on the rows still wanted.

    Attributes:
        engine: how it was cut: "spine", "export" or "hooks".
        signature: of the model's inputs.
        sources: which of the flat inputs are taken.
        stages: in order, the last one ends in the model's own output; empty where the model itself is run.
        carries: for each cut between stages, how the values that cross it follow when rows leave.
        refusals: why the engines that were tried before could not cut it, by name.
    """

    engine: str
    signature: Signature
    sources: tuple[int, ...]
    stages: tuple[Stage, ...] = ()
    carries: tuple[Carry, ...] = ()
    refusals: Mapping[str, str] = field(default_factory=dict)

    @abstractmethod
    def fresh(self) -> bool:
        """Whether it still stands for the model; modules and tensors may have been replaced."""

    @abstractmethod
    def run(self, leaves: Sequence[Any], visit: Visit) -> None:
        """Runs on the flat inputs until no row is left; `visit` is called at every cut and at the end, see `Visit`."""

    def start(self, leaves: Sequence[Any]) -> list[Any]:
        """The first stage's inputs out of the flat inputs."""
        return [leaves[i] for i in self.sources]


@dataclass(frozen=True, eq=False, kw_only=True)
class Chain(Division):
    """A model divided into stages.

    Attributes:
        entered: the modules that were traced into, each with its children then.
        held: parameters and buffers that the stages use directly.
    """

    entered: tuple[tuple[nn.Module, list[nn.Module | None]], ...]
    held: tuple[Held, ...]

    def fresh(self) -> bool:
        """Whether the stages still hold the model's own modules and tensors."""
        return all(children(module) == then for module, then in self.entered) and all(h.fresh() for h in self.held)

    def run(self, leaves: Sequence[Any], visit: Visit) -> None:
        """See `Division.run`."""
        values: Sequence[Any] = self.start(leaves)
        for k, stage in enumerate(self.stages):
            feature, values = stage(*values)
            index = visit(k, feature)
            if index is None or k == len(self.carries):
                continue
            if len(index) == 0:
                return
            values = self.carries[k].keep(values, index)
