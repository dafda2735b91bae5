"""Batch norms in evaluation mode are affine maps: folded into the convolution before them, or written as a product."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx
from torch.nn.utils.fusion import fuse_conv_bn_weights

aten = torch.ops.aten
CONVOLUTIONS = (aten.conv1d.default, aten.conv2d.default, aten.conv3d.default)


def fold_batch_norms(module: fx.GraphModule) -> fx.GraphModule:
    """Removes every batch norm from an exported program's module, in place; the outputs stay the same up to rounding.

    Compilers want it gone: it is slower than nothing, and its kernels ask for the batch size.

    Args:
        module: from `ExportedProgram.module()`, captured in evaluation mode. Its parameters are not changed: folded
            weights are new buffers.
    """
    for node in list(module.graph.nodes):
        if node.target is aten.batch_norm.default and not node.args[5]:
            _fold(module, node)
    module.graph.eliminate_dead_code()
    module.recompile()
    return module


def _fold(module: fx.GraphModule, node: fx.Node) -> None:
    source = node.args[0]
    assert isinstance(source, fx.Node)
    weight, bias, mean, var = (_tensor(module, argument) for argument in node.args[1:5])
    assert mean is not None
    assert var is not None
    eps = float(node.args[7])  # type: ignore[arg-type]
    scale = (torch.ones_like(mean) if weight is None else weight) / (var + eps).sqrt()
    shift = (0 if bias is None else bias) - mean * scale
    kernel = _tensor(module, source.args[1]) if _foldable(module, source) else None
    with module.graph.inserting_before(node):
        if kernel is None:
            new = _affine(module, node, source, scale, shift)
        else:
            conv_bias = _tensor(module, source.args[2] if len(source.args) > 2 else None)
            folded = fuse_conv_bn_weights(kernel, conv_bias, mean, var, eps, weight, bias)
            values = [_buffer(module, f"{node.name}_{i}", x.detach()) for i, x in enumerate(folded)]
            rest = source.args[3:]
            new = module.graph.create_node(
                "call_function", source.target, (source.args[0], *values, *rest), source.kwargs
            )
    node.replace_all_uses_with(new)
    module.graph.erase_node(node)


def _foldable(module: fx.GraphModule, source: fx.Node) -> bool:
    return source.target in CONVOLUTIONS and len(source.users) == 1 and _tensor(module, source.args[1]) is not None


def _affine(module: fx.GraphModule, node: fx.Node, source: fx.Node, scale: Tensor, shift: Tensor) -> fx.Node:
    spatial = (1,) * (node.meta["val"].ndim - 2)
    by, plus = (
        _buffer(module, f"{node.name}_{i}", x.detach().reshape(-1, *spatial)) for i, x in enumerate((scale, shift))
    )
    scaled = module.graph.call_function(aten.mul.Tensor, (source, by))
    return module.graph.call_function(aten.add.Tensor, (scaled, plus))


def _tensor(module: fx.GraphModule, argument: Any) -> Tensor | None:
    """The parameter or buffer behind a graph's argument."""
    if not isinstance(argument, fx.Node) or argument.op != "get_attr":
        return None
    found = module
    for part in str(argument.target).split("."):
        found = getattr(found, part)
    return found if isinstance(found, Tensor) else None


def _buffer(module: fx.GraphModule, name: str, value: Tensor) -> fx.Node:
    module.register_buffer(f"folded_{name}", value)
    return module.graph.get_attr(f"folded_{name}")
