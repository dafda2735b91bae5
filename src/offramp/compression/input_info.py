"""The `input_info` of a configuration: what the model's inputs look like, and an example of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from offramp.compression.reading import Findings, read_settings
from offramp.compression.settings import setting

FILLERS = ("ones", "zeros", "random")
TYPES = {"float": torch.float32, "long": torch.long, "int": torch.int32, "bool": torch.bool, "half": torch.float16}


@dataclass(frozen=True, kw_only=True)
class InputInfo:
    """One input.

    Args:
        sample_size: its shape, batch included.
        type: of its elements.
        filler: what the example is filled with.
        keyword: name of the argument it is passed as; None for by position.
    """

    sample_size: tuple[int, ...] = setting(at="sample_size", least=1)
    type: str = setting("float", at="type", choices=tuple(TYPES))
    filler: str = setting("random", at="filler", choices=FILLERS)
    keyword: str | None = setting(None, at="keyword")

    def example(self) -> Tensor:
        """A tensor of this shape; the same each time."""
        dtype = TYPES[self.type]
        if self.filler == "random" and dtype.is_floating_point:
            return torch.randn(self.sample_size, generator=torch.Generator().manual_seed(0)).to(dtype)
        return (torch.zeros if self.filler == "zeros" else torch.ones)(self.sample_size, dtype=dtype)


def example_of(infos: Sequence[InputInfo]) -> Any:
    """Inputs for a model: a tensor, a tuple where there are several, a dict where they have keywords.

    Example:
        >>> example_of([InputInfo(sample_size=(1, 2)), InputInfo(sample_size=(1,), type="long", filler="ones")])[1]
        tensor([1])
    """
    if any(info.keyword for info in infos):
        return {info.keyword: info.example() for info in infos}
    return infos[0].example() if len(infos) == 1 else tuple(info.example() for info in infos)


def read_input_infos(value: Any, path: str, findings: Findings) -> tuple[InputInfo, ...]:
    """One object or a list of them."""
    nodes = value if isinstance(value, list | tuple) else [value]
    infos = []
    for number, node in enumerate(nodes):
        where = f"{path}[{number}]" if isinstance(value, list | tuple) else path
        if not isinstance(node, Mapping):
            findings.add(where, f"must be an object such as {{'sample_size': [1, 3, 224, 224]}}; it is {node!r}")
            continue
        infos.append(read_settings(InputInfo, node, where, findings))
    named = [info is not None and info.keyword is not None for info in infos]
    if any(named) and not all(named):
        findings.add(path, "some inputs have a keyword and some have none: give all of them one")
    return tuple(info for info in infos if info is not None)
