"""The way in: from what a caller passes to the batched tensors that the first segment takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from offramp.backbones import Signature, describe
from offramp.errors import InputError
from offramp.exit_model import ExitModel


@dataclass(frozen=True, eq=False)
class Entrance:
    """Checks inputs against the example that the segments were made with.

    Attributes:
        signature: of the model's inputs.
        sources: which of the flat inputs the first segment takes, in its order.
        device: where the segments run.
    """

    signature: Signature
    sources: tuple[int, ...]
    device: torch.device

    @classmethod
    def of(cls, model: ExitModel) -> Entrance:
        """The entrance of a model that is cut into stages."""
        return cls(model.signature, model.chain().sources, model.device)

    def tensors(self, inputs: Any) -> list[Tensor]:
        """The batched tensors for the first segment.

        Raises:
            InputError: other structure, shape, type or constants than the example's, an empty batch, another device.
        """
        leaves = self.signature.flatten(inputs)
        for value, known, has in zip(leaves, self.signature.leaves, self.signature.has_rows, strict=True):
            if isinstance(value, Tensor):
                self._check(value, known, has)
        return [leaves[i] for i in self.sources if self.signature.has_rows[i]]

    def _check(self, value: Tensor, known: Tensor, has_rows: bool) -> None:
        if value.device != self.device:
            raise InputError(
                f"An input is {describe(value)}, the runtime is on {self.device}: move it there with .to({self.device})"
            )
        if has_rows and value.shape[1:] != known.shape[1:]:
            raise InputError(
                f"An input is {describe(value)}; the runtime was built for rows of shape {list(known.shape[1:])}. "
                "Resize or pad the input, or attach and deploy again with an example of the new shape."
            )
        if not has_rows and not (value.shape == known.shape and torch.equal(value.cpu(), known)):
            raise InputError(
                f"An input without a batch dimension differs from the one the runtime was built with "
                f"({describe(known)}): deploy again with the new one, or use the eager backend."
            )
