"""What training exits costs, and what keeping a frozen backbone's features saves.

    python benchmarks/training_overhead.py [--batches 6]

Two ratios, each from rounds that alternate in one run, with the interval of the rounds' median:

- `exits`: an epoch of `fit` on a model with 3 exits, over the sum of a plain epoch of the backbone alone and a plain
  epoch of the heads alone on features that are already there. All of it written out in torch but `fit`.
- `cache`: an epoch of disjoint training's second phase with kept features, over one without. The pass that keeps them
  is timed apart.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import offramp as ofr
from offramp import zoo
from offramp.comparison import Ratio
from offramp.regimes import Disjoint, Joint
from offramp.training import Callback, Moment
from provenance import write

BATCH = 64
Batches = list[tuple[Tensor, Tensor]]
ROUNDS = {"resnet_small": 61, "resnet20_cifar": 45}
"""Short steps are noisier, and more of them are to be had."""
CACHE_ROUNDS = 9
CASES = {"resnet_small": (("layer1", "layer2"), (1, 28, 28)), "resnet20_cifar": (("layer1", "layer2"), (3, 32, 32))}


def model_and_batches(arch: str, batches: int) -> tuple[ofr.ExitModel, Batches]:
    """A network with 3 exits, and random images of its size."""
    torch.manual_seed(0)
    cuts, shape = CASES[arch]
    backbone = zoo.build(arch, 10, shape[0])
    model = ofr.attach(backbone, at=list(cuts), example=torch.zeros(1, *shape))
    return model, [(torch.randn(BATCH, *shape), torch.randint(10, (BATCH,))) for _ in range(batches)]


def plain_epoch(parameters: Sequence[nn.Parameter], losses: Callable[[int], Tensor], batches: int) -> float:
    """Seconds of an epoch of SGD, as one writes it."""
    optimizer = torch.optim.SGD(parameters, lr=1e-4, momentum=0.9, weight_decay=5e-4, nesterov=True)
    began = time.perf_counter()
    for k in range(batches):
        optimizer.zero_grad()
        losses(k).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return time.perf_counter() - began


def backbone_epoch(model: ofr.ExitModel, batches: Batches) -> float:
    """The backbone alone."""
    model.train()

    def loss(k: int) -> Tensor:
        return functional.cross_entropy(model.backbone(batches[k][0]), batches[k][1])

    return plain_epoch(list(model.backbone.parameters()), loss, len(batches))


def heads_epoch(model: ofr.ExitModel, batches: Batches) -> float:
    """The early heads alone, on features that are there."""
    kept = features(model, batches)
    model.train()

    def loss(k: int) -> Tensor:
        logits = [head(feature) for head, feature in zip(model.heads, kept[k], strict=True)]
        return torch.stack([functional.cross_entropy(z, batches[k][1]) for z in logits]).mean()

    return plain_epoch(list(model.heads.parameters()), loss, len(batches))


def features(model: ofr.ExitModel, batches: Batches) -> list[list[Tensor]]:
    """What the heads read, batch by batch."""
    found: list[list[Tensor]] = []
    handles = [head.register_forward_pre_hook(lambda module, x: found[-1].append(x[0])) for head in model.heads]
    with torch.no_grad():
        for inputs, _ in batches:
            found.append([])
            model(inputs)
    for handle in handles:
        handle.remove()
    return found


def fit_epoch(model: ofr.ExitModel, batches: Batches) -> float:
    """All exits together, by `fit`."""
    options: dict[str, Any] = {"epochs": 1, "lr": 1e-4, "device": "cpu", "progress": False}
    return ofr.fit(model, batches, regime=Joint(), **options).seconds


def in_turn(kinds: Sequence[Callable[..., float]], first: int, *given: Any) -> list[float]:
    """Times of all kinds, each round beginning with another one, as what ran before leaves its mark on the caches."""
    order = [(first + k) % len(kinds) for k in range(len(kinds))]
    found = {k: kinds[k](*given) for k in order}
    return [found[k] for k in range(len(kinds))]


def exits_case(arch: str, rounds: int, batches: int) -> dict[str, Any]:
    """Rounds of the three epochs in turn."""
    model, data = model_and_batches(arch, batches)
    kinds = (fit_epoch, backbone_epoch, heads_epoch)
    for kind in kinds:
        kind(model, data)
    times = [in_turn(kinds, k, model, data) for k in range(rounds)]
    ratio = Ratio.of([both for both, _, _ in times], [backbone + heads for _, backbone, heads in times])
    return {"arch": arch, "exits": model.exits, "batch": BATCH, "batches": batches, "ratio": ratio.to_dict()}


class EpochTimes(Callback):
    """Seconds of the steps of every epoch of phase "heads", without validation, and what came before the first."""

    def __init__(self) -> None:
        self.began = self.first_step = 0.0
        self.epochs: list[float] = []
        self.before: float | None = None

    def epoch_begins(self, moment: Moment) -> None:
        """Starts the clock."""
        self.began = time.perf_counter()

    def step_done(self, moment: Moment) -> None:
        """Notes when the first step was over."""
        if moment.step == 1:
            self.first_step = time.perf_counter()
            self.before = self.before or self.first_step - self.began

    def epoch_done(self, moment: Moment) -> None:
        """Counts from the first step on, as keeping features happens before it."""
        self.epochs.append(time.perf_counter() - self.first_step)


def cache_case(arch: str, rounds: int, batches: int) -> dict[str, Any]:
    """Rounds of fits with and without kept features, each of 3 epochs of the heads."""
    model, data = model_and_batches(arch, batches)
    inputs, labels = (torch.cat(column) for column in zip(*data, strict=True))
    loader = DataLoader(TensorDataset(inputs, labels), BATCH, shuffle=True)
    found: dict[bool, list[EpochTimes]] = {True: [], False: []}
    for _ in range(rounds):
        for cached, times in found.items():
            times.append(EpochTimes())
            options: dict[str, Any] = {"epochs": 3, "device": "cpu", "progress": False, "cache_features": cached}
            ofr.fit(model, loader, regime=Disjoint(first=0), callbacks=[times[-1]], **options)
    kept, plain = ([sum(times.epochs) for times in found[cached]] for cached in (True, False))
    once = [times.before or 0.0 for times in found[True]]
    whole = [sum(times.epochs) / 3 for times in found[False]]
    return {
        "arch": arch,
        "batch": BATCH,
        "batches": batches,
        "ratio": Ratio.of(kept, plain).to_dict(),
        "keeping_in_plain_epochs": Ratio.of(once, whole).to_dict(),
    }


def main() -> None:
    """Measures, prints and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=6)
    given = parser.parse_args()
    results = {
        "exits": [exits_case(arch, rounds, given.batches) for arch, rounds in ROUNDS.items()],
        "cache": [cache_case(arch, CACHE_ROUNDS, given.batches) for arch in CASES],
    }
    for name, cases in results.items():
        for case in cases:
            ratio = case["ratio"]
            print(f"{name:6} {case['arch']:15} {ratio['median']:.3f} [{ratio['low']:.3f}, {ratio['high']:.3f}]")
    print(write("training_overhead", results))


if __name__ == "__main__":
    main()
