"""Loading weights from one form of an architecture into another: plain, with exits, or wrapped for several devices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from offramp.errors import FileFormatError
from offramp.exit_model import ExitModel

BACKBONE = "backbone."
HEADS = "heads."
WRAPPER = "module."
BRANCH = ".branch_net."
"""In Distiller's names: a branch hangs on a submodule, as in `layer1.2.relu2.branch_net.2.weight`."""


@dataclass(frozen=True)
class Loaded:
    """What was found and taken over.

    Attributes:
        heads: whether the exit heads' weights were loaded too; None where the model has none.
        ignored: names of the tensors that the model has no place for: a twin's heads, for a plain network.
    """

    heads: bool | None
    ignored: tuple[str, ...]


def load_weights(model: nn.Module, state: Mapping[str, Tensor], source: str = "The checkpoint") -> Loaded:
    """Loads the weights of a plain network or of its early-exit twin into either of them, in place.

    A plain network's weights become the backbone of a model with exits, whose heads stay as they are; of a twin's
    weights a plain network takes the backbone. All or nothing: a state that does not fit changes nothing.

    Args:
        model: a plain network, or an `ExitModel`.
        state: as `state_dict` gives it, with or without the "module." of `DataParallel`; or as Distiller's networks
            with early exits give it, whose branches become the heads.
        source: what to call it in messages.

    Raises:
        FileFormatError: tensors are missing, superfluous or of another shape; where it is the number of classes, the
            message says so.

    Example:
        >>> from offramp import zoo
        >>> plain, twin = zoo.build("resnet20_cifar"), zoo.build_with_exits("resnet20_cifar_earlyexit")
        >>> load_weights(twin, plain.state_dict())
        Loaded(heads=False, ignored=())
    """
    given = _in_own_names(_unwrapped(state), model)
    backbone = {k.removeprefix(BACKBONE): v for k, v in given.items() if k.startswith(BACKBONE)}
    heads = {k: v for k, v in given.items() if backbone and not k.startswith(BACKBONE)}
    plain = backbone or given
    if not isinstance(model, ExitModel):
        _check(model, plain, source)
        model.load_state_dict(plain)
        return Loaded(None, tuple(heads))
    _check(model.backbone, plain, source)
    if heads:
        _check(model.heads, {k.removeprefix(HEADS): v for k, v in heads.items()}, f"{source} (exit heads)")
        model.load_state_dict({**{BACKBONE + k: v for k, v in plain.items()}, **heads})
    else:
        model.backbone.load_state_dict(plain)
    return Loaded(bool(heads), ())


def _unwrapped(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    wrapped = bool(state) and all(name.startswith(WRAPPER) for name in state)
    return {name.removeprefix(WRAPPER) if wrapped else name: value for name, value in state.items()}


def _in_own_names(given: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Distiller's branches as heads, in the same order; another state as it is."""
    branches: dict[str, dict[str, Tensor]] = {}
    for name, value in given.items():
        place, branch, rest = name.partition(BRANCH)
        if branch:
            branches.setdefault(place, {})[rest] = value
    if not branches:
        return given
    result = {BACKBONE + name: value for name, value in given.items() if BRANCH not in name}
    heads = [list(head.state_dict()) for head in model.heads] if isinstance(model, ExitModel) else []
    for k, tensors in enumerate(branches.values()):
        # Where a head has other tensors, their own names stay, for the check to find.
        names = heads[k] if k < len(heads) and len(heads[k]) == len(tensors) else list(tensors)
        result |= {f"{HEADS}{k}.{name}": value for name, value in zip(names, tensors.values(), strict=True)}
    return result


def _check(module: nn.Module, given: Mapping[str, Tensor], source: str) -> None:
    own = module.state_dict()
    differing = sorted(name for name in own.keys() & given.keys() if own[name].shape != given[name].shape)
    # Older torch kept no count of batches in batch norm, and loading does without it.
    missing = sorted(name for name in own.keys() - given.keys() if not name.endswith("num_batches_tracked"))
    unknown = sorted(given.keys() - own.keys())
    if missing or unknown:
        raise FileFormatError(
            f"{source} holds another network: {len(missing)} tensors are missing (e.g. {missing[:2]}) and "
            f"{len(unknown)} are not known here (e.g. {unknown[:2]}). Choose the architecture it was saved from."
        )
    if differing:
        raise FileFormatError(_other_shapes(differing, own, given, source))


def _other_shapes(names: list[str], own: Mapping[str, Tensor], given: Mapping[str, Tensor], source: str) -> str:
    last = [name for name in list(own)[-2:] if name in names]
    if set(names) == set(last):
        return (
            f"{source} has {given[names[0]].shape[0]} classes, the network has {own[names[0]].shape[0]} ({names[0]}). "
            "Build the network for the same number of classes."
        )
    name = names[0]
    return (
        f"{source} does not fit: '{name}' is {list(given[name].shape)} there and {list(own[name].shape)} here, and "
        f"{len(names) - 1} more differ. Build the network with the same sizes."
    )
