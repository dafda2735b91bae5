"""Features on their way: what the cuts return and what the last layer is given, for losses that look inside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from offramp.backbones.modes import device_of, trying
from offramp.backbones.outputs import first_tensor
from offramp.errors import TrainingError


class Features:
    """Collects, in each forward pass, the tensor that every exit's head reads; the last layer's input comes last.

    Args:
        model: from `attach`.

    Raises:
        TrainingError: the model is not one that `attach` made.
    """

    def __init__(self, model: nn.Module) -> None:
        self._backbone, cuts = checked_backbone(model)
        self._cuts = [self._backbone.get_submodule(cut) for cut in cuts]
        self._last = last_layer(model)
        self._found: dict[int, Tensor] = {}

    def take(self) -> tuple[Tensor, ...]:
        """Those of the last forward pass."""
        found, self._found = self._found, {}
        return tuple(found[k] for k in sorted(found))

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Puts the hooks on for as long as the context lasts."""
        handles = [cut.register_forward_hook(self._hook(k)) for k, cut in enumerate(self._cuts)]
        handles.append(self._last.register_forward_pre_hook(self._before_last))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _hook(self, k: int) -> Callable[[nn.Module, Any, Any], None]:
        def keep(module: nn.Module, inputs: Any, output: Any) -> None:
            tensor = first_tensor(output)
            if tensor is not None:
                self._found[k] = tensor

        return keep

    def _before_last(self, module: nn.Module, inputs: Any) -> None:
        tensor = first_tensor(inputs)
        if tensor is not None:
            self._found[len(self._cuts)] = tensor


def checked_backbone(model: nn.Module) -> tuple[nn.Module, tuple[str, ...]]:
    """Backbone and cuts of a model that `attach` made.

    Raises:
        TrainingError: it is another one.
    """
    backbone, cuts = getattr(model, "backbone", None), getattr(model, "cuts", None)
    if not isinstance(backbone, nn.Module) or not cuts or not hasattr(model, "signature"):
        raise TrainingError(
            f"{type(model).__name__} has no backbone and cuts to look into: this regime needs a model from "
            "offramp.attach."
        )
    return backbone, tuple(cuts)


def last_layer(model: nn.Module) -> nn.Module:
    """The module with parameters and without children that the backbone calls last: the one that makes the logits."""
    backbone, _ = checked_backbone(model)
    called: list[nn.Module] = []

    def note(module: nn.Module, inputs: Any) -> None:
        called.append(module)

    leaves = [m for m in backbone.modules() if not any(m.children()) and any(True for _ in m.parameters())]
    handles = [leaf.register_forward_pre_hook(note) for leaf in leaves]
    signature: Any = model.signature
    args, kwargs = signature.unflatten(signature.batch(2, device_of(backbone)))
    try:
        with trying(backbone):
            backbone(*args, **kwargs)
    finally:
        for handle in handles:
            handle.remove()
    return called[-1]
