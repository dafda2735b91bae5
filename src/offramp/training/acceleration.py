"""Device, precision and processes: the only place that knows how accelerate is set up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState
from accelerate.utils import DistributedDataParallelKwargs, broadcast
from accelerate.utils.environment import get_cpu_distributed_information
from torch import nn

from offramp.errors import TrainingError
from offramp.training.options import TrainingOptions

MIXED = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


def launched() -> bool:
    """Whether this is one of several processes, started by `accelerate launch`, torchrun or MPI."""
    return int(get_cpu_distributed_information().world_size) > 1


@contextmanager
def accelerator_for(options: TrainingOptions) -> Iterator[Accelerator]:
    """An Accelerator for these options; what the process had set up for accelerate before is put back afterwards.

    accelerate keeps device and precision in process-wide singletons, which would tie all runs of a process to the
    choices of the first. The process group of a launched run is shared and stays.

    Raises:
        TrainingError: the device is not there, or cannot do the precision.
    """
    holders = (AcceleratorState, GradientState) if launched() else (PartialState, AcceleratorState, GradientState)
    kept = [dict(holder._shared_state) for holder in holders]
    try:
        _replace_states(holders, [{} for _ in holders])
        device = _checked_device(options.device)
        on_cpu = device is not None and device.type == "cpu"
        state = PartialState(cpu=on_cpu)
        if device is not None and not on_cpu:
            state.device = device
        precision = _precision(options.precision, state.device)
        yield Accelerator(cpu=on_cpu, mixed_precision=MIXED[precision])
    finally:
        _replace_states(holders, kept)


def _replace_states(holders: Iterable[Any], states: Iterable[dict[str, Any]]) -> None:
    for holder, state in zip(holders, states, strict=True):
        holder._shared_state.clear()
        holder._shared_state.update(state)


def _checked_device(wanted: str | torch.device) -> torch.device | None:
    """The device asked for, None where accelerate is to choose."""
    if wanted == "auto":
        return None
    device = torch.device(wanted)
    if device.type == "cpu":
        return device
    if launched():
        raise TrainingError(
            f"fit(device='{device}'): in a launched run each process is given its device; leave device='auto'."
        )
    there = torch.accelerator.current_accelerator(check_available=True)
    count = torch.accelerator.device_count()
    if there is None or there.type != device.type or (device.index or 0) >= count:
        have = "none" if there is None else f"{count} of type '{there.type}'"
        raise TrainingError(
            f"fit(device='{device}'): there is no such device here (accelerators: {have}). Use device='auto' or 'cpu'."
        )
    return device


def _precision(wanted: str, device: torch.device) -> str:
    if wanted == "fp16" and device.type == "cpu":
        raise TrainingError("fit(precision='fp16') needs a GPU; on the CPU use 'fp32', or 'bf16' to try it out.")
    if wanted != "auto":
        return wanted
    if device.type != "cuda":
        return "fp32"
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


def precision_of(accelerator: Accelerator) -> str:
    """The precision an accelerator runs in: "fp32", "bf16" or "fp16"."""
    return next(name for name, mixed in MIXED.items() if mixed == accelerator.mixed_precision)


def gradient_scaler(accelerator: Accelerator) -> torch.amp.GradScaler:
    """Scales the loss so that fp16 gradients do not vanish; passes everything through in other precisions."""
    return accelerator.scaler or torch.amp.GradScaler(accelerator.device.type, enabled=False)


class Shell(nn.Module):
    """Holds the model while it trains, because accelerate replaces the `forward` of what it prepares.

    Were that the user's own module, it could no longer be copied or pickled. The loss is in it too where it has
    parameters, so that several processes agree on their gradients.
    """

    def __init__(self, model: nn.Module, losses: nn.Module | None = None) -> None:
        super().__init__()
        self.model = model
        self.losses = losses

    def forward(self, inputs: Any) -> Any:
        """The model's own."""
        return self.model(inputs)


def prepare(shell: Shell, accelerator: Accelerator, seeks_unused: bool) -> nn.Module:
    """The shell as one process of many trains it.

    Args:
        shell: whose parameters are frozen and thawed as the phase wants them.
        accelerator: knows the processes.
        seeks_unused: whether there are steps in which a parameter gets no gradient.
    """
    if accelerator.num_processes > 1:
        # Wrapped modules of earlier phases would go on reducing gradients that no longer concern them.
        accelerator.free_memory()
        accelerator.ddp_handler = DistributedDataParallelKwargs(find_unused_parameters=seeks_unused)
    prepared: nn.Module = accelerator.prepare_model(shell)
    return prepared


def share_buffers(model: nn.Module, accelerator: Accelerator) -> None:
    """Gives all processes the main one's buffers: batch statistics drift apart between them, gradients do not."""
    if accelerator.num_processes > 1:
        with torch.no_grad():
            for buffer in model.buffers():
                buffer.copy_(broadcast(buffer, from_process=0))
