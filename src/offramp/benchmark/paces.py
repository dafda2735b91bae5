"""The paces of a results folder: each measured once, by whoever needs it first, and the same for everybody."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from offramp.benchmark.pacing import Pace
from offramp.benchmark.results import check_same, write_once
from offramp.documents import DocumentKind

KIND = DocumentKind(
    "offramp.benchmark-pace", 1, "pace of a regime", "Move it away together with the runs of equal time that used it."
)


def pace(path: Path, config: Mapping[str, Any], made: Mapping[str, Any], measure: Callable[[], Pace]) -> Pace:
    """The pace that is kept, or else a new one, kept from now on.

    Args:
        path: of its file.
        config: all that decides it, as plain data.
        made: facts about machine and code, kept with it.
        measure: takes it.

    Raises:
        BenchmarkError: the kept one is of another configuration; names the field. Or it cannot be written.
        FileFormatError: the file is damaged.
    """
    if not path.exists():
        content = {"config": config, "made": made, "pace": measure().to_dict()}
        # Where another machine was faster, its pace holds for both.
        write_once(path, json.dumps(KIND.stamp(content), allow_nan=False, separators=(",", ":")) + "\n")
    kept = KIND.read(path)
    try:
        before, found = kept["config"], Pace.from_dict(kept["pace"])
    except (KeyError, TypeError, ValueError) as error:
        raise KIND.damaged(path, error) from error
    check_same(path, before, config)
    return found
