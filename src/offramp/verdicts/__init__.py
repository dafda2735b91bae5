"""Do exits pay on this machine? Measured against the plain network and against simpler ways to save, in one run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from offramp.comparison import Answer, least_rounds, rising
from offramp.errors import VerdictError
from offramp.exit_model import ExitModel
from offramp.policy import Policy
from offramp.runtimes.refusing import LEAST, ROUNDS, SIZES
from offramp.samples import Samples
from offramp.verdicts import memory
from offramp.verdicts.bench import Bench, Timing
from offramp.verdicts.findings import Point, Showing, Verdict
from offramp.verdicts.planning import Planned, planned
from offramp.verdicts.trial import Trial

__all__ = ["Answer", "Planned", "Point", "Showing", "Verdict", "checked", "planned", "verdict"]


def verdict(
    model: ExitModel,
    policy: Policy,
    data: Any,
    *,
    batch_sizes: Sequence[int] = SIZES,
    device: torch.device | str | None = None,
    backend: str = "eager",
    smaller: nn.Module | None = None,
    rounds: int = ROUNDS,
    samples: int = LEAST,
    split: str = "unnamed",
    seed: int = 0,
) -> Verdict:
    """Measures whether taking exits pays, batch size by batch size.

    Per batch size, one run times the plain network, the runtime, each exit alone, a smaller network if one is given,
    and the parts of the runtime: in every round each of them once, in random order, on the same samples. These leave
    in the proportions of the data. A ratio of times is the median over the rounds of the ratio within the round, with
    an order-statistic interval; exits pay where it lies below 1, do not pay where it lies above, and where it holds 1
    the answer is "unresolved". Measure on a machine that does nothing else.

    A time reaches from inputs on the device to predictions on the CPU: stages, heads, gates and gathers are in it;
    loading, preprocessing and the way of the inputs to the device are not. The plain network is run as the backend
    runs it: compiled against compiled.

    Args:
        model: from `attach`. It is set to evaluation mode, and moved where `device` says so.
        policy: decides who leaves.
        data: inputs like those to come: a tensor, a dict or a tuple of inputs, with labels behind (in a dict as
            "labels") or without, or a loader of such batches; about 1 GiB of it is read at most. With labels,
            accuracies are compared too: use samples on which nothing was chosen, but not the test split.
        batch_sizes: samples per call. Where the data has fewer, samples are repeated, which the verdict says.
        device: None for where the model is.
        backend: as for `deploy`.
        smaller: another network on the same inputs, as a baseline.
        rounds: how often everything is timed; at least 6.
        samples: how many are timed per round, at least.
        split: name of the data, for the sentences.
        seed: of the choice of samples and the order of timing.

    Raises:
        VerdictError: a batch size below 1 or none, too few rounds or samples, or executed MACs that are not those
            predicted (more than 0.1 % apart; checked where the backend is "eager").
        InputError: the data is empty or does not fit the model.
        PolicyError: the policy does not fit the model, or there is no such backend.

    Example:
        >>> import offramp as ofr
        >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        >>> model = ofr.attach(net, at=["1"], example=torch.zeros(1, 4))
        >>> found = verdict(model, ofr.always(exit=0), torch.randn(20, 4), batch_sizes=[4], rounds=6, samples=8)
        >>> found.at(4).conditions.samples, found.at(4).shares
        (8, (1.0, 0.0))
    """
    sizes = checked(batch_sizes, rounds, samples)
    if device is not None:
        model.to(device)
    held = Samples.of(model.eval(), data)
    bench = Bench.of(model, policy, held, smaller, backend, Timing(rounds, samples, seed))
    return Verdict(
        points=tuple(Trial(bench, batch).point() for batch in sizes),
        samples=len(held),
        split=split,
        labelled=held.labels is not None,
        seed=seed,
        memory=memory.meaning(model.device),
    )


def checked(batch_sizes: Sequence[int], rounds: int = ROUNDS, samples: int = LEAST) -> list[int]:
    """The batch sizes, rising and each once, where they and the numbers can be had.

    Raises:
        VerdictError: naming what is out of range.
    """
    if rounds < least_rounds():
        raise VerdictError(f"rounds={rounds}: an interval needs at least {least_rounds()} rounds.")
    if samples < 1:
        raise VerdictError(f"samples={samples}: time at least 1 sample per round.")
    return rising(batch_sizes)
