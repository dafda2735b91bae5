"""All segments as one graph that takes the exits itself: a call of the runtime is one call of the backend.

Between programs of segments a batch is handed out and in again, threads fall asleep and are woken, and every carry gets
new memory. None of that is left where one program runs from the inputs to the decisions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch

from offramp.decisions import Decisions
from offramp.errors import ExportError, StageError
from offramp.lowering import OnnxSegment
from offramp.runtimes.backends.check import Deciding
from offramp.runtimes.runtime import Runtime
from offramp.runtimes.staged import StagedRuntime

IN_ONE_GRAPH = ("onnxruntime",)
"""Backends that run such graphs."""
LARGEST = 2**31 - 2**20
"""Bytes: a protobuf message ends at 2 GiB; the weights of larger models go into a file beside it."""


class OneGraphRuntime(Runtime):
    """A runtime over one graph. Streams, which run stage by stage, use the programs of the segments.

    Args:
        graph: takes the exits of the staged runtime's plan.
        staged: the same network, segment by segment.
    """

    def __init__(self, graph: Deciding, staged: StagedRuntime) -> None:
        self.plan = staged.plan
        self.backend = staged.backend
        self.graph = graph
        self._staged = staged

    @torch.no_grad()
    def __call__(self, inputs: Any) -> Decisions:
        """See `Runtime`."""
        tensors = self._staged.entrance.tensors(inputs)
        try:
            logits, exits = self.graph(*tensors)
        except Exception as error:
            raise StageError.of(self._failed(error), len(tensors[0]), error) from error
        return self.plan.decisions(logits, exits)

    def staged(self) -> StagedRuntime:
        """See `Runtime`."""
        return self._staged

    def _failed(self, error: Exception) -> str:
        """Name of the cut that ends the failed stage: the names of its nodes begin with its number."""
        found = re.search(r"\bs(\d+)[/@]", str(error))
        return self._staged.names[int(found[1]) if found else -1]


def in_one_graph(staged: StagedRuntime, parts: Sequence[OnnxSegment]) -> Runtime:
    """One graph of the models of the segments, under ONNX Runtime; the staged runtime itself where it were too large.

    Args:
        staged: over the same segments.
        parts: one per stop.

    Raises:
        ExportError: ONNX Runtime refuses the graph.
    """
    from offramp.runtimes.backends.onnxruntime import session, session_program
    from offramp.runtimes.branching import branching_model

    models = [part.model for part in parts]
    if sum(model.ByteSize() for model in models) > LARGEST:
        return staged
    inputs = [value.name for value in models[0].graph.input]
    model = branching_model(models, staged.plan, inputs, {})
    try:
        return OneGraphRuntime(session_program(session(model.SerializeToString())), staged)
    except Exception as error:  # it raises kinds of its own
        raise ExportError(
            f"backend='{staged.backend}' cannot load the graph of all stages ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:300]}). Use another backend; 'eager' runs every model."
        ) from error
