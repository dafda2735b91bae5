"""How much of a training step the loader takes: ResNet-20 with its exit, images laid out as CIFAR batches.

    python benchmarks/loader_share.py [--steps N] [--batch-size N]

Fashion-MNIST is written as CIFAR batches and opened from there, so that every step shifts, mirrors and normalises a
batch of 32x32 colour images, as training on CIFAR does. Preparing a batch and training on it are timed one after the
other in the same loop, in the training process: with workers the share can only be less.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

import provenance
from offramp import ExitModel, data, zoo

ARCH = "resnet20_cifar_earlyexit"
WARMUP = 3


def step(model: ExitModel, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> None:
    optimizer.zero_grad()
    early, final = model(images)
    loss = 0.4 * cross_entropy(early, labels) + 0.6 * cross_entropy(final, labels)
    loss.backward()
    optimizer.step()


def batches(batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    with tempfile.TemporaryDirectory() as folder:
        opened = data.open_data(data.write_cifar_batches(*data.load(download=False), folder))
    splits = opened.divide()
    loader = opened.train_loader(splits, opened.normalisation(splits), batch_size)
    while True:
        yield from loader


def measure(steps: int, batch_size: int) -> tuple[list[float], list[float]]:
    """Seconds to prepare a batch and to train on it, step by step."""
    torch.manual_seed(0)
    model = zoo.build_with_exits(ARCH).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.003, momentum=0.9)
    prepared = batches(batch_size)
    preparing, training = [], []
    for _ in range(WARMUP + steps):
        start = time.perf_counter()
        images, labels = next(prepared)
        ready = time.perf_counter()
        step(model, optimizer, images, labels)
        preparing.append(ready - start)
        training.append(time.perf_counter() - ready)
    return preparing[WARMUP:], training[WARMUP:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=128)
    options = parser.parse_args()
    preparing, training = measure(options.steps, options.batch_size)
    shares = [p / (p + t) for p, t in zip(preparing, training, strict=True)]
    results = {
        "arch": ARCH,
        "batch_size": options.batch_size,
        "steps": options.steps,
        "loader_ms": 1000 * statistics.median(preparing),
        "training_ms": 1000 * statistics.median(training),
        "loader_share": {"median": statistics.median(shares), "largest": max(shares)},
    }
    provenance.write("loader_share", results)
    print(f"The loader takes {100 * statistics.median(shares):.1f} % of a step (at most {100 * max(shares):.1f} %).")


if __name__ == "__main__":
    main()
