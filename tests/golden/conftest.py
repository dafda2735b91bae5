"""Costs of an architecture from its shapes alone, on torch's device without data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from offramp import zoo
from offramp.cost import counting_macs
from offramp.zoo.architecture import TRAITS


@dataclass(frozen=True)
class ShapeCosts:
    """What one image of the architecture's own size costs.

    Attributes:
        name: of the plain architecture.
        macs: of the whole network.
        parameters: of the whole network.
        reached: for every submodule, the MACs spent when it returns, and its output.
    """

    name: str
    macs: int
    parameters: int
    reached: dict[str, tuple[int, Tensor]]

    def at(self, place: str) -> int:
        """MACs spent behind a submodule."""
        return self.reached[place][0]

    def published_heads(self) -> dict[str, nn.Module]:
        """The architecture's own exit heads, by place."""
        exits = TRAITS[self.name].exits
        assert exits is not None
        classes = zoo.images_for(self.name).classes
        with torch.device("meta"):
            return {place: make(self.reached[place][1], classes) for place, make in exits.heads.items()}

    def head_macs(self, place: str) -> int:
        """MACs of the published head there."""
        with torch.no_grad(), counting_macs() as total:
            self.published_heads()[place](self.reached[place][1])
        return int(total())


def _follow(name: str) -> ShapeCosts:
    reached: dict[str, tuple[int, Tensor]] = {}
    with torch.device("meta"), torch.no_grad(), counting_macs() as total:
        net = zoo.build(name).eval()
        for place, module in net.named_modules():
            module.register_forward_hook(
                lambda _m, _i, output, place=place: reached.update({place: (int(total()), output)})
            )
        net(torch.zeros(1, *zoo.images_for(name).shape))
    return ShapeCosts(name, reached[""][0], sum(p.numel() for p in net.parameters()), reached)


@pytest.fixture(scope="session")
def shape_costs() -> Callable[[str], ShapeCosts]:
    found: dict[str, ShapeCosts] = {}

    def costs(name: str) -> ShapeCosts:
        if name not in found:
            found[name] = _follow(name)
        return found[name]

    return costs
