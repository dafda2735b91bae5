"""Recordings: the logits of every exit on a data set, from which everything offline is computed.

`record` runs the model once; `simulate` then answers, for any policy and without the model, what taking the
exits would give.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from offramp.cost import Cost
from offramp.decisions import Decisions
from offramp.documents import DocumentKind
from offramp.errors import FileFormatError, RecordingError
from offramp.policy import Policy

if TYPE_CHECKING:
    from offramp.exit_model import ExitModel

KIND = DocumentKind("offramp.recording", 1, "recording", "Write one with Recording.save.")


@dataclass(frozen=True, eq=False)
class Recording:
    """Logits of every exit on every sample, with labels and costs.

    Args:
        logits: `[exits, n, classes]`, finite, earliest exit first, the backbone's own output last.
        labels: `[n]` int64 class indices, or None where there are none (goals that need none say so).
        macs: `[exits]`, multiply-accumulates of a sample that leaves there, **with every head passed on the way**.
        head_macs: `[exits - 1]`, the share of `macs` that each early head costs; a policy that closes an exit saves
            its head. Zeros when unknown.
        meta: split, seed, device, model: shown beside every number that comes from this recording.

    Example:
        >>> r = Recording(logits=[[[2.0, 0.0]], [[0.0, 1.0]]], labels=[1], macs=[10, 30])
        >>> r.exits, r.samples, r.classes, r.plain_macs
        (2, 1, 2, 30.0)
    """

    logits: Tensor
    labels: Tensor | None
    macs: tuple[float, ...]
    head_macs: tuple[float, ...] = ()
    meta: dict[str, Any] = field(default_factory=dict)

    def __init__(
        self,
        logits: Any,
        labels: Any | None,
        macs: Sequence[float],
        head_macs: Sequence[float] = (),
        meta: dict[str, Any] | None = None,
    ) -> None:
        wide = torch.as_tensor(logits)
        if not wide.is_floating_point() or wide.dtype.itemsize < 4:
            wide = wide.float()
        object.__setattr__(self, "logits", wide.detach().cpu())
        object.__setattr__(self, "labels", None if labels is None else torch.as_tensor(labels).detach().cpu())
        object.__setattr__(self, "macs", tuple(float(m) for m in macs))
        object.__setattr__(self, "head_macs", tuple(float(m) for m in head_macs))
        object.__setattr__(self, "meta", dict(meta or {}))
        self._check_logits()
        self._check_labels()
        self._check_costs()
        if not self.head_macs:
            object.__setattr__(self, "head_macs", (0.0,) * (self.exits - 1))

    def _check_logits(self) -> None:
        if self.logits.ndim != 3 or 0 in self.logits.shape:
            raise RecordingError(
                f"Recording(logits=...) has the shape {list(self.logits.shape)}; it must be [exits, n, classes] "
                "with at least one of each."
            )
        # The extremes first: they take no memory of the logits' size, and are finite where all is well.
        if not all(bound.isfinite() for bound in self.logits.aminmax()):
            bad = ~self.logits.isfinite()
            exit, row, _ = bad.nonzero()[0].tolist()
            value = self.logits[exit, row][bad[exit, row]][0].item()
            raise RecordingError(
                f"Recording(logits=...) holds {int(bad.sum())} values that are not finite; the first is {value} at "
                f"exit {exit}, sample {row}. Look for a diverged training or for inputs with NaN."
            )

    def _check_labels(self) -> None:
        if self.labels is None:
            return
        if self.labels.is_floating_point() or self.labels.shape != (self.samples,):
            raise RecordingError(
                f"Recording(labels=...) must be {self.samples} class indices, one per sample; got shape "
                f"{list(self.labels.shape)} and {self.labels.dtype}."
            )
        object.__setattr__(self, "labels", self.labels.long())
        out = (self.labels < 0) | (self.labels >= self.classes)
        if out.any():
            row = int(out.nonzero()[0])
            raise RecordingError(
                f"Label {int(self.labels[row])} of sample {row} is out of range: the logits have {self.classes} "
                f"classes, so labels are 0 to {self.classes - 1} ({int(out.sum())} samples are out of range)."
            )

    def _check_costs(self) -> None:
        if len(self.macs) != self.exits:
            raise RecordingError(
                f"Recording(macs=...) has {len(self.macs)} costs for {self.exits} exits; give one per exit."
            )
        if any(not (0 < m < float("inf")) for m in self.macs) or sorted(self.macs) != list(self.macs):
            raise RecordingError(
                f"Recording(macs={list(self.macs)}): they are cumulative: positive, finite, never falling."
            )
        if self.head_macs and (
            len(self.head_macs) != self.exits - 1 or any(not (0 <= m < float("inf")) for m in self.head_macs)
        ):
            raise RecordingError(
                f"Recording(head_macs={list(self.head_macs)}): give one cost of at least 0 per early exit "
                f"({self.exits - 1})."
            )

    @property
    def exits(self) -> int:
        """Number of exits, the backbone's own output included."""
        return int(self.logits.shape[0])

    @property
    def samples(self) -> int:
        """Number of samples."""
        return int(self.logits.shape[1])

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(self.logits.shape[2])

    @property
    def cost(self) -> Cost:
        """The costs as one value."""
        return Cost(self.macs, self.head_macs)

    @property
    def plain_macs(self) -> float:
        """MACs of the plain network: to the last exit, without any early head."""
        return self.cost.plain

    @property
    def correct(self) -> Tensor:
        """`[exits, n]` bool: whether each exit's prediction equals the label.

        Raises:
            RecordingError: the recording has no labels.
        """
        return self.predictions == self.required_labels

    @property
    def predictions(self) -> Tensor:
        """`[exits, n]` int64: each exit's class with the largest logit."""
        return self.logits.argmax(dim=-1)

    @property
    def required_labels(self) -> Tensor:
        """The labels, or an error where there are none."""
        if self.labels is None:
            raise RecordingError("This needs labels, and the recording has none: record a labelled split.")
        return self.labels

    def answers(self, policy: Policy) -> Tensor:
        """`[exits, n, classes]`: what each exit would answer; its logits, unless the criterion combines exits."""
        if not policy.criterion.combines:
            return self.logits
        return torch.stack([policy.answer(k, own, self.logits[:k].unbind()) for k, own in enumerate(self.logits)])

    def costs(self, policy: Policy) -> Tensor:
        """`[exits]` float64: MACs of a sample leaving at each exit under this policy, heads it never runs left out."""
        return self.cost.under(policy.heads_needed(self.exits - 1))

    def take(self, rows: Tensor) -> Recording:
        """The recording of some samples, by index or mask `[n]`."""
        return self._with(self.logits[:, rows], None if self.labels is None else self.labels[rows])

    def split(self, share: float, seed: int = 0) -> tuple[Recording, Recording]:
        """Two disjoint random parts; the first gets this share of the samples."""
        first = round(share * self.samples)
        if not 0 < first < self.samples:
            raise RecordingError(f"split({share}) of {self.samples} samples leaves one part empty.")
        order = torch.randperm(self.samples, generator=torch.Generator().manual_seed(seed))
        return self.take(order[:first]), self.take(order[first:])

    def _with(self, logits: Tensor, labels: Tensor | None) -> Recording:
        return Recording(logits, labels, self.macs, self.head_macs, self.meta)

    def save(self, path: str | Path) -> None:
        """Writes one safetensors file with costs and `meta` in its header.

        Raises:
            FileFormatError: it cannot be written there, or `meta` is no plain data.
        """
        header = KIND.stamp({"macs": self.macs, "head_macs": self.head_macs, "meta": self.meta})
        tensors = {"logits": self.logits.contiguous()}
        if self.labels is not None:
            tensors["labels"] = self.labels
        try:
            safetensors.torch.save_file(tensors, str(path), metadata={"offramp": json.dumps(header)})
        except (OSError, TypeError, safetensors.SafetensorError) as error:
            raise FileFormatError(
                f"The recording cannot be written to {path} ({error}). Choose a folder you can write to, and keep to "
                "numbers, strings, lists and dicts in meta."
            ) from error

    @classmethod
    def load(cls, path: str | Path) -> Recording:
        """Reads what `save` wrote.

        Raises:
            FileFormatError: missing, damaged, no recording, or written by a newer version.
        """
        try:
            with safetensors.safe_open(str(path), framework="pt") as file:
                header = json.loads((file.metadata() or {}).get("offramp", "{}"))
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except FileNotFoundError as error:
            raise FileFormatError(f"There is no recording {path}. Write one with Recording.save.") from error
        except (OSError, ValueError, safetensors.SafetensorError) as error:
            raise KIND.damaged(path, error) from error
        header = KIND.check(header, path)
        try:
            return cls(tensors["logits"], tensors.get("labels"), header["macs"], header["head_macs"], header["meta"])
        except KeyError as error:
            raise KIND.damaged(path, error) from error


def simulate(recording: Recording, policy: Policy) -> Decisions:
    """What `deploy(model, policy)` would decide on the recorded samples, computed from the recording alone.

    Raises:
        PolicyError: the policy is for another number of exits or classes.
    """
    early = recording.exits - 1
    policy.check(early, recording.classes)
    thresholds = policy.thresholds_for(early)
    exits = torch.full((recording.samples,), early)
    for k in reversed(range(early)):
        if thresholds[k] == float("inf"):
            continue
        exits[policy.leaves(k, thresholds[k], recording.logits[k], recording.logits[:k].unbind())] = k
    logits = recording.answers(policy)[exits, torch.arange(recording.samples)]
    return Decisions(
        logits=logits,
        exits=exits,
        exit_count=recording.exits,
        macs=recording.costs(policy)[exits],
        levels=policy.levels(logits, exits),
    )


def unpack(batch: Any) -> tuple[Any, Tensor | None]:
    """Splits a loader's batch into the model's inputs and the labels.

    `(inputs, labels)`, `(input_1, ..., input_k, labels)`, and dicts with a key "labels" or "label" are understood;
    a bare tensor is inputs without labels.
    """
    if isinstance(batch, Tensor):
        return batch, None
    if isinstance(batch, dict):
        named = dict(batch)
        labels = named.pop("labels", named.pop("label", None))
        return named, labels
    if isinstance(batch, list | tuple) and len(batch) >= 2:
        *inputs, labels = batch
        return (inputs[0] if len(inputs) == 1 else tuple(inputs)), labels
    raise RecordingError(
        f"A loader's batch must be (inputs, labels), a dict with 'labels', or a tensor; got {type(batch).__name__}."
    )


def record(model: ExitModel, loader: Iterable[Any], meta: dict[str, Any] | None = None) -> Recording:
    """Runs every exit on every batch of `loader`, in evaluation mode and without gradients.

    Args:
        model: from `attach`; its training mode is restored afterwards.
        loader: batches of `(inputs, labels)`, see `unpack`.
        meta: what to remember about the data, e.g. `{"split": "calibration", "seed": 0}`.

    Raises:
        RecordingError: the loader is empty, labels are out of range, logits are not finite.
    """
    logits: list[Tensor] = []
    labels: list[Tensor] = []
    batches = 0
    with model.evaluating(), torch.no_grad():
        for batch in loader:
            inputs, target = unpack(batch)
            batches += 1
            logits.append(torch.stack([exit.float().cpu() for exit in model(model.to_own_device(inputs))]))
            if target is not None:
                labels.append(torch.as_tensor(target).cpu())
    if not batches:
        raise RecordingError("record(loader=...) got no batch: the loader is empty. Check the split and drop_last.")
    return Recording(
        logits=torch.cat(logits, dim=1),
        labels=torch.cat(labels) if labels else None,
        macs=model.cost.macs,
        head_macs=model.cost.head_macs,
        meta={"device": str(model.device), **(meta or {})},
    )
