"""Features on their way: what the cuts return and what the last layer is given, for losses that look inside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from offramp.backbones.modes import trying
from offramp.backbones.outputs import first_tensor
from offramp.regimes.places import cut_modules, example_of


class Features:
    """Collects, in each forward pass, the tensor that every exit's head reads; the last layer's input comes last.

    Args:
        model: from `attach`.

    Raises:
        TrainingError: the model is not one that `attach` made.
    """

    def __init__(self, model: nn.Module) -> None:
        self._cuts, _ = cut_modules(model)
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


def last_layer(model: nn.Module) -> nn.Module:
    """The module with parameters and without children that the backbone calls last: the one that makes the logits."""
    backbone, args, kwargs = example_of(model)
    called: list[nn.Module] = []

    def note(module: nn.Module, inputs: Any) -> None:
        called.append(module)

    leaves = [m for m in backbone.modules() if not any(m.children()) and any(True for _ in m.parameters())]
    handles = [leaf.register_forward_pre_hook(note) for leaf in leaves]
    try:
        with trying(backbone):
            backbone(*args, **kwargs)
    finally:
        for handle in handles:
            handle.remove()
    return called[-1]


def vectors(features: Tensor) -> Tensor:
    """`[n, c]`: the mean over space `[n, c, h, w, ...]` or over tokens `[n, t, c]`; vectors stay as they are."""
    if features.ndim == 3:
        return features.mean(dim=1)
    return features.flatten(2).mean(dim=2) if features.ndim > 3 else features
