"""Command lines as Distiller's parser reads them, brought into a form that ours reads.

Distiller's flags take as many values as follow, `--earlyexit_thresholds 1.2 0.9`, and some an optional one. Where its
own parser would also swallow the DATA folder behind them, and fail, the values end here at the first word that cannot
be one. Of a flag that is given again the last one counts, so that what a script always says can be overruled behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from offramp.cli.classify_refusals import check_known

COMMAND = "classify"
ONNX, ONNX_NAME = "--export-onnx", "model.onnx"
ONCE_PER_VALUE = "--summary"


class Flag(NamedTuple):
    """What is known of a flag: the first of its names, and whether a value follows."""

    name: str
    takes_value: bool


Part = tuple[str, list[str]]
"""The first of a flag's names, or nothing, and the words that stand for it."""


def spread(tokens: Sequence[str]) -> list[str]:
    """The same command line with one value per flag; other commands than `classify` stay as they are.

    Raises:
        UsageError: a flag of Distiller's that is none here; the message says what to do instead.

    Example:
        >>> spread(["classify", "--earlyexit_thresholds", "1.2", "0.9", "photos", "-b", "64", "--batch-size=128"])
        ['classify', '--earlyexit_thresholds=1.2', '--earlyexit_thresholds=0.9', 'photos', '--batch-size=128']
    """
    if not tokens or tokens[0] != COMMAND:
        return list(tokens)
    parts = list(_parts(list(tokens[1:]), _flags()))
    last = {name: k for k, (name, _) in enumerate(parts)}
    kept = [words for k, (name, words) in enumerate(parts) if name in ("", ONCE_PER_VALUE) or last[name] == k]
    return [COMMAND, *(word for words in kept for word in words)]


def _parts(rest: list[str], flags: Mapping[str, Flag]) -> Iterator[Part]:
    while rest and rest[0] != "--":
        token = rest.pop(0)
        name, given, value = token.partition("=")
        check_known(name)
        flag = flags.get(name, Flag("", takes_value=False))
        if name in SEVERAL:
            values = [value] if given else []
            while rest and SEVERAL[name](rest[0]):
                values.append(rest.pop(0))
            yield flag.name, [f"{name}={value}" for value in values] or [token]
        elif name == ONNX and not given:
            yield flag.name, [f"{ONNX}={rest.pop(0) if rest and rest[0].endswith('.onnx') else ONNX_NAME}"]
        elif flag.takes_value and not given and rest and _is_value(rest[0]):
            yield flag.name, [token, rest.pop(0)]
        else:
            yield flag.name, [token]
    yield "", rest


def _flags() -> dict[str, Flag]:
    """The command's flags by each of their names."""
    from offramp.cli.app import app

    found: dict[str, Flag] = {}
    for argument in app[COMMAND].assemble_argument_collection():
        names = [name for name in argument.names if name.startswith("-")]
        found |= {name: Flag(names[0], takes_value=argument.token_count()[0] > 0) for name in names}
    return found


def _is_number(token: str) -> bool:
    try:
        float(token)
    except ValueError:
        return False
    return True


def _is_value(token: str) -> bool:
    return _is_number(token) or not token.startswith("-")


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
