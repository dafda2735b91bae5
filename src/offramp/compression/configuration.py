"""Configurations of compression, in JSON or JSON5, as NNCF's users have them; every mistake is named at once.

| key | holds |
|---|---|
| `compression` | one algorithm, or a list of them: objects with `algorithm` and its settings |
| `accuracy_aware_training` | `mode`, the name of a loop, and its `params` |
| `input_info`, `input_infos` | shape of the model's inputs |
| `ignored_scopes`, `target_scopes` | of all algorithms, see `offramp.compression.scopes` |
| `compression_lr_multiplier` | on the learning rate of the parameters that algorithms add |
| `log_dir` | where checkpoints and logs go |
| `target_device`, `disable_shape_matching`, `validate_scopes` | understood, and of no effect |
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offramp.compression.algorithms import ALGORITHMS, Algorithm
from offramp.compression.combination import pair_conflicts, search_conflicts
from offramp.compression.input_info import InputInfo, example_of, read_input_infos
from offramp.compression.loops import LOOPS, Loop
from offramp.compression.reading import Findings, join, read_settings
from offramp.compression.settings import setting
from offramp.errors import CompressionError, MissingExtraError, closest

DEVICES = ("ANY", "CPU", "GPU", "NPU", "VPU", "TRIAL", "CPU_SPR")
INPUTS = ("input_info", "input_infos")
PARTS = ("compression", "accuracy_aware_training", *INPUTS)
DEGRADATIONS = ("maximal_relative_accuracy_degradation", "maximal_absolute_accuracy_degradation")


@dataclass(frozen=True, kw_only=True)
class _TopLevel:
    """What stands beside the parts."""

    ignored_scopes: tuple[str, ...] = setting((), at="ignored_scopes")
    target_scopes: tuple[str, ...] = setting((), at="target_scopes")
    validate_scopes: bool = setting(True, at="validate_scopes")
    compression_lr_multiplier: float = setting(1.0, at="compression_lr_multiplier", least=0)
    log_dir: str | None = setting(None, at="log_dir")
    target_device: str = setting("ANY", at="target_device", choices=DEVICES)
    disable_shape_matching: bool = setting(False, at="disable_shape_matching")


@dataclass(frozen=True)
class Configuration:
    """What is done to a model, and until when.

    Attributes:
        algorithms: in the order of the configuration, with the scopes of the top level in them.
        loop: None where the configuration has none.
        inputs: of the model; empty where it does not say.
        compression_lr_multiplier: on the learning rate of the parameters that algorithms add.
        log_dir: for checkpoints and logs.
    """

    algorithms: tuple[Algorithm, ...]
    loop: Loop | None = None
    inputs: tuple[InputInfo, ...] = ()
    compression_lr_multiplier: float = 1.0
    log_dir: str | None = None

    @property
    def example(self) -> Any:
        """Inputs of the described shape, None where it is not described."""
        return example_of(self.inputs) if self.inputs else None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], source: str = "The configuration") -> Configuration:
        """Reads a configuration that is parsed already.

        Args:
            data: nested plain data.
            source: what it is called in error messages.

        Raises:
            ConfigurationError: it has mistakes; all are named, each with its path.

        Example:
            >>> Configuration.from_dict({})
            Traceback (most recent call last):
            offramp.compression.reading.ConfigurationError: The configuration has 1 mistake:
              compression: is missing; give an algorithm, e.g. {"algorithm": "filter_pruning"}
        """
        findings = Findings()
        if not isinstance(data, Mapping):
            findings.add("", f"must be an object; it is {data!r}")
            findings.raise_if_any(source)
        top = read_settings(_TopLevel, data, "", findings, PARTS)
        algorithms = _algorithms(data, findings)
        loop = _loop(data["accuracy_aware_training"], findings) if "accuracy_aware_training" in data else None
        inputs = _inputs(data, findings)
        _find_conflicts(algorithms, loop, findings)
        findings.raise_if_any(source)
        top = top or _TopLevel()
        return cls(
            tuple(_scoped(a, top) for a in algorithms if a is not None),
            loop,
            inputs,
            top.compression_lr_multiplier,
            top.log_dir,
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Configuration:
        """Reads a JSON or JSON5 file.

        Raises:
            CompressionError: the file cannot be read or parsed.
            ConfigurationError: it has mistakes.
            MissingExtraError: it is no plain JSON, and the reader of JSON5 is not installed.
        """
        try:
            text = Path(path).read_text(encoding="utf8")
        except (OSError, UnicodeDecodeError) as error:
            raise CompressionError(f"The configuration {path} cannot be read ({error}).") from error
        return cls.from_dict(_parsed(text, path), str(path))


def configuration_of(what: Any) -> Configuration:
    """A configuration from whatever stands for one.

    Args:
        what: a path, parsed JSON, an algorithm, several, or a configuration.

    Raises:
        CompressionError: it is none of these, or has mistakes.
    """
    if isinstance(what, Configuration):
        return what
    if isinstance(what, str | os.PathLike):
        return Configuration.load(what)
    if isinstance(what, Mapping):
        return Configuration.from_dict(what)
    algorithms = (what,) if isinstance(what, Algorithm) else tuple(what) if isinstance(what, Sequence) else ()
    if not algorithms or not all(isinstance(a, Algorithm) for a in algorithms):
        raise CompressionError(
            f"{what!r} is no compression: give the path of a configuration, its content as a dict, or algorithms from "
            f"offramp.compression ({', '.join(ALGORITHMS)})."
        )
    return Configuration(algorithms)


def _parsed(text: str, path: str | os.PathLike[str]) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_without_repeats)
    except json.JSONDecodeError:
        pass
    try:
        import json5
    except ImportError as error:
        raise MissingExtraError(
            f"{path} is no plain JSON, and JSON5 needs a reader that is not installed. Run: "
            "pip install 'offramp[compression]'"
        ) from error
    try:
        return json5.loads(text, object_pairs_hook=_without_repeats)
    except ValueError as error:
        raise CompressionError(f"{path} is neither JSON nor JSON5 ({error}).") from error


def _without_repeats(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Python keeps the last of two equal keys, silently."""
    data = dict(pairs)
    if len(data) < len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise CompressionError(f"The configuration has the same key twice in one object: {', '.join(twice)}.")
    return data


def _algorithms(data: Mapping[str, Any], findings: Findings) -> list[Algorithm | None]:
    if "compression" not in data or data["compression"] == []:
        findings.add("compression", 'is missing; give an algorithm, e.g. {"algorithm": "filter_pruning"}')
        return []
    node = data["compression"]
    if isinstance(node, list | tuple):
        return [_algorithm(item, f"compression[{k}]", findings) for k, item in enumerate(node)]
    return [_algorithm(node, "compression", findings)]


def _algorithm(node: Any, path: str, findings: Findings) -> Algorithm | None:
    name = _name(node, "algorithm", ALGORITHMS, path, findings)
    return None if name is None else read_settings(ALGORITHMS[name], node, path, findings, ["algorithm"])


def _loop(node: Any, findings: Findings) -> Loop | None:
    path = "accuracy_aware_training"
    name = _name(node, "mode", LOOPS, path, findings)
    if name is None:
        return None
    params = node.get("params")
    if not isinstance(params, Mapping):
        findings.add(f"{path}.params", "is missing" if params is None else f"must be an object; it is {params!r}")
        return None
    # Python has defaults for these; a file that says nothing is more likely to be a mistake.
    if not any(key in params for key in DEGRADATIONS):
        findings.add(f"{path}.params", "has no limit of the degradation; give one of " + " and ".join(DEGRADATIONS))
    if name == "early_exit" and "maximal_total_epochs" not in params:
        findings.add(f"{path}.params.maximal_total_epochs", "is missing; say when to give up, e.g. 100")
    loop = read_settings(LOOPS[name], node, path, findings, ["mode"])
    both = f"{path}.params.{DEGRADATIONS[1]}"
    if all(key in params for key in DEGRADATIONS) and not any(where == both for where, _ in findings.problems):
        # The family checks relations only where each field is right; this one can be seen in any case.
        findings.add(both, f"excludes {DEGRADATIONS[0]}, which is given too")
    return loop


def _name(node: Any, key: str, known: Mapping[str, Any], path: str, findings: Findings) -> str | None:
    """The name under which a node asks for a member of a family; None where there is no such member."""
    if not isinstance(node, Mapping):
        findings.add(path, f"must be an object with a key {key!r}; it is {node!r}")
        return None
    name = node.get(key)
    if name is None:
        findings.add(join(path, key), f"is missing; allowed: {', '.join(map(repr, known))}")
        return None
    if name not in known:
        findings.add(join(path, key), f"is {name!r}, which does not exist. {closest(str(name), known)}")
        return None
    return str(name)


def _inputs(data: Mapping[str, Any], findings: Findings) -> tuple[InputInfo, ...]:
    given = [key for key in INPUTS if key in data]
    if len(given) == 2:
        findings.add(given[1], f"stands for the same as {given[0]!r}, which is given too")
    return read_input_infos(data[given[0]], given[0], findings) if given else ()


def _find_conflicts(algorithms: Sequence[Algorithm | None], loop: Loop | None, findings: Findings) -> None:
    """Between what could be read."""
    places = [k for k, algorithm in enumerate(algorithms) if algorithm is not None]
    readable = [algorithm for algorithm in algorithms if algorithm is not None]
    for index, wrong in pair_conflicts(readable):
        findings.add(f"compression[{places[index]}].algorithm", wrong)
    # What cannot be read might be the very algorithm that a search needs.
    if loop is not None and readable and len(readable) == len(algorithms):
        for wrong in search_conflicts(readable, loop):
            findings.add("accuracy_aware_training.mode", wrong)


def _scoped(algorithm: Algorithm, top: _TopLevel) -> Algorithm:
    return dataclasses.replace(
        algorithm,
        ignored_scopes=tuple(dict.fromkeys([*top.ignored_scopes, *algorithm.ignored_scopes])),
        target_scopes=algorithm.target_scopes or top.target_scopes,
    )
