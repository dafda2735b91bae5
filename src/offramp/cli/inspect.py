"""`offramp inspect`: lists where a model can be cut, and what that costs."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from offramp.cli.failures import UsageError
from offramp.cli.options import Common


def inspect(
    model: str,
    /,
    *,
    input: str | None = None,
    full: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    common: Common = Common(),  # noqa: B008 - frozen, so sharing it is safe
) -> None:
    """List the places where a model can be cut, with cumulative MACs, parameters and what crosses the cut.

    Of a network with exits of its own, such as resnet20_cifar_earlyexit, its exits and their cost are listed first.

    Args:
        model: network of the zoo, timm:NAME, hf:ARCHITECTURE or hf:FOLDER, or package.module:factory, a callable
            without arguments (or a module).
        input: shape of one input without the batch, e.g. 3,32,32, or a number of tokens; by default the model's own.
        full: also the layers inside blocks, and the places that cannot be cut, with the reason.
        common: options of every command.
    """
    from offramp.cli.session import Session
    from offramp.cli.steps import inspection

    session = Session(common)
    session.deliver(inspection.inspect(model, parse_shape(input), full, session))


def parse_shape(text: str | None) -> tuple[int, ...] | None:
    """`3,32,32` -> `(3, 32, 32)`.

    Raises:
        UsageError: not whole numbers of at least 1.
    """
    if text is None:
        return None
    try:
        shape = tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"--input {text}: give whole numbers between commas, e.g. 3,32,32.") from error
    if min(shape) < 1:
        raise UsageError(f"--input {text}: each number must be at least 1.")
    return shape
