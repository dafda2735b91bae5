"""Are exits faster for real? The runtime against the plain network, and against what the arithmetic promises.

    python benchmarks/runtime.py [--rounds 30] [--threads 1 2] [--run runs/demo]

For each network, batch size and exit rate q (share of the arriving rows that leaves at each early exit), measured in
alternation in one run:

- plain: the backbone alone;
- runtime: exits taken;
- bound: the sum over stages of the stage's time at the full batch x the share of rows that reach it, heads included;
- tax: the runtime when nothing leaves, against plain.

Weights are random; the thresholds are set so that the shares come out as asked. With --run, the trained network of a
run folder is measured too, under its own policy on its own test images. Medians.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

import offramp as ofr
from offramp import zoo
from offramp.cli.materials import Materials, load_model
from offramp.cli.run_folder import RunFolder
from offramp.latency import measure
from provenance import write

RATES = (0.0, 0.25, 0.5, 0.75)
NETWORKS = {"resnet_small": (1, 28), "resnet56_cifar": (3, 32)}


def policy_with_rates(model: ofr.ExitModel, x: Tensor, rate: float) -> ofr.Policy:
    """Thresholds at which this share of the rows that arrive at each early exit leaves there."""
    criterion = ofr.criteria.MaxProbability()
    with torch.no_grad():
        logits = model(x)
    staying = torch.ones(len(x), dtype=torch.bool)
    thresholds = []
    for k in range(model.exits - 1):
        scores = criterion.score(logits[k])
        leaving = round(rate * int(staying.sum()))
        ordered = scores[staying].sort(descending=True).values
        bounds = torch.cat([torch.ones(1), ordered[1:], torch.zeros(1)])
        threshold = float(bounds[leaving])
        staying &= ~(scores > threshold)
        thresholds.append(threshold)
    return ofr.Policy(criterion, thresholds)


def stage_calls(model: ofr.ExitModel, x: Tensor) -> dict[str, Callable[[], object]]:
    """One call per exit: its stage and its head, on the full batch."""
    calls: dict[str, Callable[[], object]] = {}
    walk = model.walk(x)
    for k, stage in enumerate(model.stages()):
        values = list(walk.values)
        head = model.heads[k] if k < model.exits - 1 else None

        def call(stage: Any = stage, values: Sequence[Any] = values, head: Any = head) -> object:
            feature, _ = stage(*values)
            return feature if head is None else head(feature)

        calls[f"stage {k}"] = call
        next(walk)
    return calls


def case(network: str, batch: int, rounds: int) -> list[dict[str, Any]]:
    """All exit rates for one network and batch size."""
    channels, side = NETWORKS[network]
    torch.manual_seed(0)
    backbone = zoo.build(network, in_channels=channels).to(memory_format=torch.channels_last)
    x = torch.randn(batch, channels, side, side).contiguous(memory_format=torch.channels_last)
    model = ofr.attach(backbone, at=zoo.default_cuts(network), example=x[:1], head="sdn_pool").eval()
    policies = {rate: policy_with_rates(model, x, rate) for rate in RATES}
    runtimes = {rate: ofr.deploy(model, policy) for rate, policy in policies.items()}
    calls: dict[str, Callable[[], object]] = {"plain": lambda: backbone(x), **stage_calls(model, x)}
    calls |= {f"q={rate}": lambda runtime=runtime: runtime(x) for rate, runtime in runtimes.items()}
    with torch.no_grad():
        times = measure(calls, rounds=rounds, warm_up=5)
    return [row(network, batch, rate, runtimes[rate](x).shares, times) for rate in RATES]


def trained(folder: Path, batch: int, rounds: int) -> list[dict[str, Any]]:
    """The network of a run folder, under its policy, on the first test images."""
    run = RunFolder(folder)
    materials = Materials.of(run.request)
    model = load_model(run, materials, torch.device("cpu"))
    x = next(iter(materials.loader("test")))[0][:batch].contiguous(memory_format=torch.channels_last)
    runtime = ofr.deploy(model, ofr.Policy.load(run.policy))
    calls = {"plain": lambda: model.backbone(x), **stage_calls(model, x), "q=policy": lambda: runtime(x)}
    with torch.no_grad():
        times = measure(calls, rounds=rounds, warm_up=5)
    return [row(f"{run.request.arch}, trained", batch, "policy", runtime(x).shares, times)]


def row(network: str, batch: int, rate: float | str, shares: Tensor, times: dict[str, Any]) -> dict[str, Any]:
    """Ratios of one case."""
    reaching = 1 - torch.cat([torch.zeros(1).double(), shares.cumsum(0)[:-1]])
    bound = sum(float(r) * times[f"stage {k}"].median for k, r in enumerate(reaching))
    runtime, plain = times[f"q={rate}"], times["plain"].median
    return {
        "network": network,
        "batch": batch,
        "threads": torch.get_num_threads(),
        "exit_rate": rate,
        "shares": [round(float(s), 3) for s in shares],
        "plain_ms": round(1e3 * plain, 3),
        "runtime_ms": round(1e3 * runtime.median, 3),
        "spread_ms": [round(1e3 * runtime.low, 3), round(1e3 * runtime.high, 3)],
        "bound_ms": round(1e3 * bound, 3),
        "runtime_over_bound": round(runtime.median / bound, 3),
        "speed_up": round(plain / runtime.median, 3),
    }


def main() -> None:
    """Measures every case, prints the table and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 256])
    parser.add_argument("--run", type=Path)
    options = parser.parse_args()
    rows = []
    for threads in options.threads:
        torch.set_num_threads(threads)
        if options.run:
            rows += trained(options.run, 256, options.rounds)
        for network in NETWORKS:
            for batch in options.batches:
                if batch > 1:
                    rows += case(network, batch, options.rounds)
                else:
                    rows += single(network, options.rounds * 3)
    table = Table("network", "batch", "threads", "exit rate", "speed-up", "runtime / bound")
    for r in rows:
        table.add_row(
            *(str(r[k]) for k in ("network", "batch", "threads", "exit_rate", "speed_up", "runtime_over_bound"))
        )
    Console().print(table)
    print(write("runtime", {"rounds": options.rounds, "rows": rows}))


def single(network: str, rounds: int) -> list[dict[str, Any]]:
    """Batch 1: leaving at each exit in turn, against the time of the stages up to there."""
    channels, side = NETWORKS[network]
    torch.manual_seed(0)
    backbone = zoo.build(network, in_channels=channels).to(memory_format=torch.channels_last)
    x = torch.randn(1, channels, side, side).contiguous(memory_format=torch.channels_last)
    model = ofr.attach(backbone, at=zoo.default_cuts(network), example=x, head="sdn_pool").eval()
    criterion = ofr.criteria.MaxProbability()
    closed = [1.0] * (model.exits - 1)  # evaluated at every exit, taken at none
    runtimes = {
        k: ofr.deploy(model, ofr.Policy(criterion, [*closed[:k], 0.0, *closed[k + 1 :]] if k < len(closed) else closed))
        for k in range(model.exits)
    }
    calls: dict[str, Callable[[], object]] = {"plain": lambda: backbone(x), **stage_calls(model, x)}
    calls |= {f"q={k}": lambda runtime=runtime: runtime(x) for k, runtime in runtimes.items()}
    with torch.no_grad():
        times = measure(calls, rounds=rounds, warm_up=10)
    rows = []
    for k in range(model.exits):
        shares = torch.zeros(model.exits).double()
        shares[k] = 1.0
        rows.append({**row(network, 1, k, shares, times), "exit_rate": f"exit {k}"})
    return rows


if __name__ == "__main__":
    main()
