"""The form in which a network runs: its number format and memory layout. Inputs are brought into it at the entrance."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from offramp.backbones import map_tensors
from offramp.errors import InputError
from offramp.exit_model import ExitModel
from offramp.segments import Entrance

DTYPES = (torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Form:
    """What is changed about a network before it runs. The gate computes in fp32 all the same, see `Policy.score`.

    Attributes:
        dtype: of weights and activations; None leaves them.
        channels_last: whether images (4-D tensors) are laid out with their channels last, which most CPUs and GPUs
            convolve faster.
    """

    dtype: torch.dtype | None = None
    channels_last: bool = False

    def __post_init__(self) -> None:
        if self.dtype is not None and self.dtype not in DTYPES:
            raise InputError(
                f"deploy(dtype={self.dtype}): allowed are {', '.join(map(str, DTYPES))}, or None to leave the model's."
            )

    @property
    def changes(self) -> bool:
        """Whether anything is changed."""
        return self.dtype is not None or self.channels_last

    def model(self, model: ExitModel) -> ExitModel:
        """A copy of the model in this form; the model itself where nothing is changed."""
        if not self.changes:
            return model
        formed = copy.deepcopy(model)
        if self.dtype is not None:
            formed = formed.to(self.dtype)
        if self.channels_last:
            for parameter in formed.parameters():
                if parameter.ndim == 4:
                    parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        return formed

    def inputs(self, inputs: Any) -> Any:
        """The same inputs in this form; nothing is copied where they have it."""
        if not self.changes:
            return inputs
        return self.tensor(inputs) if isinstance(inputs, Tensor) else map_tensors(self.tensor, inputs)

    def tensor(self, tensor: Tensor) -> Tensor:
        """One tensor in this form."""
        if self.dtype is not None and tensor.is_floating_point():
            tensor = tensor.to(self.dtype)
        if self.channels_last and tensor.ndim == 4:
            tensor = tensor.contiguous(memory_format=torch.channels_last)
        return tensor


@dataclass(frozen=True, eq=False)
class FormingEntrance(Entrance):
    """An entrance that brings inputs into the network's form, then checks them.

    Attributes:
        form: of the network.
    """

    form: Form = Form()

    @classmethod
    def into(cls, model: ExitModel, form: Form) -> Self:
        """The entrance of a model that has this form."""
        plain = Entrance.of(model)
        return cls(plain.signature, plain.sources, plain.device, form)

    def tensors(self, inputs: Any) -> list[Tensor]:
        """See `Entrance`."""
        return super().tensors(self.form.inputs(inputs))
