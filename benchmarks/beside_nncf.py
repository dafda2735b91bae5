"""NNCF 2.19.0 itself on the table's rows: epochs until early exit, and whether its loop crashes.

    pip install torch==2.13.0 nncf==2.19.0 scikit-learn rich && pip install --no-deps torchvision==0.28.0 .
    python benchmarks/beside_nncf.py [--seeds 3]        (an environment of its own)

The network, the data and the trained weights are those of compression_loops.py. The rows of `CRASHES` start
uncompressed, as nearly all schedules do: NNCF's loop then looks for a best model that it never saved.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from typing import Any

import torch
from rich.console import Console
from torch.nn import functional

# Before nncf is imported: the tracing that the training loops need, and no building of C++ kernels for minutes.
os.environ.update(NNCF_TORCH_LEGACY_TRACING="1", NNCF_CI="1", NNCF_EXTENSION_LOAD_TIMEOUT="0")

import torchvision_operators
from compression_loops import LIMIT, TABLE, loaders, pruning, trained
from provenance import write

EPOCHS = 25
CRASHES = {
    f"pruning from 0, {schedule}": [
        {**pruning("geometric_median"), "pruning_init": 0.0, "params": {"schedule": schedule, "pruning_steps": 3}}
    ]
    for schedule in ("exponential", "baseline", "exponential_with_bias")
}


def import_nncf() -> Any:
    """Loads it. It imports torchvision, whose published build loads beside a CPU torch once its operators exist."""
    torchvision_operators.declare()
    import nncf
    import nncf.torch

    return nncf


def settings(algorithms: list[dict[str, Any]]) -> dict[str, Any]:
    """A configuration that NNCF's own validation accepts."""
    return {
        "input_info": {"sample_size": [1, 1, 8, 8]},
        "compression": algorithms,
        "accuracy_aware_training": {"mode": "early_exit", "params": {**LIMIT, "maximal_total_epochs": EPOCHS}},
    }


def run(nncf: Any, seed: int, algorithms: list[dict[str, Any]], folder: str) -> dict[str, Any]:
    """One loop."""
    model, trainer = trained(seed)
    train, _ = loaders()
    torch.manual_seed(seed)
    baseline = trainer.validate(model)
    config = nncf.NNCFConfig.from_dict(settings(algorithms))
    config = nncf.torch.register_default_init_args(config, train, criterion=functional.cross_entropy)
    controller, compressed = nncf.torch.create_compressed_model(model, config, dump_graphs=False)
    metrics: list[float] = []

    def validate(model: Any, epoch: int) -> float:
        model.eval()
        metrics.append(trainer.validate(model))
        return metrics[-1]

    def train_epoch(controller: Any, model: Any, epoch: int, optimizer: Any, lr_scheduler: Any) -> float:
        model.train()
        return trainer.train_epoch(controller, model, epoch, optimizer, lr_scheduler)

    loop = nncf.common.accuracy_aware_training.create_accuracy_aware_training_loop(
        config, controller, uncompressed_model_accuracy=baseline, verbose=False
    )
    loop.run(
        compressed,
        train_epoch_fn=train_epoch,
        validate_fn=validate,
        configure_optimizers_fn=lambda: trainer.configure_optimizers(compressed),
        log_dir=folder,
    )
    return {"after_init": metrics[0], "epochs": len(metrics) - 1, "final": metrics[-1]}


def rows(nncf: Any, seeds: int) -> Iterator[dict[str, Any]]:
    """Every row, each seed; a crash is a result."""
    for name, algorithms in {**TABLE, **CRASHES}.items():
        for seed in range(1, seeds + 1):
            with tempfile.TemporaryDirectory() as folder:
                try:
                    found = run(nncf, seed, algorithms, folder)
                except Exception as error:
                    found = {"crash": f"{type(error).__name__}: {error}"[:200]}
            yield {"row": name, "seed": seed, **found}


def main() -> None:
    """Measures, prints, writes the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    seeds = parser.parse_args().seeds
    torch.set_num_threads(1)
    console, results = Console(), []
    for row in rows(import_nncf(), seeds):
        console.print(row)
        results.append(row)
    write("beside_nncf", {"rows": results})


if __name__ == "__main__":
    main()
