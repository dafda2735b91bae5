"""What is exported: a model under a policy, divided into segments, and how its inputs are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from offramp.errors import ExportError
from offramp.exit_model import Arrival, ExitModel
from offramp.policy import Policy
from offramp.runtimes import EagerRuntime, StagedRuntime
from offramp.segments import Entrance, Plan, Segment, segments_of


@dataclass(frozen=True)
class InputSpec:
    """One batched input, as a consumer without offramp must pass it.

    Attributes:
        name: "input", the name of a named input, or "input_0", "input_1", ...
        shape: of one row.
        dtype: e.g. "float32".
    """

    name: str
    shape: tuple[int, ...]
    dtype: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "shape": ["rows", *self.shape]}


@dataclass(frozen=True, eq=False)
class Subject:
    """A model under a policy.

    Attributes:
        model: in evaluation mode.
        plan: the policy, laid out.
        segments: one per stop.
        entrance: checks and flattens inputs.
        class_names: one per class, or None.
    """

    model: ExitModel
    plan: Plan
    segments: tuple[Segment, ...]
    entrance: Entrance
    class_names: tuple[str, ...] | None

    @classmethod
    def of(cls, model: ExitModel, policy: Policy, class_names: Sequence[str] | None) -> Subject:
        """Divides a model, which is set to evaluation mode.

        Raises:
            ExportError: another number of class names than of classes.
            PolicyError: the policy is for another number of exits.
            CutError: the model has no stages.
        """
        if class_names is not None and len(class_names) != model.num_classes:
            raise ExportError(
                f"export(class_names=...) has {len(class_names)} names, the model {model.num_classes} classes: give "
                "one name per class, or none at all."
            )
        plan = Plan.of(model.eval(), policy)
        names = None if class_names is None else tuple(class_names)
        return cls(model, plan, segments_of(model, plan), Entrance.of(model), names)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the cuts at the stops."""
        return tuple(segment.name for segment in self.segments)

    @cached_property
    def inputs(self) -> tuple[InputSpec, ...]:
        """The batched inputs, in the order in which the first segment takes them."""
        signature = self.entrance.signature
        names = _names(signature.unflatten(list(signature.leaves)))
        batched = [(names[i], signature.leaves[i]) for i in self.entrance.sources if signature.has_rows[i]]
        return tuple(InputSpec(name, tuple(x.shape[1:]), str(x.dtype).removeprefix("torch.")) for name, x in batched)

    def pack(self, leaves: Sequence[Any]) -> Any:
        """Inputs as a caller passes them, from their flat list."""
        args, kwargs = self.entrance.signature.unflatten(list(leaves))
        return kwargs or args

    def eager(self) -> EagerRuntime:
        """The runtime that an export must agree with."""
        return EagerRuntime(self.model, self.plan.policy)

    def staged(self, plan: Plan) -> StagedRuntime:
        """The same model under other thresholds."""
        return StagedRuntime(plan, self.segments, self.names, self.entrance, "eager")

    @torch.no_grad()
    def scores(self, inputs: Any, stops: int | None = None) -> list[Tensor]:
        """Scores `[n]` of all rows at the stops, the last excepted; what lies behind does not run.

        Args:
            inputs: as for the runtime.
            stops: only at so many, from the earliest on.
        """
        early = self.plan.stops[:-1][:stops]
        scores: list[Tensor] = []
        earlier: list[Tensor] = []

        def visit(arrival: Arrival) -> Tensor | None:
            if arrival.exit in early:
                logits = arrival.logits()
                scores.append(self.plan.policy.score(arrival.exit, logits, earlier))
                if self.plan.uses_earlier:
                    earlier.append(logits)
            nobody = torch.empty(0, dtype=torch.long, device=self.entrance.device)
            return nobody if arrival.exit == early[-1] else None

        if early:
            self.model.traverse(inputs, visit)
        return scores


def _names(inputs: tuple[tuple[Any, ...], dict[str, Any]]) -> list[str]:
    paths = [path for path, _ in pytree.tree_flatten_with_path(inputs)[0]]
    positional = sum(_place(path) == 0 for path in paths)
    return [_name(path, alone=positional == 1) for path in paths]


def _name(path: Sequence[Any], alone: bool) -> str:
    inner = [_step(key) for key in path[1:]]
    if _place(path) == 1:
        return ".".join(inner)
    return "input" if alone else "_".join(["input", *inner])


def _place(path: Sequence[Any]) -> int:
    """0 for a positional input, 1 for a named one."""
    return int(_step(path[0]))


def _step(key: Any) -> str:
    return str(next(getattr(key, name) for name in ("idx", "key", "name") if hasattr(key, name)))
