"""How a command ends when it does not work: one clear line, and an exit code."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from offramp.errors import OfframpError

OK, FAILURE, USAGE, INTERRUPTED = 0, 1, 2, 130


class UsageError(OfframpError):
    """An option has a value that does not exist; the message lists those that do."""


def failed(error: Exception, tokens: Sequence[str]) -> int:
    """Reports an error and gives the exit code.

    Errors that are not expected are raised again: their traceback is what a bug report needs.
    """
    if not isinstance(error, OfframpError | OSError):
        raise error
    say(f"[bold red]Error:[/] {escape(str(error) or type(error).__name__)}")
    if "--debug" in tokens:
        _console().print_exception()
    return USAGE if isinstance(error, UsageError) else FAILURE


def interrupted(stop: KeyboardInterrupt, tokens: Sequence[str]) -> int:
    """Says how to go on after Ctrl-C, and gives the exit code."""
    say(f"\n[bold yellow]Interrupted.[/] Nothing that was finished is lost. Continue with:\n  {resumption(tokens)}")
    if "--debug" in tokens:
        _console().print_exception()
    return INTERRUPTED


def resumption(tokens: Sequence[str]) -> str:
    """The command line that continues an interrupted one.

    Example:
        >>> resumption(["train", "--epochs", "3"])
        'offramp train --epochs 3 --resume'
        >>> resumption(["demo"])
        'offramp demo'
    """
    more = ["--resume"] if tokens and tokens[0] in ("train", "compress") and "--resume" not in tokens else []
    return shlex.join(["offramp", *tokens, *more])


def say(text: str) -> None:
    """Prints on standard error, where it does not mix with results."""
    _console().print(text, highlight=False, soft_wrap=True)


def _console() -> Console:
    # Made anew each time, because tests and callers may have replaced sys.stderr since.
    return Console(stderr=True)
