"""Command lines as Distiller's parser reads them, brought into a form that ours reads.

Distiller's flags take as many values as follow, `--earlyexit_thresholds 1.2 0.9`, and some an optional one. Where its
own parser would also swallow the DATA folder behind them, and fail, the values end here at the first word that cannot
be one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

COMMAND = "classify"
ONNX_NAME = "model.onnx"


def spread(tokens: Sequence[str]) -> list[str]:
    """The same command line with one value per flag; other commands than `classify` stay as they are.

    Example:
        >>> spread(["classify", "--earlyexit_thresholds", "1.2", "0.9", "photos"])
        ['classify', '--earlyexit_thresholds=1.2', '--earlyexit_thresholds=0.9', 'photos']
    """
    if not tokens or tokens[0] != COMMAND:
        return list(tokens)
    result: list[str] = []
    rest = list(tokens)
    while rest:
        flag, given, value = rest.pop(0).partition("=")
        values = [value] if given else []
        if flag in SEVERAL:
            while rest and SEVERAL[flag](rest[0]):
                values.append(rest.pop(0))
        elif flag == "--export-onnx" and not given:
            values = [rest.pop(0) if rest and rest[0].endswith(".onnx") else ONNX_NAME]
        result += [f"{flag}={value}" for value in values] or [flag]
    return result


def _is_number(token: str) -> bool:
    try:
        float(token)
    except ValueError:
        return False
    return True


def _is_place(token: str) -> bool:
    """Whether it can be a module's name or a share of the MACs; a folder that exists, or has a slash, is data."""
    return _is_number(token) or not (token.startswith("-") or "/" in token or Path(token).is_dir())


def _is_goal(token: str) -> bool:
    return "=" in token and not token.startswith("-")


SEVERAL: dict[str, Callable[[str], bool]] = {
    "--earlyexit_thresholds": _is_number,
    "--earlyexit-thresholds": _is_number,
    "--earlyexit_lossweights": _is_number,
    "--earlyexit-lossweights": _is_number,
    "--sense-range": _is_number,
    "--sensitivity-range": _is_number,
    "--exits": _is_place,
    "--calibrate": _is_goal,
}
"""Flags with several values, and which words can be one."""
