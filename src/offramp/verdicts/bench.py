"""What is compared, ready to run: the plain network, the runtime, each exit alone, and a smaller network."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from offramp.cost import count_macs
from offramp.decisions import Decisions
from offramp.exit_model import ExitModel
from offramp.latency import Clock, Network
from offramp.policy import Policy, always
from offramp.recording import Recording, simulate
from offramp.runtimes import Runtime, deploy
from offramp.samples import Samples
from offramp.verdicts import networks
from offramp.verdicts.findings import EXITS, PLAIN, SMALLER, Worth, alone


@dataclass(frozen=True)
class Timing:
    """How to time.

    Attributes:
        rounds: measured rounds.
        samples: how many are timed in each, at least.
        seed: of their choice and of the order of the networks.
        clock: tells the time.
    """

    rounds: int
    samples: int
    seed: int
    clock: Clock = time.perf_counter


@dataclass(frozen=True, eq=False)
class Contender:
    """One way of running.

    Attributes:
        name: as in `Showing`.
        network: runs it.
        worth: what it gets and what it costs in MACs.
    """

    name: str
    network: Network
    worth: Worth


@dataclass(frozen=True, eq=False)
class Bench:
    """All that a verdict times.

    Attributes:
        model: in evaluation mode, on its device.
        samples: the data.
        decisions: what the policy decides on all of it.
        runtime: takes the exits.
        backend: what runs it.
        contenders: plain network, runtime and baselines.
        hard: the runtime without its leaving anywhere; None where the policy has no exit to pass.
        timing: how to time.
    """

    model: ExitModel
    samples: Samples
    decisions: Decisions
    runtime: Runtime
    backend: str
    contenders: tuple[Contender, ...]
    hard: Network | None
    timing: Timing

    @classmethod
    def of(
        cls, model: ExitModel, policy: Policy, samples: Samples, smaller: nn.Module | None, backend: str, timing: Timing
    ) -> Bench:
        """Runs the data through every exit once, and deploys what is compared.

        Raises:
            PolicyError: the policy does not fit, or there is no such backend.
            MissingExtraError: the backend's packages are not installed.
        """
        recording = samples.record(model)
        decisions = simulate(recording, policy)
        runtime = deploy(model, policy, backend=backend)
        contenders = [*_own(model, recording, decisions, runtime, backend)]
        if smaller is not None:
            contenders.append(_smaller(smaller.to(model.device), model, samples, backend))
        strict = networks.never_leaving(policy)
        hard = None if strict is None else networks.taking_exits(deploy(model, strict, backend=backend))
        return cls(model, samples, decisions, runtime, backend, tuple(contenders), hard, timing)


def _own(
    model: ExitModel, recording: Recording, decisions: Decisions, runtime: Runtime, backend: str
) -> Iterator[Contender]:
    """The model's own: plain, with exits, and each early exit alone."""
    labels = recording.labels
    accuracies = [None] * recording.exits if labels is None else recording.correct.double().mean(1).tolist()
    overall = None if labels is None else decisions.accuracy(labels)
    yield Contender(PLAIN, networks.plain(model, backend), Worth(accuracies[-1], recording.plain_macs))
    yield Contender(EXITS, networks.taking_exits(runtime), Worth(overall, decisions.mean_macs))
    for k in range(recording.exits - 1):
        static = always(exit=k)
        network = networks.taking_exits(deploy(model, static, backend=backend))
        yield Contender(alone(k), network, Worth(accuracies[k], float(recording.costs(static)[k])))


def _smaller(module: nn.Module, model: ExitModel, samples: Samples, backend: str) -> Contender:
    example = model.to_own_device(samples.take(torch.arange(min(2, len(samples)))))
    network = networks.smaller_network(module, example, backend)
    backbone = module.backbone if isinstance(module, ExitModel) else module
    macs = count_macs(lambda: networks.eagerly(backbone)(model.to_own_device(samples.take(torch.arange(1)))))
    return Contender(SMALLER, network, Worth(_accuracy(network, model, samples), macs))


def _accuracy(network: Network, model: ExitModel, samples: Samples) -> float | None:
    if samples.labels is None:
        return None
    predictions = [network(model.to_own_device(inputs)).argmax(-1).cpu() for inputs in samples.batches(256)]
    return float((torch.cat(predictions) == samples.labels).double().mean())
