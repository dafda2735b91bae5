"""Beside earlyon 0.3.0: the same network, the same heads, the same thresholds, in one interleaved run.

    pip install torch==2.13.0 torchvision earlyon==0.3.0 '.[onnx]'        (an environment of its own)
    python benchmarks/beside_earlyon.py [--rounds 40] [--threads 1]

There a batch leaves only together, at the first exit where its hardest row is sure; a batch of one leaves as here.
The thresholds are such that the given share of the arriving rows leaves at each of two exits. At batch 1 the rows are
passed one by one, and both must take the same exits. Both run in plain PyTorch ("eager"), and offramp with its other
backends too. Figures above 1 say by how much offramp is faster.
"""

from __future__ import annotations

import argparse
import copy
import itertools
from collections.abc import Callable
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import offramp as ofr
import torchvision_operators
from offramp.latency import measure
from offramp.runtimes import EagerRuntime, StagedRuntime
from provenance import write
from runtime import deployed, policy_with_rates, prepared, with_policy

RATES = (0.25, 0.5, 0.75)
BATCHES = (1, 8, 16, 64, 256)
NETWORK = "resnet56_cifar"


def import_earlyon() -> Any:
    """Loads it. It imports torchvision, whose published build loads beside a CPU torch once its operators exist."""
    torchvision_operators.declare()
    import earlyon

    return earlyon


def wrapped(earlyon: Any, model: ofr.ExitModel, policy: ofr.Policy, example: Tensor) -> Any:
    """The peer wrapped around a copy: its hooks stay on the backbone, and would run in everybody's calls."""
    model = copy.deepcopy(model)
    points = [earlyon.ExitPoint(f"exit_{k}", name, 1) for k, name in enumerate(model.cuts)]
    config = earlyon.EarlyExitConfig(
        backbone="custom",
        num_classes=model.num_classes,
        exit_points=points,
        confidence_thresholds=list(policy.thresholds),
    )
    heads = {point.name: head for point, head in zip(points, model.heads, strict=True)}
    return earlyon.EarlyExitWrapper(model.backbone, heads, lambda x: x, config, input_shape=tuple(example.shape)).eval()


def one_by_one(call: Callable[[Tensor], Any], x: Tensor) -> Callable[[], object]:
    """Calls with single rows."""
    rows = x.split(1)
    return lambda: [call(row) for row in rows]


def calls(
    peer: Any, runtimes: dict[str, StagedRuntime | EagerRuntime], plain: nn.Module, x: Tensor, alone: bool
) -> dict[str, Callable[[], object]]:
    """What is timed: everybody on the same rows, one by one where they come alone."""
    if alone:
        return {name: one_by_one(call, x) for name, call in {"earlyon": peer, "plain": plain, **runtimes}.items()}
    batched: dict[str, Callable[[Tensor], Any]] = {"earlyon": peer.forward_inference_batched, "plain": plain}
    return {name: lambda call=call: call(x) for name, call in {**batched, **runtimes}.items()}


def case(
    earlyon: Any,
    model: ofr.ExitModel,
    programs: dict[str, StagedRuntime],
    x: Tensor,
    batch: int,
    rate: float,
    rounds: int,
) -> list[dict[str, Any]]:
    """One batch size and exit rate."""
    # At batch 1, sixteen rows are passed one by one, so that they leave in the wanted shares.
    x = x[: max(batch, 16)]
    policy = policy_with_rates(model, x, rate)
    peer = wrapped(earlyon, model, policy, x[:1])
    runtimes = {"eager": ofr.deploy(model, policy)}
    runtimes |= {name: with_policy(runtime, model, policy) for name, runtime in programs.items()}
    if batch == 1:
        theirs = torch.tensor([peer(row).exit_taken % model.exits for row in x.split(1)])
        assert torch.equal(theirs, runtimes["eager"](x).exits), "both must take the same exits"
    with torch.no_grad():
        timed = calls(peer, runtimes, model.backbone, x, batch == 1)
        times = measure(timed, rounds=max(rounds * 16 // (batch + 16), 6), warm_up=2)
    return [
        {
            "network": NETWORK,
            "batch": batch,
            "threads": torch.get_num_threads(),
            "exit_rate": rate,
            "backend": name,
            "offramp_ms": round(1e3 * times[name].median, 3),
            "earlyon_ms": round(1e3 * times["earlyon"].median, 3),
            "plain_ms": round(1e3 * times["plain"].median, 3),
            "times_faster": round(times["earlyon"].median / times[name].median, 3),
        }
        for name in runtimes
    ]


def main() -> None:
    """Measures every case, prints the table and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batches", type=int, nargs="+", default=list(BATCHES))
    parser.add_argument("--backends", nargs="+", default=["onnxruntime", "aoti"], help="beside eager")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    earlyon = import_earlyon()
    model, x = prepared(NETWORK, max(options.batches))
    some = policy_with_rates(model, x, 0.5)
    programs = {name: deployed(model, some, name).staged() for name in options.backends}
    rows = []
    for batch, rate in itertools.product(options.batches, RATES):
        rows += case(earlyon, model, programs, x, batch, rate, options.rounds)
        print(batch, rate, flush=True)
    names = ("batch", "exit_rate", "backend", "plain_ms", "earlyon_ms", "offramp_ms", "times_faster")
    table = Table(*(name.replace("_", " ") for name in names))
    for row in rows:
        table.add_row(*(str(row[name]) for name in names))
    Console().print(table)
    print(write("earlyon", {"earlyon": earlyon.__version__, "rounds": options.rounds, "rows": rows}))


if __name__ == "__main__":
    main()
