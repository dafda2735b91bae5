"""`offramp verdict`: measures whether exits pay on this machine, before or after training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from offramp.cli.failures import UsageError
from offramp.cli.inspect import parse_shape
from offramp.cli.options import Common
from offramp.cli.run_folder import RunFolder
from offramp.cli.train import List

Sizes = Annotated[list[int] | None, Parameter(consume_multiple=True, negative=())]
Rates = Annotated[list[float] | None, Parameter(consume_multiple=True, negative=())]


def verdict(
    target: str,
    /,
    *,
    batch_sizes: Sizes = None,
    backend: str = "eager",
    rounds: int | None = None,
    samples: int | None = None,
    at: List = None,
    rates: Rates = None,
    input: str | None = None,
    head: str = "pooled_linear",
    common: Common = Common(),  # noqa: B008 - frozen, so sharing it is safe
) -> None:
    """Measure whether taking exits pays on this machine, per batch size: pays, does not pay, or unresolved.

    For a run folder with a policy, the samples are those of the validation split; the test split is not touched. For
    a model without training, --rates says which share of the arriving samples leaves at each exit: what exits would
    be worth in time if these shares left. The exit code is 0 whatever the verdict is.

    Args:
        target: run folder with a policy; or a model: network of the zoo, timm:NAME, hf:NAME, package.module:factory.
        batch_sizes: samples per call; default 1 8 64 256.
        backend: what runs the network: eager, or a compiler, see the documentation of deploy.
        rounds: how often everything is timed; default 21.
        samples: how many are timed per round, at least; default 64.
        at: for a model: cuts, as for `offramp train`, or auto; by default those of the zoo's network, else auto.
        rates: for a model: one share between 0 and 1 per exit; default 0.5 each.
        input: for a model: shape of one input without the batch, e.g. 3,32,32.
        head: for a model: exit head, pooled_linear or sdn_pool.
        common: options of every command.
    """
    from offramp.cli.session import Session
    from offramp.cli.steps import judging
    from offramp.runtimes.refusing import LEAST, ROUNDS, SIZES

    session = Session(common)
    timing = judging.Options(
        batch_sizes=SIZES if batch_sizes is None else tuple(batch_sizes),
        backend=backend,
        rounds=ROUNDS if rounds is None else rounds,
        samples=LEAST if samples is None else samples,
    )
    if not Path(target).is_dir():
        plan = judging.Plan(target, tuple(at or ()), tuple(rates or ()), parse_shape(input), head)
        session.deliver(judging.of_model(plan, timing, session))
        return
    _refuse_for_runs(at=at, rates=rates, input=input)
    session.deliver(judging.of_run(RunFolder(target), timing, session))


def _refuse_for_runs(**given: object) -> None:
    wrong = [f"--{name}" for name, value in given.items() if value is not None]
    if wrong:
        raise UsageError(f"{', '.join(wrong)}: a run has its exits and its policy; these are for models without one.")
