"""The loops on scikit-learn's digits: the search over rates against the adaptive loop, and epochs until early exit.

    python benchmarks/compression_loops.py [--epochs 60] [--skip-table]

Digits of 8x8, 1200 to train and 597 to validate, a residual network of three convolutions, at most 1 % relative
degradation. Both searches start from the same trained model, with the same learning rate and data order per seed. The
second group of seeds was run once, after the search was settled: nothing was chosen by it. The table's rows start at
their target rate, as those measured with NNCF 2.19 had to.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from offramp.compression import AdaptiveCompressionLevel, Configuration, EarlyExit, Loop, Outcome, RateSearch, Trainer
from offramp.compression import compress as compressed
from provenance import write

TRAINED_ON = 1200
SEEDS, UNSEEN = range(1, 6), range(21, 26)
LIMIT = {"maximal_relative_accuracy_degradation": 1.0}
SEARCHED = {
    "magnitude": {"algorithm": "magnitude_sparsity", "sparsity_init": 0.5, "params": {"sparsity_target": 0.5}},
    "pruning": {
        "algorithm": "filter_pruning",
        "pruning_init": 0.25,
        "params": {"pruning_target": 0.25, "prune_first_conv": True, "schedule": "baseline"},
    },
}


def pruning(importance: str) -> dict[str, Any]:
    """Half of the filters at once."""
    params = {"pruning_target": 0.5, "filter_importance": importance, "schedule": "baseline"}
    return {"algorithm": "filter_pruning", "pruning_init": 0.5, "params": params}


def magnitude(rate: float) -> dict[str, Any]:
    """A share of the weights at once."""
    return {"algorithm": "magnitude_sparsity", "sparsity_init": rate, "params": {"sparsity_target": rate}}


INT8 = {"algorithm": "quantization"}
TEACHER = {"algorithm": "knowledge_distillation", "type": "softmax"}
TABLE = {
    "pruning 50 % L2": [pruning("L2")],
    "pruning 50 % L1": [pruning("L1")],
    "pruning 50 % geometric median": [pruning("geometric_median")],
    "magnitude 90 %": [magnitude(0.9)],
    "magnitude 97 %": [magnitude(0.97)],
    "int8": [INT8],
    "pruning + int8": [pruning("geometric_median"), INT8],
    "pruning + distillation": [pruning("geometric_median"), TEACHER],
    "pruning + int8 + distillation": [pruning("geometric_median"), INT8, TEACHER],
    "magnitude 90 % + int8": [magnitude(0.9), INT8],
    "pruning + magnitude 50 %": [pruning("geometric_median"), magnitude(0.5)],
}


SEARCHED_WIDTH = 64
"""Channels go eight at a time: a wider network has more rates between nothing and all."""


class Network(nn.Module):
    """Three convolutions, the second around a shortcut; 16.8 thousand parameters at the width of the table.

    Args:
        width: channels of the first two; the last has half of them.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.block = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))
        half = width // 2
        self.last = nn.Sequential(nn.Conv2d(width, half, 3, padding=1, bias=False), nn.BatchNorm2d(half), nn.ReLU())
        self.head = nn.Linear(16 * half, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits `[n, 10]` of images `[n, 1, 8, 8]`."""
        x = self.stem(x)
        x = self.last(torch.relu(x + self.block(x)))
        return self.head(nn.functional.max_pool2d(x, 2).flatten(1))  # type: ignore[no-any-return]


def loaders() -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Training and validation part, divided as scikit-learn orders them after one fixed shuffle."""
    values, targets = load_digits(return_X_y=True)
    order = torch.randperm(len(values), generator=torch.Generator().manual_seed(0))
    images = torch.as_tensor(values, dtype=torch.float32).reshape(-1, 1, 8, 8)[order] / 8 - 1
    labels = torch.as_tensor(targets, dtype=torch.int64)[order]
    train = TensorDataset(images[:TRAINED_ON], labels[:TRAINED_ON])
    val = TensorDataset(images[TRAINED_ON:], labels[TRAINED_ON:])
    return DataLoader(train, 64, shuffle=True), DataLoader(val, len(val))


def trained(seed: int, epochs: int = 25, width: int = 32) -> tuple[nn.Module, Trainer]:
    """A network that is good at it, and what trains it further."""
    torch.manual_seed(seed)
    model = Network(width)
    train, val = loaders()
    first = Trainer(train, val, lr=0.05, seed=seed)
    optimizer, _ = first.configure_optimizers(model)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for epoch in range(epochs):
        model.train()
        first.train_epoch(None, model, epoch, optimizer, None)
        schedule.step()
    return model.eval(), Trainer(train, val, lr=0.02, seed=1000 + seed)


def run(model: nn.Module, trainer: Trainer, algorithms: list[dict[str, Any]], loop: Loop) -> Outcome:
    """One loop from this model."""
    configuration = Configuration.from_dict({"compression": algorithms})
    torch.manual_seed(trainer.seed)
    return compressed(copy.deepcopy(model), configuration, loop=loop, progress=False, **trainer.functions)


def searches(seeds: Iterable[int], epochs: int) -> Iterator[dict[str, Any]]:
    """Rate and epochs of both loops, by algorithm and seed."""
    loops: dict[str, Loop] = {
        "adaptive": AdaptiveCompressionLevel(maximal_total_epochs=epochs, **LIMIT),
        "search": RateSearch(maximal_total_epochs=epochs, **LIMIT),
    }
    for seed in seeds:
        model, trainer = trained(seed, width=SEARCHED_WIDTH)
        for name, node in SEARCHED.items():
            for kind, loop in loops.items():
                outcome = run(model, trainer, [node], loop)
                yield {
                    "algorithm": name,
                    "seed": seed,
                    "loop": kind,
                    "rate": outcome.statistics.compression_rate if outcome.holds else 0.0,
                    "epochs": outcome.exit_epoch,
                    "path": [[r.epoch, r.achieved, r.budget >= 0 and r.full] for r in outcome.history],
                    "validations": len(outcome.history),
                    "stopped": str(outcome.stopped),
                    "accuracy": outcome.statistics.compressed_accuracy,
                    "baseline": outcome.statistics.uncompressed_accuracy,
                }


def verdict(rows: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """On how many seeds the search finds at least the adaptive loop's rate within 60 % of its epochs."""
    by_seed: dict[int, dict[str, dict[str, Any]]] = {}
    for row in rows:
        if row["algorithm"] == name:
            by_seed.setdefault(row["seed"], {})[row["loop"]] = row
    pairs = [(kinds["adaptive"], kinds["search"]) for kinds in by_seed.values()]
    found = [(reached(search, adaptive["rate"]), adaptive["epochs"]) for adaptive, search in pairs]
    return {
        "seeds": len(pairs),
        "rate_at_least": sum(search["rate"] >= adaptive["rate"] for adaptive, search in pairs),
        "found_within_60_percent": sum(epoch is not None and epoch <= 0.6 * epochs for epoch, epochs in found),
        "epochs_until_found": [epoch for epoch, _ in found],
        "epochs_of_adaptive": [epochs for _, epochs in found],
        "epochs_of_search": [search["epochs"] for _, search in pairs],
        "rates_of_adaptive": [adaptive["rate"] for adaptive, _ in pairs],
        "rates_of_search": [search["rate"] for _, search in pairs],
    }


def reached(search: dict[str, Any], rate: float) -> int | None:
    """Epochs after which a search had a model that holds at this rate or a higher one."""
    return next((epoch for epoch, achieved, holds in search["path"] if holds and achieved >= rate), None)


def table_rows(seeds: int) -> Iterator[dict[str, Any]]:
    """Accuracy after initialisation, epochs until the exit, and final accuracy, by row of the table."""
    loop = EarlyExit(maximal_total_epochs=25, **LIMIT)
    models = {seed: trained(seed) for seed in range(1, seeds + 1)}
    for name, algorithms in TABLE.items():
        outcomes = [run(*models[seed], algorithms, loop) for seed in models]
        yield {
            "row": name,
            "after_init": [outcome.history[0].metric for outcome in outcomes],
            "epochs": [outcome.exit_epoch if outcome.holds else None for outcome in outcomes],
            "final": [outcome.statistics.compressed_accuracy for outcome in outcomes],
            "achieved": [outcome.statistics.compression_rate for outcome in outcomes],
        }


def main() -> None:
    """Measures, prints, writes the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--skip-table", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    console = Console()
    rows, unseen = (list(searches(seeds, options.epochs)) for seeds in (SEEDS, UNSEEN))
    verdicts, others = ({name: verdict(found, name) for name in SEARCHED} for found in (rows, unseen))
    console.print(verdicts, others)
    early = [] if options.skip_table else list(table_rows(3))
    shown = Table("row", "after init", "epochs", "final", title="early exit, limit 1 % relative, seeds 1 to 3")
    for row in early:
        shown.add_row(row["row"], *(" / ".join(map(str, row[key])) for key in ("after_init", "epochs", "final")))
    console.print(shown)
    write(
        "compression_loops",
        {"searches": rows, "verdicts": verdicts, "unseen": unseen, "verdicts_unseen": others, "early_exit": early},
    )


if __name__ == "__main__":
    main()
