"""The command `offramp`: one file per command, and in `steps` the work they do.

Nothing here imports torch before a command has understood its arguments, so that `--help` is instant.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from offramp.cli import failures


def main(tokens: Sequence[str] | None = None) -> int:
    """Runs a command line and gives its exit code.

    Args:
        tokens: the arguments behind `offramp`; None takes those of the process.

    Returns:
        0 when it worked, 1 when it failed, 2 when the command line cannot be understood, 130 after Ctrl-C.
    """
    from cyclopts import CycloptsError

    from offramp.cli.app import app
    from offramp.cli.classify_arguments import spread

    given = list(sys.argv[1:] if tokens is None else tokens)
    try:
        code = app(spread(given), exit_on_error=False, result_action="return_value")
    except CycloptsError:
        return failures.USAGE  # cyclopts has said why
    except KeyboardInterrupt as stop:
        return failures.interrupted(stop, given)
    except Exception as error:
        return failures.failed(error, given)
    return failures.OK if code is None else int(code)
