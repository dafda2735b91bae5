"""B-LeNet on Fashion-MNIST against the plain LeNet: accuracy, MACs with heads, and time at batch 1.

    python benchmarks/branchynet.py [--networks wide published] [--epochs 5] [--seed 0] [--data FOLDER]

Per network a plain LeNet and one with exits are trained by the same loop for equally many epochs. Temperatures come
from the validation split, thresholds from the calibration split: the cheapest that keep the plain network's accuracy
there. The test part is touched once, after that. Times are of single images of the calibration split, plain and with
exits in turns, each with the same backend. Results are written after every network; what was trained is kept in
`runs/branchynet`, and a run with the same options takes it from there.

- published: the network and the branch of BranchyNet's code.
- wide: the same layout with more channels behind the first convolution, and a second branch. At batch 1 the published
  network is so small that most of its time is spent on calling operations, and exits cannot save much of that.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import offramp as ofr
from offramp import data, saving, zoo
from offramp.heads import BranchConv
from offramp.latency import measure_requests, quantiles, requests
from offramp.verdicts.networks import plain as without_exits
from offramp.verdicts.networks import taking_exits
from provenance import write

KEPT = Path(__file__).parents[1] / "runs" / "branchynet"
BACKENDS = ("eager", "onnxruntime")
TIMED, ROUNDS = 200, 9
GOAL = {"accuracy_points": 0.3, "macs_ratio": 2.0, "macs_ratio_aim": 3.0, "speed_up": 1.5, "speed_up_aim": 2.0}
PUBLISHED = {
    "source": "Teerapittayanon et al. 2016 (BranchyNet), table I, LeNet and B-LeNet",
    "data": "MNIST",
    "device": "CPU of 3.0 GHz, batch 1, Chainer",
    "accuracy": {"plain": 0.9920, "exits": 0.9925},
    "ms": {"plain": 3.37, "exits": 0.62},
    "speed_up": 5.4,
    "macs_ratio": 4.1,
    "shares": [0.943, 0.0563],
    "differs": [
        "MNIST there, Fashion-MNIST here, which is harder: fewer images are easy",
        "their MACs are counted here, from their code and their exit shares, with heads; they print none",
        "their thresholds were screened on the test set, these are chosen on a calibration split",
        "trained there from the trained plain network with Adam; here from scratch with AdamW, cosine, equal epochs",
        "their time leaves out the entropy; here the gate is timed, from images in to answers out",
    ],
}


@dataclass(frozen=True)
class Layout:
    """A LeNet and its branches.

    Attributes:
        channels: of the three convolutions.
        heads: width of the branch's convolution, by the place it leaves from.
        weights: of the branches' losses; the final exit gets the rest.
    """

    channels: tuple[int, int, int]
    heads: dict[str, int]
    weights: tuple[float, ...]


LAYOUTS = {
    "wide": Layout((8, 48, 96), {"conv1": 32, "relu2": 32}, (0.3, 0.2)),
    "published": Layout((5, 10, 20), {"conv1": 10}, (0.4,)),
}


@dataclass(frozen=True, eq=False)
class Work:
    """Images, divided and batched."""

    train: Any
    validation: Any
    calibration: Any
    test: Any
    singles: list[Tensor]
    sizes: dict[str, Any]

    @classmethod
    def of(cls, folder: str | None, images: int, seed: int) -> Work:
        """Fashion-MNIST, stratified."""
        train, test = data.load("fashion-mnist", folder=folder, fallback=False)
        splits = data.split(train.labels, train=images, validation=2500, calibration=7500, test=len(test), seed=seed)
        normalisation = data.Normalisation.of(train.images[splits.train])
        parts = {"validation": train, "calibration": train} | {"test": test}
        loaders = {k: data.evaluation_loader(part, getattr(splits, k), normalisation) for k, part in parts.items()}
        fitting = data.train_loader(
            train, splits.train, normalisation, augmentation=data.Augmentation(padding=1), batch_size=128
        )
        singles = list(normalisation(train.images[splits.calibration[:TIMED]]).split(1))
        return cls(fitting, **loaders, singles=singles, sizes=splits.record())


def branch(width: int) -> Callable[..., nn.Module]:
    """Makes a branch whose convolution is so wide."""
    return partial(BranchConv.for_features, channels=width)


def built(layout: Layout, work: Work, seed: int) -> ofr.ExitModel:
    """The network with its branches, new weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = zoo.BranchyLeNet(channels=layout.channels)
    heads = [branch(width) for width in layout.heads.values()]
    return ofr.attach(backbone, list(layout.heads), work.singles[0], 10, heads, seed)


def trained(
    name: str, layout: Layout, regime: ofr.regimes.Regime, work: Work, options: argparse.Namespace
) -> tuple[ofr.ExitModel, float]:
    """The network, and the CPU seconds that its training took; the kept one where there is one."""
    kept = KEPT / f"{name}-{options.epochs}-{options.images}-{options.precision}-{options.seed}"
    if (kept / "exit_model.json").exists():
        heads = [branch(width) for width in layout.heads.values()]
        model = ofr.ExitModel.load(kept, zoo.BranchyLeNet(channels=layout.channels), heads)
        return model.eval(), float(saving.describe(kept)["meta"]["cpu_seconds"])
    start = time.process_time()
    model = built(layout, work, options.seed)
    ofr.fit(
        model,
        work.train,
        regime=regime,
        epochs=options.epochs,
        seed=options.seed,
        optimizer="adamw",
        lr=3e-3,
        weight_decay=1e-3,
        warmup=0.5,
        precision=options.precision,
        device="cpu",
        channels_last=True,
    )
    model.to(memory_format=torch.contiguous_format)
    seconds = time.process_time() - start
    model.save(kept, {"cpu_seconds": seconds})
    return model, seconds


def chosen(model: ofr.ExitModel, plain: ofr.ExitModel, work: Work) -> tuple[ofr.Policy, dict[str, Any]]:
    """The cheapest thresholds on the entropy that keep the plain network's accuracy, by calibration alone."""
    tuning, recording = ofr.record(model, work.validation), ofr.record(model, work.calibration)
    reference = ofr.record(plain, work.calibration)
    labels = recording.required_labels
    own, other = (float((r.logits[-1].argmax(-1) == labels).double().mean()) for r in (recording, reference))
    points = max(own - other, 0.0)
    goal = ofr.goals.AccuracyDrop(points)
    found = ofr.calibrate(recording, ofr.criteria.Entropy(), goal, tuning=tuning)
    by_exit = [float((logits.argmax(-1) == labels).double().mean()) for logits in recording.logits]
    return found.unwrap(), {
        "plain_accuracy": other,
        "accuracy_by_exit": by_exit,
        "drop_allowed_against_own_last_exit": points,
        "accuracy": found.evidence.accuracy,
        "shares": list(found.evidence.shares),
    }


def tested(model: ofr.ExitModel, plain: ofr.ExitModel, policy: ofr.Policy, work: Work) -> dict[str, Any]:
    """The test part, once: what leaves where, and how often each network alone is right."""
    recording, reference = ofr.record(model, work.test), ofr.record(plain, work.test)
    decisions = ofr.simulate(recording, policy)
    labels = recording.required_labels
    right = (decisions.predictions == labels).double()
    plain_right = (reference.logits[-1].argmax(-1) == labels).double()
    difference = right - plain_right
    margin = 1.96 * float(difference.std()) / len(difference) ** 0.5
    return {
        "samples": len(labels),
        "plain_accuracy": float(plain_right.mean()),
        "accuracy": float(right.mean()),
        "points_against_plain": 100 * float(difference.mean()),
        "interval_95": [100 * (float(difference.mean()) - margin), 100 * (float(difference.mean()) + margin)],
        "shares": decisions.shares.tolist(),
        "plain_macs": model.cost.plain,
        "mean_macs": decisions.mean_macs,
        "macs_ratio": model.cost.plain / decisions.mean_macs,
    }


def timed(model: ofr.ExitModel, plain: ofr.ExitModel, policy: ofr.Policy, work: Work, backend: str) -> dict[str, Any]:
    """Single images, the plain network and the one with exits in turns."""
    runtime = ofr.deploy(model, policy, backend=backend, batch_sizes=[1])
    networks = {"plain": without_exits(plain, backend), "exits": taking_exits(runtime)}
    calls = {name: requests(network, work.singles) for name, network in networks.items()}
    laps = measure_requests(calls, ROUNDS, order=random.Random(0))
    ratios = [a / b for a, b in zip(laps["plain"].totals, laps["exits"].totals, strict=True)]
    exits = torch.cat([runtime(image).exits for image in work.singles])
    return {
        **{f"{name}_ms": 1000 * lap.median / lap.requests for name, lap in laps.items()},
        "speed_up": quantiles(ratios, 0.5)[0],
        "speed_up_by_round": [min(ratios), max(ratios)],
        "images": len(work.singles),
        "rounds": ROUNDS,
        "shares": (torch.bincount(exits, minlength=model.exits).double() / len(exits)).tolist(),
    }


def row(name: str, work: Work, options: argparse.Namespace) -> dict[str, Any]:
    """One network: trained twice, calibrated, tested, timed."""
    layout = LAYOUTS[name]
    alone, together = ofr.regimes.BackboneAlone(), ofr.regimes.Joint(weights=layout.weights)
    plain, plain_seconds = trained(f"{name}-plain", layout, alone, work, options)
    model, seconds = trained(f"{name}-exits", layout, together, work, options)
    policy, calibration = chosen(model, plain, work)
    return {
        "channels": layout.channels,
        "branches": layout.heads,
        "loss_weights": layout.weights,
        "training_cpu_seconds": {"plain": plain_seconds, "exits": seconds},
        "policy": policy.to_dict(),
        "calibration": calibration,
        "test": tested(model, plain, policy, work),
        "batch_1": {backend: timed(model, plain, policy, work, backend) for backend in BACKENDS},
    }


def report(name: str, found: dict[str, Any]) -> None:
    test, times = found["test"], found["batch_1"]
    speed = ", ".join(f"{backend} x {times[backend]['speed_up']:.2f}" for backend in BACKENDS)
    print(
        f"{name}: plain {100 * test['plain_accuracy']:.2f} %, with exits {100 * test['accuracy']:.2f} % "
        f"({test['points_against_plain']:+.2f} points), MACs / {test['macs_ratio']:.2f}, at batch 1 {speed}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=list(LAYOUTS), default=list(LAYOUTS))
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--precision", default="bf16", help="of training: bf16 is fast on CPUs that have it, else fp32")
    parser.add_argument("--data", default=None)
    options = parser.parse_args()
    torch.set_num_threads(1)
    work = Work.of(options.data, options.images, options.seed)
    setting = {k: v for k, v in vars(options).items() if k != "data"} | {"splits": work.sizes}
    networks: dict[str, Any] = {}
    for name in options.networks:
        networks[name] = row(name, work, options)
        write("branchynet", {"setting": setting, "goal": GOAL, "published": PUBLISHED, "networks": networks})
        report(name, networks[name])


if __name__ == "__main__":
    main()
