"""Are exits faster for real? The runtime against the plain network, and against what the arithmetic promises.

    python benchmarks/runtime.py [--rounds 20] [--threads 1 2] [--backends eager onnxruntime] [--run runs/demo] [--keep]

For each network, batch size and exit rate q (share of the arriving rows that leaves at each early exit), measured in
alternation in one run:

- plain: the backbone alone;
- runtime: exits taken;
- bound: the sum over segments of their time at the full batch x the share of rows that reach them; a segment runs from
  one exit to the next, with the head and the gate there. A backend that runs the whole network as one graph, and
  hands nothing from segment to segment, can be faster than the bound.

The rate 0 is the tax of exits that nobody takes. Plain, segments and runtime all go through the same backend.

Weights are random; the thresholds are set so that the shares come out as asked. With --run, the trained network of a
run folder is measured too, under its own policy on its own test images: batch by batch, and as a stream that collects
the rows that go on. Medians.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import offramp as ofr
import torchvision_operators
from offramp import zoo
from offramp.backbones import map_tensors
from offramp.cli.materials import Materials, load_model
from offramp.cli.run_folder import RunFolder
from offramp.latency import Timing, measure
from offramp.runtimes import Runtime, StagedRuntime
from offramp.runtimes.one_graph import IN_ONE_GRAPH
from offramp.segments import Plan
from provenance import RESULTS, commit, write

RATES = (0.0, 0.25, 0.5, 0.75)
CASE = ("network", "backend", "threads", "batch", "exit_rate")
STREAMED = 16
"""Batches of a stream."""

Prepared = tuple[nn.Module, Any, Sequence[str | float], str]


def residual(name: str, channels: int, side: int) -> Callable[[int], Prepared]:
    """A CIFAR-style ResNet, channels last."""

    def build(batch: int) -> Prepared:
        backbone = zoo.build(name, in_channels=channels).to(memory_format=torch.channels_last)
        x = torch.randn(batch, channels, side, side).contiguous(memory_format=torch.channels_last)
        return backbone, x, zoo.default_cuts(name), "sdn_pool"

    return build


def resnet18(batch: int) -> Prepared:
    """Timm's ResNet-18 on images of 64 x 64, channels last, exits behind its first and second stage."""
    torchvision_operators.declare()
    import timm

    backbone = timm.create_model("resnet18", num_classes=100).to(memory_format=torch.channels_last)
    x = torch.randn(batch, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    return backbone, x, ["layer1", "layer2"], "pooled_linear"


def vit(batch: int) -> Prepared:
    """A ViT-tiny (12 blocks, width 192) on 64 patches, exits behind its fourth and eighth block."""
    torchvision_operators.declare()
    import timm

    backbone = timm.create_model("vit_tiny_patch16_224", img_size=64, patch_size=8, num_classes=100)
    return backbone, torch.randn(batch, 3, 64, 64), ["blocks.3", "blocks.7"], "pooled_linear"


def bert(batch: int) -> Prepared:
    """A BERT of 6 layers, 64 tokens, exits behind its second and fourth layer."""
    torchvision_operators.declare()
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(num_hidden_layers=6, hidden_size=384, num_attention_heads=6, intermediate_size=1536)
    x = {"input_ids": torch.randint(0, 30000, (batch, 64)), "attention_mask": torch.ones(batch, 64).long()}
    cuts = ["bert.encoder.layer.1", "bert.encoder.layer.3"]
    return BertForSequenceClassification(config), x, cuts, "pooled_linear"


NETWORKS: dict[str, Callable[[int], Prepared]] = {
    "resnet_small": residual("resnet_small", 1, 28),
    "resnet56_cifar": residual("resnet56_cifar", 3, 32),
    "resnet18": resnet18,
    "vit": vit,
    "bert": bert,
}
BATCHES = {"vit": [1, 32], "bert": [1, 32]}
"""Batch sizes where they are not those of the convolutional networks."""


def policy_with_rates(model: ofr.ExitModel, x: Any, rate: float) -> ofr.Policy:
    """Thresholds at which this share of the rows that arrive at each early exit leaves there."""
    criterion = ofr.criteria.MaxProbability()
    with torch.no_grad():
        logits = model(x)
    staying = torch.ones(len(logits[0]), dtype=torch.bool)
    thresholds = []
    for k in range(model.exits - 1):
        scores = criterion.score(logits[k])
        leaving = round(rate * int(staying.sum()))
        ordered = scores[staying].sort(descending=True).values
        bounds = torch.cat([torch.ones(1), ordered, torch.zeros(1)])
        # Midway, so that rounding and the choice of `>` or `>=` change nothing.
        threshold = float(bounds[leaving] + bounds[leaving + 1]) / 2
        staying &= ~(scores > threshold)
        thresholds.append(threshold)
    return ofr.Policy(criterion, thresholds)


def with_policy(base: StagedRuntime, model: ofr.ExitModel, policy: ofr.Policy) -> Runtime:
    """The runtime of another policy with the same open exits.

    Thresholds play no part in a program, but are constants of a graph that takes the exits itself.
    """
    if base.backend in IN_ONE_GRAPH:
        return deployed(model, policy, base.backend)
    return StagedRuntime(Plan.of(model, policy), base.programs, base.names, base.entrance, base.backend)


def segment_calls(runtime: StagedRuntime, x: Any) -> dict[str, Callable[[], object]]:
    """One call per exit: what runs from the exit before to this one, its head and gate included, on the full batch."""
    calls: dict[str, Callable[[], object]] = {}
    tensors: Sequence[Tensor] = runtime.entrance.tensors(x)
    for k in range(len(runtime.programs)):
        calls[f"stage {k}"] = lambda k=k, tensors=tensors: runtime.run(k, tensors)
        tensors = runtime.run(k, tensors)[2]
    return calls


def prepared(network: str, batch: int) -> tuple[ofr.ExitModel, Any]:
    """A network with random weights and a batch for it."""
    torch.manual_seed(0)
    backbone, x, cuts, head = NETWORKS[network](batch)
    model = ofr.attach(backbone, at=cuts, example=x, head=head).eval()
    with torch.no_grad():
        # Untrained heads may be so sure that all probabilities are 1, and no threshold tells the rows apart.
        for exit_head, logits in zip(model.heads, model(x), strict=False):
            for parameter in exit_head.linear.parameters():
                parameter /= logits.std()
    return model, x


def cases(network: str, batches: Sequence[int], backend: str, rounds: int) -> list[dict[str, Any]]:
    """All batch sizes of one network and backend; the programs are made once."""
    model, everything = prepared(network, max(batches))
    # A closed exit ends no segment: the programs are made for a policy under which all exits are open.
    base = deployed(model, policy_with_rates(model, everything, 0.5), backend).staged()
    plain = deployed(model, ofr.always(model.exits - 1), backend)
    rows = []
    for batch in batches:
        x = map_tensors(lambda t, batch=batch: t[:batch], everything)
        made = single(model, x, base, plain) if batch == 1 else case(model, x, base, plain)
        with torch.no_grad():
            # Calls on large batches vary less, and take long.
            times = measure(made.calls, rounds=max(rounds * 3 if batch == 1 else rounds * 64 // (batch + 48), 6))
        rows += [row(network, batch, backend, rate, shares, times) for rate, shares in made.shares.items()]
    return rows


@dataclass(frozen=True)
class Made:
    """What is to be timed, and the share of rows that leaves at each exit under each name."""

    calls: dict[str, Callable[[], object]]
    shares: dict[float | str, Tensor]


def case(model: ofr.ExitModel, x: Any, base: StagedRuntime, plain: Runtime) -> Made:
    """All exit rates of a batch. Plain is the whole network through the same backend."""
    runtimes = {rate: with_policy(base, model, policy_with_rates(model, x, rate)) for rate in RATES}
    calls: dict[str, Callable[[], object]] = {"plain": lambda: plain(x), **segment_calls(base, x)}
    calls |= {f"q={rate}": lambda runtime=runtime: runtime(x) for rate, runtime in runtimes.items()}
    return Made(calls, {rate: runtimes[rate](x).shares for rate in RATES})


def deployed(model: ofr.ExitModel, policy: ofr.Policy, backend: str) -> Runtime:
    """The runtime: one graph where the backend runs one, otherwise segment by segment."""
    runtime = ofr.deploy(model, policy, backend=backend)
    return runtime if backend in IN_ONE_GRAPH else runtime.staged()


def trained(folder: Path, batch: int, backend: str, rounds: int) -> list[dict[str, Any]]:
    """The network of a run folder, under its policy, on its test images: batch by batch, and as a stream."""
    run = RunFolder(folder)
    materials = Materials.of(run.request)
    model = load_model(run, materials, torch.device("cpu")).eval()
    images = torch.cat([x for x, _ in materials.loader("test")])[: STREAMED * batch]
    if backend == "eager":
        images = images.contiguous(memory_format=torch.channels_last)
    policy = ofr.Policy.load(run.policy)
    runtime = deployed(model, policy, backend)
    plain = deployed(model, ofr.always(model.exits - 1), backend)
    batches = images.split(batch)
    calls = {"plain": lambda: plain(batches[0]), **segment_calls(runtime.staged(), batches[0])}
    calls |= {"q=policy": lambda: [runtime(x) for x in batches]}
    calls |= {"q=policy, stream": lambda: list(runtime.stream(batches, target=batch))}
    with torch.no_grad():
        times = measure(calls, rounds=rounds, warm_up=2)
    shares = runtime(images).shares
    for name in ("q=policy", "q=policy, stream"):
        found = times[name]
        median, low, high = (seconds / len(batches) for seconds in (found.median, found.low, found.high))
        times[name] = Timing(median, low, high, found.rounds)
    name = f"{run.request.arch}, trained"
    return [row(name, batch, backend, rate, shares, times) for rate in ("policy", "policy, stream")]


def row(
    network: str, batch: int, backend: str, rate: float | str, shares: Tensor, times: dict[str, Any]
) -> dict[str, Any]:
    """Ratios of one case."""
    reaching = 1 - torch.cat([torch.zeros(1).double(), shares.cumsum(0)[:-1]])
    bound = sum(float(r) * times[f"stage {k}"].median for k, r in enumerate(reaching))
    runtime, plain = times[f"q={rate}"], times["plain"].median
    return {
        "network": network,
        "batch": batch,
        "backend": backend,
        "threads": torch.get_num_threads(),
        "exit_rate": rate,
        "shares": [round(float(s), 3) for s in shares],
        "plain_ms": round(1e3 * plain, 3),
        "runtime_ms": round(1e3 * runtime.median, 3),
        "rounds": runtime.rounds,
        "commit": commit(),
        "spread_ms": [round(1e3 * runtime.low, 3), round(1e3 * runtime.high, 3)],
        "bound_ms": round(1e3 * bound, 3),
        "runtime_over_bound": round(runtime.median / bound, 3),
        "percent_of_bound": round(100 * bound / runtime.median, 1),
        "speed_up": round(plain / runtime.median, 3),
    }


def single(model: ofr.ExitModel, x: Any, base: StagedRuntime, plain: Runtime) -> Made:
    """Batch 1: leaving at each exit in turn, against the time of the segments up to there."""
    last, criterion = model.exits - 1, ofr.criteria.MaxProbability()
    runtimes = {
        f"exit {k}": with_policy(base, model, ofr.Policy(criterion, [0.0 if i == k else 1.0 for i in range(last)]))
        for k in range(model.exits)
    }
    calls: dict[str, Callable[[], object]] = {"plain": lambda: plain(x), **segment_calls(base, x)}
    calls |= {f"q={name}": lambda runtime=runtime: runtime(x) for name, runtime in runtimes.items()}
    return Made(calls, {name: runtime(x).shares for name, runtime in runtimes.items()})


def earlier() -> list[dict[str, Any]]:
    """The rows of the results as they stand; each says its own rounds and commit."""
    path = RESULTS / "runtime.json"
    return list(json.loads(path.read_text(encoding="utf8"))["rows"]) if path.exists() else []


def kept(rows: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of other cases, then the new ones."""
    measured = {tuple(r[name] for name in CASE) for r in new}
    return [r for r in rows if tuple(r[name] for name in CASE) not in measured] + new


def main() -> None:
    """Measures every case, prints the table and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 64, 256])
    parser.add_argument("--backends", nargs="+", default=["eager", "onnxruntime"])
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--run", type=Path)
    parser.add_argument("--keep", action="store_true", help="keep the rows of earlier runs that are not measured again")
    options = parser.parse_args()
    rows = earlier() if options.keep else []
    for threads, backend in itertools.product(options.threads, options.backends):
        torch.set_num_threads(threads)
        if options.run:
            rows = kept(rows, trained(options.run, 256, backend, options.rounds))
        for network in options.networks:
            rows = kept(rows, cases(network, BATCHES.get(network, options.batches), backend, options.rounds))
            print(network, backend, threads, write("runtime", {"rows": rows}), flush=True)
    names = ("network", "backend", "batch", "threads", "exit_rate", "speed_up", "percent_of_bound")
    table = Table(*(name.replace("_", " ") for name in names))
    for r in rows:
        table.add_row(*(str(r[name]) for name in names))
    Console().print(table)
    write("runtime", {"rows": rows})


if __name__ == "__main__":
    main()
