"""The manual's command for CIFAR, on Fashion-MNIST as CIFAR batches; what its label gate overstates; what a pass costs.

    python benchmarks/distiller.py [--images 8000] [--epochs 4] [--test 4000] [--pass-images 10000] [--data FOLDER]

Trains ResNet-20 and ResNet-32 with Distiller's exit by `offramp classify`, on a stratified part of the training images.
The table then reads the test images at the manual's thresholds in three ways: with exits decided by the true label,
which is Distiller's figure; with a label-free gate that lets as many leave; and as deployed, by the entropy. Nothing is
chosen by it. Times are ratios within one run, the variants taking turns batch by batch.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import offramp as ofr
from offramp import data as datasets
from offramp import zoo
from offramp.cli import main as offramp
from offramp.cli.steps.classification.folder import ClassifyFolder, read_weights
from offramp.cli.steps.classification.oracle_report import OracleReport
from offramp.cli.steps.classification.outcomes import outcomes_of
from offramp.criteria import Entropy
from provenance import write

DEPTHS = (20, 32)
THRESHOLDS = (0.4, 0.9, 1.2)
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Of the images that leave early in the timed passes."""
TRAINING, TESTING = 60_000, 10_000
BATCH = 256


def training_share(asked: argparse.Namespace) -> float:
    """Of the training split, which is what the validation split leaves."""
    return round(asked.images / (0.9 * TRAINING), 6)


def command(depth: int, asked: argparse.Namespace, data: Path, out: Path) -> list[str]:
    """The manual's, with fewer epochs on fewer images."""
    words = (
        f"--arch=resnet{depth}_cifar_earlyexit --epochs={asked.epochs} -b 128 --lr=0.003 --earlyexit_thresholds 0.4 "
        f"--earlyexit_lossweights 0.4 -j 30 --out-dir {out} -n earlyexit {data} "
        f"--etrs {training_share(asked)} --evs 0.25 --etes {asked.test / TESTING} --cpu -p 20"
    )
    return ["classify", *words.split()]


def trained(depth: int, asked: argparse.Namespace, data: Path, out: Path) -> dict[str, Any]:
    """Runs the command; the run's folder, its test and its time."""
    place = out / str(depth)
    words, began = command(depth, asked, data, place), time.perf_counter()
    if offramp(words) != 0:
        raise SystemExit(f"{' '.join(words)} failed")
    (folder,) = place.iterdir()
    results = json.loads((folder / "results.json").read_text())
    shown = [str(word).replace(str(data), "DATA").replace(str(place), "DIR") for word in words]
    return {"folder": folder, "command": shown, "seconds": time.perf_counter() - began, "test": results["test"]}


def load(folder: Path, depth: int) -> ofr.ExitModel:
    """The best weights of a run."""
    model = zoo.build_with_exits(f"resnet{depth}_cifar_earlyexit")
    zoo.load_weights(model, read_weights(ClassifyFolder(folder).best))
    return model.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def batches_of_test(data: Path, asked: argparse.Namespace, test: float) -> Any:
    """Batches of a share of the test part, normalised as in the run."""
    found = datasets.open_data(data, "cifar")
    splits = found.divide(fractions={"train": training_share(asked), "test": test})
    return found.loader("test", splits, found.normalisation(splits), batch_size=BATCH)


def oracle_rows(model: ofr.ExitModel, loader: Any) -> list[dict[str, Any]]:
    """The three readings at every threshold of the manual."""
    outcomes = outcomes_of(model, loader, ofr.Policy(Entropy(), [0.0]))
    rows = []
    for threshold in THRESHOLDS:
        report = OracleReport.of(outcomes, [threshold], ofr.Policy(Entropy(), [-threshold]))
        rows.append(
            {
                "threshold": threshold,
                "samples": outcomes.samples,
                "label_gated_top1": report.oracle.top1,
                "label_gated_exit_top1": report.oracle.exits[0].top1,
                "label_gated_exit_percent": report.oracle.exits[0].percent,
                "same_rate_top1": report.same_rate.top1,
                "overstatement_points": report.overstatement,
                "deployed_top1": report.deployed.top1,
                "deployed_exit_percent": report.deployed.exits[0].percent,
            }
        )
    return rows


def timed_passes(model: ofr.ExitModel, loader: Any, batches: int) -> dict[str, Any]:
    """Time of passes in which given shares leave, relative to the plain network's pass over the same batches."""
    images = [images for images, _ in loader][:batches]
    cuts = thresholds(model, images)
    plain: Callable[[Tensor], Any] = model.backbone
    variants = {share: ofr.deploy(model, ofr.Policy(Entropy(), [cut])) for share, cut in cuts.items()}
    seconds = dict.fromkeys(("plain", *variants), 0.0)
    left = dict.fromkeys(variants, 0)
    with torch.no_grad():
        for k, batch in enumerate(images):
            calls = [("plain", plain), *variants.items()]
            for name, call in calls[k % len(calls) :] + calls[: k % len(calls)]:  # nobody always goes first
                call(batch[:8])
                began = time.perf_counter()
                answer = call(batch)
                seconds[name] += time.perf_counter() - began
                if name != "plain":
                    left[name] += int(answer.exits.eq(0).sum())
    samples = sum(map(len, images))
    return {
        "samples": samples,
        "batch": BATCH,
        "plain_seconds": seconds["plain"],
        "passes": [
            {
                "left_early": left[share] / samples,
                "time_ratio": seconds[share] / seconds["plain"],
                "macs_ratio": (left[share] * model.cost.macs[0] + (samples - left[share]) * model.cost.macs[1])
                / (samples * model.cost.plain),
            }
            for share in variants
        ],
    }


def thresholds(model: ofr.ExitModel, images: list[Tensor]) -> dict[float, float]:
    """Thresholds of the score at which about these shares leave; they are for timing, and no label is looked at."""
    with torch.no_grad():
        scores = torch.cat([Entropy().score(model(batch)[0]) for batch in images])
    inner = {share: float(scores.quantile(1 - share)) for share in SHARES[1:-1]}
    return {0.0: 0.0, **inner, 1.0: -float("inf")}


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=8000, help="training images used")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--test", type=int, default=4000, help="test images used")
    parser.add_argument("--pass-images", type=int, default=10_000, help="images of the timed passes")
    parser.add_argument("--data", default=None, help="folder of Fashion-MNIST's files")
    return parser.parse_args()


def main() -> None:
    asked = parsed()
    results: dict[str, Any] = {
        "data": "Fashion-MNIST as CIFAR batches: 32x32 with a black border, three equal channels",
        "training_images": asked.images,
        "epochs": asked.epochs,
        "seed": 0,
        "runs": {},
    }
    with tempfile.TemporaryDirectory() as scratch:
        data = datasets.write_cifar_batches(*datasets.load("fashion-mnist", folder=asked.data, fallback=False), scratch)
        for depth in DEPTHS:
            run = trained(depth, asked, data, Path(scratch) / "runs")
            model = load(run.pop("folder"), depth)
            run["oracle"] = oracle_rows(model, batches_of_test(data, asked, asked.test / TESTING))
            results["runs"][f"resnet{depth}_cifar_earlyexit"] = run
            write("distiller", results)
            if depth == DEPTHS[0]:
                batches = -(-asked.pass_images // BATCH)
                results["validation_pass"] = timed_passes(model, batches_of_test(data, asked, 1.0), batches)
                write("distiller", results)
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
