"""Inductor, the compiler behind torch.compile, in this process: one graph per segment, for every number of rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from offramp.runtimes.inductor import OPTIONS, compiling, folded, laid_out, require_compiler
from offramp.segments import Segment


def lower(segments: Sequence[Segment]) -> list[Callable[..., Sequence[Tensor]]]:
    """A compiled function for each segment.

    What is compiled is the exported program, ahead of the first call: there is no Python left to guard on, and so
    nothing that could make a second graph, or drop the first one.

    Raises:
        MissingExtraError: there is no C++ compiler, which is needed on a CPU.
        ExportError: a segment cannot be captured or compiled.
    """
    require_compiler("compile", segments[0].example[0].device)
    return [_compiled(segment) for segment in segments]


def _compiled(segment: Segment) -> Callable[..., Sequence[Tensor]]:
    program, layouts = folded(segment)
    graph: Any = program.module(check_guards=False)
    nodes = list(graph.graph.nodes)
    for node in pytree.arg_tree_leaves(*nodes[-1].args):
        # Here the compiler looks for the symbol that stands for the number of rows.
        node.meta["example_value"] = node.meta["val"]
    inputs = [node.meta["val"] for node in nodes if node.op == "placeholder"]
    with torch.no_grad(), compiling(segment, "Inductor"):
        code: Any = torch._inductor.standalone_compile(graph, inputs, options={"config_patches": OPTIONS})

    def run(*tensors: Tensor) -> Sequence[Tensor]:
        found: Sequence[Tensor] = code(*laid_out(layouts, tensors))
        return found

    return run
