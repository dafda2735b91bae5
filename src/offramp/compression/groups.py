"""Which channels of a network can only be removed together, and by which layers they are made, changed and read.

The couplings are found by torch-pruning, which follows the autograd graph of one forward pass. Every group is then put
on trial: some of its channels are removed from a copy of the model, and what that gives must be what the model gives
when nobody reads those channels. Whatever torch-pruning does not see (a fixed width in a `view`, a mean over channels)
fails there, and the group is left alone with the reason.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from offramp.backbones import arguments, close, device_of, evaluating, map_tensors
from offramp.backbones.outputs import tensors_in
from offramp.compression.layers import CONVOLUTIONS, LAYERS, can_transform
from offramp.compression.stripping import remove_channels, silence_channels
from offramp.errors import CompressionError, MissingExtraError

Side = Literal["makes", "filters", "changes", "reads"]
NORMS = (_NormBase, nn.PReLU)
"""Modules that treat every channel alone, with values of its own."""


@dataclass(frozen=True)
class Coupling:
    """What one module has to do with a group.

    Attributes:
        module: its name in the model.
        side: "makes": the channels are outputs of its weight; "reads": inputs of its weight; "filters": a depthwise
            convolution has a filter for each; "changes": a norm has values for each.
        channels: the module's own numbers of channels.
        roots: for each of them, the channel of the group that it belongs to.
    """

    module: str
    side: Side
    channels: tuple[int, ...]
    roots: tuple[int, ...]

    def spread(self, kept: Tensor, size: int) -> Tensor:
        """Bool `[size]` for the module's channels, from `kept` of the group; True for those of other groups."""
        found = torch.ones(size, dtype=torch.bool, device=kept.device)
        found[list(self.channels)] = kept[list(self.roots)]
        return found


@dataclass(frozen=True)
class Group:
    """Channels that are removed together.

    Attributes:
        name: of a layer that makes them; its outputs are the channels, in this order.
        channels: how many.
        couplings: every module concerned.
    """

    name: str
    channels: int
    couplings: tuple[Coupling, ...]

    def of_side(self, *sides: Side) -> Iterator[Coupling]:
        """Couplings of these sides."""
        return (c for c in self.couplings if c.side in sides)

    @property
    def layers(self) -> list[str]:
        """The layers whose filters are the group's channels."""
        return [c.module for c in self.of_side("makes", "filters")]


@dataclass(frozen=True)
class Findings:
    """What was found in a model.

    Attributes:
        groups: those whose channels can be removed.
        refused: why not, by the name of the layer that makes the channels.
        first: names of the layers that read the model's inputs, with no other layer before them.
    """

    groups: tuple[Group, ...]
    refused: Mapping[str, str]
    first: frozenset[str]


def find_groups(model: nn.Module, example: Any, kinds: tuple[type[nn.Module], ...] = CONVOLUTIONS) -> Findings:
    """The groups of channels of a model that layers of some kinds make.

    Args:
        model: not changed; without transforms.
        example: inputs of a batch, as the model takes them.
        kinds: classes of layers that may lose outputs.

    Raises:
        MissingExtraError: torch-pruning is not installed.
        CompressionError: the model cannot be followed by autograd.
    """
    model = copy.deepcopy(model).eval().requires_grad_(True)
    names = {module: name for name, module in model.named_modules()}
    graph = _dependencies(model, example)
    candidates: list[Group] = []
    refused: dict[str, str] = {}
    for items in graph.get_all_groups(root_module_types=list(kinds)):
        name = names[items.items[0].dep.target.module]
        found = _group(graph, items, name, names)
        if isinstance(found, Group):
            candidates.append(found)
        else:
            refused[name] = found
    passed, failed = _on_trial(model, example, candidates)
    return Findings(tuple(passed), refused | failed, frozenset(_first(graph, names)))


def _dependencies(model: nn.Module, example: Any) -> Any:
    try:
        import torch_pruning
    except ImportError as error:
        raise MissingExtraError(
            f"Removing channels needs the package torch-pruning ({error}). Install it with: "
            "pip install 'offramp[compression]'"
        ) from error
    try:
        with warnings.catch_warnings(), torch.enable_grad(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")  # about parameters outside of layers, which the trial finds out
            return torch_pruning.DependencyGraph().build_dependency(model, example, forward_fn=_tracked, verbose=False)
    except Exception as error:  # whatever the model's code or the tracer raises
        raise CompressionError(
            f"The channels of this {type(model).__name__} cannot be followed ({type(error).__name__}: {error}). "
            "Check that the example fits the model and that its forward pass is differentiable."
        ) from error


def _tracked(model: nn.Module, inputs: Any) -> list[Tensor]:
    """Every output tensor as the result of an operation of its own, which marks it as an output for the tracer."""
    args, kwargs = arguments(map_tensors(lambda t: t.to(device_of(model)), inputs))
    outputs = [t for t in tensors_in(model(*args, **kwargs)) if t is not None and t.grad_fn is not None]
    return [tensor * 1 for tensor in outputs]


def _group(graph: Any, items: Any, root: str, names: Mapping[nn.Module, str]) -> Group | str:
    """The group, or why there is none."""
    couplings: list[Coupling] = []
    for item in items.items:
        module = item.dep.target.module
        if type(module).__name__ == "_OutputOp":
            return "its channels are outputs of the model"
        if isinstance(module, nn.Parameter):
            return "its channels meet a parameter outside of any layer"
        if module not in names or (isinstance(module, nn.PReLU) and module.num_parameters == 1):
            continue  # an operation without values of its own for each channel
        side = _side(graph, item.dep, module)
        if side is None:
            return f"its channels meet '{names[module]}', a {type(module).__name__}"
        couplings.append(Coupling(names[module], side, tuple(item.idxs), tuple(item.root_idxs)))
    if any(len(set(c.channels)) != len(c.channels) for c in couplings) or _tied(couplings):
        return "its channels are tied to one another"
    return Group(root, len(items.items[0].idxs), tuple(couplings))


def _first(graph: Any, names: Mapping[nn.Module, str]) -> Iterator[str]:
    """Layers that no other layer runs before."""
    for module, node in graph.module2node.items():
        ahead, seen = list(node.inputs), set()
        while ahead and not isinstance(ahead[-1].module, LAYERS):
            nearer = ahead.pop()
            ahead += [n for n in nearer.inputs if n not in seen]
            seen.update(nearer.inputs)
        if isinstance(module, LAYERS) and not ahead:
            yield names[module]


def _side(graph: Any, dependency: Any, module: nn.Module) -> Side | None:
    """None for modules whose channels cannot be removed."""
    if isinstance(module, NORMS):
        return "changes"
    if not isinstance(module, LAYERS) or not can_transform(module):
        return None
    if isinstance(module, CONVOLUTIONS) and module.groups > 1:
        return "filters" if module.groups == module.in_channels == module.out_channels else None
    return "makes" if graph.is_out_channel_pruning_fn(dependency.handler) else "reads"


def _tied(couplings: Sequence[Coupling]) -> bool:
    """Whether some module has one of its channels under two roots."""
    seen: dict[tuple[str, Side, int], int] = {}
    return any(
        seen.setdefault((c.module, c.side, channel), root) != root
        for c in couplings
        for channel, root in zip(c.channels, c.roots, strict=True)
    )


def _on_trial(model: nn.Module, example: Any, groups: Sequence[Group]) -> tuple[list[Group], dict[str, str]]:
    """All groups together; one by one only if that fails."""
    if _fault(model, example, groups) is None:
        return list(groups), {}
    faults = {group.name: _fault(model, example, [group]) for group in groups}
    return [g for g in groups if faults[g.name] is None], {name: f for name, f in faults.items() if f is not None}


def _fault(model: nn.Module, example: Any, groups: Sequence[Group]) -> str | None:
    """What goes wrong when every other channel of the groups is removed; None where nothing does."""
    kept = {g.name: torch.arange(g.channels) % 2 == 0 for g in groups}
    silenced, narrow = copy.deepcopy(model), copy.deepcopy(model)
    try:
        silence_channels(silenced, groups, kept)
        remove_channels(narrow, groups, kept)
        if all(map(close, _outputs(narrow, example), _outputs(silenced, example))):
            return None
        return "removing its channels changes more than removing what they feed"
    except Exception as error:  # the model's own code runs on widths that its author did not foresee
        return f"the model does not run with fewer channels ({type(error).__name__}: {error})"


def _outputs(model: nn.Module, example: Any) -> list[Tensor]:
    with torch.no_grad(), evaluating(model), torch.random.fork_rng(devices=[]):
        args, kwargs = arguments(map_tensors(lambda t: t.to(device_of(model)), example))
        return [t for t in tensors_in(model(*args, **kwargs)) if t is not None]
