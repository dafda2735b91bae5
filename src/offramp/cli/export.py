"""`offramp export`: writes a network that takes exits as a bundle, as torch.export files, or as ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from offramp.cli.failures import UsageError
from offramp.cli.inspect import parse_shape
from offramp.cli.options import Common
from offramp.cli.run_folder import RunFolder
from offramp.cli.train import List

Numbers = Annotated[list[float] | None, Parameter(consume_multiple=True, negative=())]


def export(
    target: str,
    /,
    *,
    out: Path,
    format: str = "bundle",
    segments: str | None = None,
    overwrite: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    at: List = None,
    thresholds: Numbers = None,
    criterion: str | None = None,
    input: str | None = None,
    head: str | None = None,
    common: Common = Common(),  # noqa: B008 - frozen, so sharing it is safe
) -> None:
    """Write a network that takes exits for others to run, and check what was written against the runtime.

    What was written is read back. It must decide as the runtime does, on random inputs, on those of the calibration
    split, and on inputs whose scores lie at the thresholds; and nothing may run that nobody needs.

    Args:
        target: run folder with a policy; or a model: network of the zoo, timm:NAME, hf:NAME, package.module:factory.
        out: folder to write; it appears whole or not at all.
        format: bundle (for offramp.load_bundle), pt2 (a torch.export file per segment), or onnx (one graph that takes
            the exits itself, and a file per segment).
        segments: form of the segments' files in a bundle: pt2 or onnx; default pt2.
        overwrite: replace an earlier export.
        at: for a model: cuts, as for `offramp train`; by default those of the zoo's network.
        thresholds: for a model: one per early exit, in units of the criterion's score; "inf" closes an exit.
        criterion: for a model: what is compared with them: max_probability (default), entropy or margin.
        input: for a model: shape of one input without the batch, e.g. 3,32,32.
        head: for a model: exit head, pooled_linear (default) or sdn_pool; its weights are random.
        common: options of every command.
    """
    from offramp.cli.session import Session
    from offramp.cli.steps import exporting

    session = Session(common)
    order = exporting.Order(out, format, segments, overwrite).checked()
    if Path(target).is_dir():
        _refuse_for_runs(at=at, thresholds=thresholds, criterion=criterion, input=input, head=head)
        session.deliver(exporting.of_run(RunFolder(target), order, session))
        return
    draft = exporting.Draft(
        target,
        tuple(at or ()),
        tuple(thresholds or ()),
        criterion or "max_probability",
        parse_shape(input),
        head or "pooled_linear",
    )
    session.deliver(exporting.of_model(draft, order, session))


def _refuse_for_runs(**given: object) -> None:
    wrong = [f"--{name}" for name, value in given.items() if value is not None]
    if wrong:
        raise UsageError(f"{', '.join(wrong)}: a run has its exits and its policy; these are for models without one.")
