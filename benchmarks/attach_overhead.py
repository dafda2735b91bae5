"""What `attach` costs a training step, against the same multi-exit network written by hand.

    python benchmarks/attach_overhead.py [--rounds 60]

Both share weights and loss; steps alternate in one run. Prints the ratio of the medians per network.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import offramp as ofr
from offramp import zoo
from offramp.latency import measure
from provenance import write


class ByHand(nn.Module):
    """ResNet-20 with two exits, its forward written out."""

    def __init__(self, backbone: nn.Module, heads: nn.ModuleList) -> None:
        super().__init__()
        self.net = backbone
        self.heads = heads

    def forward(self, x: Tensor) -> list[Tensor]:
        """Logits of the three exits."""
        net: Any = self.net
        x = net.relu(net.bn1(net.conv1(x)))
        first = net.layer1(x)
        second = net.layer2(first)
        last = net.fc(net.flatten(net.avgpool(net.layer3(second))))
        return [self.heads[0](first), self.heads[1](second), last]


def step(model: nn.Module, x: Tensor, y: Tensor) -> Callable[[], None]:
    """One step of SGD on the mean loss."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)

    def run() -> None:
        optimizer.zero_grad()
        loss = torch.stack([functional.cross_entropy(logits, y) for logits in model(x)]).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return run


def case(batch: int, rounds: int) -> dict[str, Any]:
    """Alternates the two on one batch size."""
    torch.manual_seed(0)
    x, y = torch.randn(batch, 3, 32, 32), torch.randint(0, 10, (batch,))
    backbone = zoo.build("resnet20_cifar")
    model = ofr.attach(backbone, at=["layer1", "layer2"], example=x[:1]).train()
    assert all(torch.equal(a, b) for a, b in zip(model(x), ByHand(backbone, model.heads)(x), strict=True))
    times = measure({"attach": step(model, x, y), "by hand": step(ByHand(backbone, model.heads), x, y)}, rounds, 5)
    ratio = times["attach"].median / times["by hand"].median
    return {"batch": batch, "ratio": round(ratio, 4), **{name: t.to_dict() for name, t in times.items()}}


def main() -> None:
    """Measures, prints and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=60)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    rows = [case(batch, rounds) for batch in (8, 64)]
    for r in rows:
        print(f"resnet20_cifar, batch {r['batch']}: a training step takes {r['ratio']:.3f} x the hand-written one")
    print(write("attach_overhead", {"rounds": rounds, "rows": rows}))


if __name__ == "__main__":
    main()
