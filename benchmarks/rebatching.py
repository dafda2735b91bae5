"""What rebatching gains: single arrivals under a deadline, and the remainders of large batches.

    python benchmarks/rebatching.py [--quick] [--backend eager] [--networks resnet_small resnet56_cifar]

One torch thread, and the whole process on one core where the system allows that: clients and stages share it.

**Single arrivals**, half of the arriving rows leaving at each early exit. As fast as they are taken, in alternation:

- single: `runtime(row)` for each;
- collected: `runtime(batch)` for every `target` rows, the batch shrinking from exit to exit;
- pulled: `runtime.stream(rows, target)`, without deadlines;
- served: `submit` of each to a stream with the same target and with a deadline;
- served whole: the same server and deadline, but what runs is `runtime(batch)` from the first stage to the last.

So pulled over collected, and served over served whole, is what rebatching is worth. Then at a fixed rate, which is a
share of what `served` reached. A request counts as late when its answer is there later than `max_wait` after it was let
in, or at the fixed rate, after it was due to arrive.

**Batches of 256** at the shares of the demo (87 % leave at the first exit): time per batch of `runtime.stream` and of
isolated calls, over the sum of the stages' times at 256 rows x the share of rows that reach them.

Weights are random; the thresholds are set so that the shares come out as asked. Medians of interleaved rounds.
"""

from __future__ import annotations

import argparse
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

import offramp as ofr
from offramp import zoo
from offramp.latency import Timing, measure, quantiles
from offramp.runtimes import StagedRuntime
from offramp.runtimes.streaming import Stream
from offramp.segments import Plan
from provenance import write

CHANNELS = {"resnet_small": (1, 28), "resnet56_cifar": (3, 32)}
"""Input channels and side by network."""
MAX_WAIT = {"resnet_small": 0.1, "resnet56_cifar": 0.5}
"""Seconds from a request's arrival to its deadline."""
HALF = 0.5
DEMO = (0.867, 0.33, 0.3)
"""Share of the arriving rows that leaves at each exit of the demo's network."""
POOL = 1024
"""Rows that requests are taken from, in turn."""


def policy_with_rates(model: ofr.ExitModel, x: Tensor, rates: Sequence[float]) -> ofr.Policy:
    """Thresholds at which these shares of the rows that arrive at the exits leave there."""
    criterion = ofr.criteria.MaxProbability()
    with torch.no_grad():
        logits = model(x)
    staying, thresholds = torch.arange(len(x)), []
    for k in range(model.exits - 1):
        scores = criterion.score(logits[k][staying])
        threshold = float(scores.quantile(1 - rates[min(k, len(rates) - 1)]))
        thresholds.append(threshold)
        staying = staying[~(scores > threshold)]
    return ofr.Policy(criterion, thresholds)


def deployed(network: str, rates: Sequence[float], backend: str) -> tuple[StagedRuntime, Tensor]:
    """A runtime with random weights, and rows for it."""
    torch.manual_seed(0)
    channels, side = CHANNELS[network]
    layout = torch.channels_last
    x = torch.randn(POOL, channels, side, side).contiguous(memory_format=layout)
    backbone = zoo.build(network, in_channels=channels).to(memory_format=layout)
    model = ofr.attach(backbone, at=zoo.default_cuts(network), example=x[:2], head="sdn_pool").eval()
    return ofr.deploy(model, policy_with_rates(model, x, rates), backend=backend).staged(), x


@dataclass
class Latencies:
    """Seconds from a request's arrival to its answer."""

    seconds: list[float] = field(default_factory=list)
    _answered: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def submit(self, stream: Stream, row: Tensor, due: float | None = None) -> None:
        """Lets a request in; it counts from `due`, or from when it was let in."""
        future = stream.submit(row)
        start = time.monotonic() if due is None else due

        def answered(_: object) -> None:
            self.seconds.append(time.monotonic() - start)
            self._answered.release()

        future.add_done_callback(answered)

    def wait(self, requests: int) -> None:
        """Until so many more have been answered."""
        for _ in range(requests):
            self._answered.acquire()

    def summary(self, max_wait: float) -> dict[str, Any]:
        """Late requests, and quantiles in milliseconds."""
        median, p99, most = (round(1e3 * s, 2) for s in quantiles(self.seconds, 0.5, 0.99, 1.0))
        late = sum(s > max_wait for s in self.seconds)
        return {
            "requests": len(self.seconds),
            "late": late,
            "max_wait_ms": 1e3 * max_wait,
            "p50_ms": median,
            "p99_ms": p99,
            "max_ms": most,
        }


def block_of(x: Tensor, requests: int) -> list[Tensor]:
    """Single rows, as they come out of a loader."""
    return [x[i % len(x)].clone().unsqueeze(0) for i in range(requests)]


def whole(runtime: StagedRuntime) -> StagedRuntime:
    """The same network as one stage, which takes its exits inside. The answers do not tell which exit was taken."""
    last = Plan(ofr.always(runtime.plan.exits - 1), (runtime.plan.exits - 1,), (), runtime.plan.costs)
    return StagedRuntime(last, [lambda x: (runtime(x).logits,)], ["output"], runtime.entrance, runtime.backend)


def served(stream: Stream, rows: list[Tensor], latencies: Latencies) -> None:
    """Submits these rows and waits for the answers."""
    for row in rows:
        latencies.submit(stream, row)
    latencies.wait(len(rows))


def ways(runtime: StagedRuntime, rows: list[Tensor], target: int) -> dict[str, Callable[[], object]]:
    """A call for each way of answering these rows in the caller's thread."""
    return {
        "single": lambda: [runtime(row) for row in rows],
        "collected": lambda: [runtime(torch.cat(rows[i : i + target])) for i in range(0, len(rows), target)],
        "pulled": lambda: list(runtime.stream(rows, target=target)),
    }


def saturated(network: str, backend: str, target: int, requests: int, rounds: int) -> dict[str, Any]:
    """Single rows as fast as they are taken: requests per second, and what became of the deadlines."""
    runtime, x = deployed(network, [HALF], backend)
    rows, latencies, max_wait = block_of(x, requests // rounds), Latencies(), MAX_WAIT[network]
    options: dict[str, Any] = {"target": target, "max_wait": max_wait}
    with runtime.serve(**options) as stream, whole(runtime).serve(**options) as isolating:
        calls = ways(runtime, rows, target)
        calls["served"] = lambda: served(stream, rows, latencies)
        calls["served whole"] = lambda: served(isolating, rows, Latencies())
        times = measure(calls, rounds=rounds, warm_up=1)
    del latencies.seconds[: len(rows)]  # of the warm-up round
    rates = {name: len(rows) / timing.median for name, timing in times.items()}
    return {
        "network": network,
        "backend": backend,
        "target": target,
        "shares": [round(float(s), 3) for s in runtime(x).shares],
        "requests_per_second": {name: round(rate, 1) for name, rate in rates.items()},
        "spread": {name: spread(timing) for name, timing in times.items()},
        "served_over_single": round(rates["served"] / rates["single"], 3),
        "served_over_served_whole": round(rates["served"] / rates["served whole"], 3),
        "pulled_over_collected": round(rates["pulled"] / rates["collected"], 3),
        "deadlines": latencies.summary(max_wait),
    }


def spread(timing: Timing) -> list[float]:
    """10 % and 90 % quantile over the median."""
    return [round(timing.low / timing.median, 3), round(timing.high / timing.median, 3)]


def at_a_rate(network: str, backend: str, target: int, requests: int, rate: float) -> dict[str, Any]:
    """Single rows that arrive at a fixed rate, whether they are taken or not."""
    runtime, x = deployed(network, [HALF], backend)
    rows, latencies, max_wait = block_of(x, POOL), Latencies(), MAX_WAIT[network]
    with runtime.serve(target=target, max_wait=max_wait) as stream:
        start = time.monotonic()
        for i in range(requests):
            due = start + i / rate
            time.sleep(max(due - time.monotonic(), 0.0))
            latencies.submit(stream, rows[i % POOL], due)
        latencies.wait(requests)
    return {
        "network": network,
        "backend": backend,
        "target": target,
        "arrivals_per_second": round(rate, 1),
        "deadlines": latencies.summary(max_wait),
    }


def large_batches(network: str, backend: str, batches: int, rounds: int, rows: int = 256) -> dict[str, Any]:
    """The remainders of several batches together, against each batch on its own."""
    runtime, x = deployed(network, DEMO, backend)
    loader = [x[i % (POOL // rows) * rows :][:rows] for i in range(batches)]
    calls: dict[str, Callable[[], object]] = {
        "isolated": lambda: [runtime(batch) for batch in loader],
        "stream": lambda: list(runtime.stream(loader, target=rows)),
    }
    with torch.no_grad():
        times = measure(calls | stages(runtime, loader[0]), rounds=rounds, warm_up=2)
    shares = runtime(x).shares
    reaching = 1 - torch.cat([torch.zeros(1).double(), shares.cumsum(0)[:-1]])
    bound = sum(float(share) * times[f"stage {k}"].median for k, share in enumerate(reaching))
    per_batch = {name: times[name].median / batches for name in calls}
    return {
        "network": network,
        "backend": backend,
        "batch": rows,
        "batches": batches,
        "shares": [round(float(s), 3) for s in shares],
        "bound_ms": round(1e3 * bound, 3),
        **{f"{name}_ms": round(1e3 * seconds, 3) for name, seconds in per_batch.items()},
        **{f"{name}_over_bound": round(seconds / bound, 3) for name, seconds in per_batch.items()},
        "spread": {name: spread(times[name]) for name in calls},
    }


def stages(runtime: StagedRuntime, x: Tensor) -> dict[str, Callable[[], object]]:
    """One call per stage, on all rows, its head and gate included."""
    calls: dict[str, Callable[[], object]] = {}
    tensors: Sequence[Tensor] = runtime.entrance.tensors(x)
    for k in range(len(runtime.programs)):
        calls[f"stage {k}"] = lambda k=k, tensors=tensors: runtime.run(k, tensors)
        tensors = runtime.run(k, tensors)[2]
    return calls


def alone_on_a_core() -> int | None:
    """Keeps this process on one core; its number, or None where the system has no such call."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    return core


def show(title: str, rows: list[dict[str, Any]], names: Sequence[str]) -> None:
    """Prints some columns."""
    table = Table(*(name.replace("_", " ") for name in names), title=title)
    for row in rows:
        table.add_row(*(str({**row, **row.get("deadlines", {})}[name]) for name in names))
    Console(width=160).print(table)


def main() -> None:
    """Measures every case, prints the tables and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few requests, and nothing is written")
    parser.add_argument("--backend", default="eager")
    parser.add_argument("--networks", nargs="+", default=list(CHANNELS), choices=list(CHANNELS))
    parser.add_argument("--targets", type=int, nargs="+", default=[8, 16, 32])
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--load", type=float, default=0.8, help="fixed rate, as a share of the saturated one")
    options = parser.parse_args()
    torch.set_num_threads(1)
    pinned = alone_on_a_core() is not None
    requests, rounds, batches = (600, 3, 8) if options.quick else (options.requests, 20, 16)

    full, paced, large = [], [], []
    for network in options.networks:
        for target in options.targets:
            full.append(saturated(network, options.backend, target, requests, rounds))
            rate = options.load * full[-1]["requests_per_second"]["served"]
            paced.append(at_a_rate(network, options.backend, target, requests, rate))
        large.append(large_batches(network, options.backend, batches, rounds=max(rounds // 3, 3)))
        print(network, flush=True)
    gains = ("served_over_single", "served_over_served_whole", "pulled_over_collected")
    show("single rows, as fast as they are taken", full, ("network", "target", *gains, "late", "p99_ms", "max_ms"))
    paced_names = ("network", "target", "arrivals_per_second", "late", "p50_ms", "p99_ms", "max_ms")
    show("single rows at a fixed rate", paced, paced_names)
    show("batches of 256", large, ("network", "bound_ms", "isolated_over_bound", "stream_over_bound"))
    if not options.quick:
        results = {"one_core": pinned, "saturated": full, "fixed_rate": paced, "batches": large}
        print(write("rebatching", results))


if __name__ == "__main__":
    main()
