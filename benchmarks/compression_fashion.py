"""ResNet-20 on Fashion-MNIST: pruned for real, then int8, then with exits on top; accuracy, size, MACs and latency.

    python benchmarks/compression_fashion.py [--images 20000] [--epochs 6] [--tune 6] [--data FOLDER]

The criterion is at most 1 % relative loss of accuracy against the plain network, on the validation split; fine-tuning
ends as soon as it holds. The test part is touched once, at the end. Latencies are of batches of 256, all in one run.
"""

from __future__ import annotations

import argparse
import copy
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import offramp as ofr
from offramp import data as datasets
from offramp import zoo
from offramp.compression.algorithms import FilterPruning, Quantization, Workshop
from offramp.compression.batch_norm import adapt_batch_norms
from offramp.cost import count_macs
from offramp.latency import measure
from provenance import write

LOSS = 0.01
"""Relative loss of accuracy that is allowed."""
FLOPS = 0.5
"""Share of the MACs to be pruned."""
BATCH = 256


@dataclass(frozen=True)
class Task:
    """Loaders of the splits."""

    train: Any
    validation: Any
    calibration: Any
    test: Any
    batch: Tensor


def task(images: int, folder: str | None) -> Task:
    """A stratified part of the training images, and validation and test."""
    train, test = datasets.load("fashion-mnist", folder=folder, fallback=False)
    splits = datasets.split(train.labels, train=images, validation=5000, calibration=5000, test=len(test), seed=0)
    normalisation = datasets.Normalisation.of(train.images[splits.train])

    def evaluation(part: Any, indices: Tensor) -> Any:
        return datasets.evaluation_loader(part, indices, normalisation)

    batch = next(iter(datasets.evaluation_loader(test, splits.test, normalisation, batch_size=BATCH)))[0]
    fit = datasets.train_loader(train, splits.train, normalisation)
    return Task(
        fit,
        evaluation(train, splits.validation),
        evaluation(train, splits.calibration),
        evaluation(test, splits.test),
        batch,
    )


def accuracy(model: Callable[[Tensor], Tensor], loader: Any) -> float:
    """Share of right answers."""
    with torch.no_grad():
        right = [(model(x).argmax(1) == y).float() for x, y in loader]
    return float(torch.cat(right).mean())


def train(model: nn.Module, loader: Any, epochs: int, lr: float, enough: Callable[[], bool] | None = None) -> int:
    """SGD with a cosine; stops after an epoch that is enough. Gives the number of epochs."""
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=5e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(loader))
    for epoch in range(epochs):
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            functional.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        model.eval()
        if enough is not None and enough():
            return epoch + 1
    return epochs


def pruned(plain: nn.Module, work: Task, floor: float, epochs: int) -> tuple[nn.Module, dict[str, Any]]:
    """The network with half of its MACs gone, fine-tuned until the criterion holds."""
    model = copy.deepcopy(plain)
    settings = FilterPruning(
        pruning_init=FLOPS,
        pruning_flops_target=FLOPS,
        filter_importance="geometric_median",
        prune_first_conv=True,
        prune_downsample_convs=True,
    )
    pruner = settings.apply(model, Workshop(work.batch[:2], plain))
    masked = model(work.batch)
    pruner.bake(model)
    model = pruner.shrink(model)
    parity = float((model(work.batch) - masked).abs().max() / masked.abs().max())
    adapt_batch_norms(model, work.train, 2000)
    after = accuracy(model, work.validation)
    used = train(model, work.train, epochs, 0.05, lambda: accuracy(model, work.validation) >= floor)
    macs = [count_macs(lambda m=m: m(work.batch[:1])) for m in (plain, model)]
    return model, {"parity": parity, "validation_at_once": after, "epochs": used, "macs_gone": 1 - macs[1] / macs[0]}


def quantized(model: nn.Module, work: Task) -> nn.Module:
    """Integers, without further training."""
    model = copy.deepcopy(model).eval()
    workshop = Workshop(work.batch[:2], copy.deepcopy(model), work.train)
    return Quantization().apply(model, workshop).shrink(model).eval()


def with_exits(model: nn.Module, work: Task, floor: float, epochs: int) -> tuple[ofr.ExitModel, ofr.Policy]:
    """Exits on the pruned network, trained while it stays as it is, then turned into integers.

    The policy is chosen on the calibration split: what the network in integers has above the floor may be lost.
    """
    exits = ofr.attach(copy.deepcopy(model), at=["layer1", "layer2"], example=work.batch[:1], head="sdn_pool")
    heads = ofr.regimes.Disjoint(first=0)
    ofr.fit(exits, work.train, regime=heads, epochs=epochs, lr=0.05, seed=0, progress=False)
    small = quantized(exits, work)
    assert isinstance(small, ofr.ExitModel)
    recording = ofr.record(small, work.calibration)
    accuracy = float((recording.logits[-1].argmax(-1) == recording.labels).double().mean())
    goal = ofr.goals.AccuracyDrop(max(accuracy - floor, 0.001))
    return small, ofr.calibrate(recording, goal=goal).unwrap()


def size(model: nn.Module) -> int:
    """Bytes of the saved state."""
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    return len(file.getvalue())


def in_onnx_runtime(model: nn.Module, work: Task) -> Callable[[Tensor], Tensor]:
    """A session for the whole network, through a policy that takes no exit."""
    whole = ofr.attach(copy.deepcopy(model), at=["layer1"], example=work.batch[:1])
    runtime = ofr.deploy(whole, ofr.always(exit=1), backend="onnxruntime")
    return lambda x: runtime(x).logits


def main() -> None:
    """Trains, compresses, measures, prints and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20000)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--tune", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--data", default=None)
    options = parser.parse_args()
    torch.manual_seed(0)
    work = task(options.images, options.data)
    plain = zoo.build("resnet20_cifar", in_channels=1)
    train(plain, work.train, options.epochs, 0.1)
    base = accuracy(plain, work.validation)
    small, about = pruned(plain, work, base * (1 - LOSS), options.tune)
    integers = quantized(small, work)
    exits, policy = with_exits(small, work, base * (1 - LOSS), 3)
    taking = ofr.deploy(exits, policy, backend="onnxruntime")
    calls: dict[str, Callable[[Tensor], Tensor]] = {
        "plain": plain,
        "pruned": small,
        "plain, ONNX Runtime": in_onnx_runtime(plain, work),
        "pruned, ONNX Runtime": in_onnx_runtime(small, work),
        "pruned, int8, ONNX Runtime": in_onnx_runtime(integers, work),
        "pruned, int8, exits, ONNX Runtime": lambda x: taking(x).logits,
    }
    with torch.no_grad():
        times = measure({name: (lambda c=c: c(work.batch)) for name, c in calls.items()}, options.rounds, 3)
    rows = [
        {
            "network": name,
            "validation": round(accuracy(call, work.validation), 4),
            "test": round(accuracy(call, work.test), 4),
            "latency": round(times[name].median / times["plain"].median, 3),
            "latency_in_its_engine": round(
                times[name].median / times["plain, ONNX Runtime" if "ONNX" in name else "plain"].median, 3
            ),
        }
        for name, call in calls.items()
    ]
    bytes_of = {name: size(m) for name, m in (("plain", plain), ("pruned", small), ("pruned, int8", integers))}
    for row in rows:
        print(row)
    print(about, bytes_of)
    settings = vars(options) | {"threads": torch.get_num_threads(), "batch": BATCH, "relative_loss": LOSS}
    settings.pop("data")
    print(write("compression_fashion", {**settings, "pruning": about, "bytes": bytes_of, "rows": rows}))


if __name__ == "__main__":
    main()
