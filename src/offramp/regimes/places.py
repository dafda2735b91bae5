"""Where in a model a regime can take hold: its cuts, and the heads behind them."""

from __future__ import annotations

from typing import Any

from torch import nn

from offramp.backbones.modes import device_of
from offramp.errors import TrainingError


def cut_modules(model: nn.Module) -> tuple[list[nn.Module], list[nn.Module]]:
    """The modules at whose outputs the exits are, and the early exits' heads, earliest first.

    Raises:
        TrainingError: the model is not one that `attach` made.
    """
    backbone, heads, cuts = (getattr(model, name, None) for name in ("backbone", "heads", "cuts"))
    if not isinstance(backbone, nn.Module) or not isinstance(heads, nn.ModuleList) or not cuts:
        raise TrainingError(
            f"{type(model).__name__} has no cuts to take hold of: this regime needs a model from offramp.attach."
        )
    return [backbone.get_submodule(name) for name in cuts], list(heads)


def example_of(model: nn.Module, rows: int = 2) -> tuple[nn.Module, tuple[Any, ...], dict[str, Any]]:
    """The backbone, with positional and named arguments to call it on: the example that `attach` was given.

    Raises:
        TrainingError: the model is not one that `attach` made.
    """
    cut_modules(model)
    backbone: Any = model.backbone
    signature: Any = model.signature
    args, kwargs = signature.unflatten(signature.batch(rows, device_of(backbone)))
    return backbone, tuple(args), dict(kwargs)
