"""The results of runs: one JSON file each, whole or not there, never written over."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

from offramp.errors import BenchmarkError

FORMAT, VERSION = "offramp.benchmark-run", 1
MATCHES = ("compute", "time")
"""What runs that are compared have in common: MACs of training, or its wall time."""


@dataclass(frozen=True)
class RunKey:
    """Which run: names of its problem and its regime (or baseline), its seed, and what is matched."""

    problem: str
    regime: str
    seed: int
    match: str = MATCHES[0]

    def __str__(self) -> str:
        return f"{self.problem} / {self.regime} / seed {self.seed}" + self._unless_usual(" / equal {}")

    @property
    def path(self) -> Path:
        """Of its file, below the folder of the results."""
        return Path("runs", self.problem, self.regime, f"seed{self.seed}{self._unless_usual('-{}')}.json")

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        key = {"problem": self.problem, "regime": self.regime, "seed": self.seed}
        return key if self.match == MATCHES[0] else {**key, "match": self.match}

    def _unless_usual(self, form: str) -> str:
        return "" if self.match == MATCHES[0] else form.format(self.match)


@dataclass(frozen=True)
class RunResult:
    """What one run found.

    Attributes:
        key: which run.
        config: all that decides it, as plain data; a resumed run must have the same.
        figures: what it found, see `running.run`.
        made: device, versions, commit, date.
    """

    key: RunKey
    config: dict[str, Any]
    figures: dict[str, Any]
    made: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """The file's content."""
        data = {"format": FORMAT, "version": VERSION, **self.key.to_dict(), "config": self.config, "made": self.made}
        return json.dumps({**data, "figures": self.figures}, allow_nan=False, separators=(",", ":")) + "\n"

    @classmethod
    def load(cls, path: Path) -> RunResult:
        """Reads a file.

        Raises:
            BenchmarkError: damaged, no run's result, or written by a newer version.
        """
        try:
            data = json.loads(path.read_text(encoding="utf8"))
            if data["format"] != FORMAT or data["version"] != VERSION:
                raise BenchmarkError(
                    f"{path} is {data['format']} of version {data['version']}, not {FORMAT} of version {VERSION}. "
                    "Choose another folder, or install a newer offramp."
                )
            match = str(data.get("match", MATCHES[0]))
            key = RunKey(str(data["problem"]), str(data["regime"]), int(data["seed"]), match)
            return cls(key, data["config"], data["figures"], data["made"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            if isinstance(error, BenchmarkError):
                raise
            raise BenchmarkError(
                f"{path} is damaged or no run's result ({error!r}). Move it away; its run is then done again."
            ) from error


class Results:
    """The folder of the results.

    Args:
        folder: need not exist yet.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def all(self) -> list[RunResult]:
        """Every finished run, in the order of names and seeds.

        Raises:
            BenchmarkError: a file is damaged.
        """
        found = [RunResult.load(path) for path in self.folder.glob("runs/*/*/seed*.json")]
        return sorted(found, key=lambda run: astuple(run.key))

    def finished(self, key: RunKey, config: Mapping[str, Any]) -> bool:
        """Whether a run is done.

        Raises:
            BenchmarkError: it is, but of another configuration; says in which field. Or its file is damaged.
        """
        path = self.folder / key.path
        if not path.exists():
            return False
        check_same(path, RunResult.load(path).config, config)
        return True

    def add(self, result: RunResult) -> None:
        """Writes a finished run; the file appears whole or not at all, and never in place of another.

        Raises:
            BenchmarkError: there is one already, or the folder cannot be written.
        """
        path = self.folder / result.key.path
        if not write_once(path, result.to_json()):
            raise BenchmarkError(f"{path} was written by someone else meanwhile; it was left as it is.")

    def scratch(self, key: RunKey) -> Path:
        """A folder for the checkpoints of a run under way."""
        return self.folder / "unfinished" / key.path.with_suffix("").relative_to("runs")


def write_once(path: Path, text: str) -> bool:
    """Writes a file, whole or not at all; False where there is one already, which is left as it is.

    Raises:
        BenchmarkError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".", encoding="utf8") as whole:
            whole.write(text)
            whole.flush()
            os.fsync(whole.fileno())
            os.link(whole.name, path)
    except FileExistsError:
        return False
    except OSError as error:
        raise BenchmarkError(f"{path} cannot be written ({error}). Choose another folder with --out.") from error
    return True


def check_same(path: Path, before: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuses to go on from what was found under another configuration.

    Raises:
        BenchmarkError: naming the first field that differs.
    """
    # What was written went through JSON, so what it is compared with must too.
    for name, (then, now) in differences(before, json.loads(json.dumps(wanted))):
        raise BenchmarkError(
            f"{path} was run with {name} = {then!r}, and the suite says {now!r}. Finished runs are never replaced: "
            "give another --out, undo the change, or move the file away."
        )


def differences(before: Any, now: Any, where: str = "") -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Fields in which plain data differ, each with its path and both values.

    Example:
        >>> list(differences({"fit": {"lr": 0.1}}, {"fit": {"lr": 0.2}}))
        [('fit.lr', (0.1, 0.2))]
    """
    if isinstance(before, dict) and isinstance(now, dict):
        for key in {**before, **now}:
            yield from differences(before.get(key), now.get(key), f"{where}.{key}" if where else key)
    elif before != now:
        yield where, (before, now)
