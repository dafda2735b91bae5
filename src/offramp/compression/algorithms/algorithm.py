"""The contract of a compression algorithm: its settings, and the compressor that works on a model.

An *algorithm* is a frozen dataclass of settings, registered by its name in configurations. Its `apply` changes a
model in place and gives the *compressor*, which moves the rate along a schedule, adds its loss, and says what it has
achieved. Loops see compressors only through `offramp.compression.controller`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, ClassVar, TypeVar

from torch import Tensor, nn

from offramp.compression.settings import SettingsError, described, place, problems, setting
from offramp.errors import CompressionError
from offramp.registry import Registry


class Stage(IntEnum):
    """How far a compressor has come with what it was asked for; only fully compressed epochs can be the best."""

    UNCOMPRESSED = 0
    PARTLY = 1
    FULLY = 2


@dataclass(frozen=True)
class Workshop:
    """What an algorithm may use when it is applied, beside the model.

    Attributes:
        example: inputs of one batch, as the model takes them: a tensor, a tuple of positional or a dict of named ones.
        data: batches of `(inputs, labels)` for initialisation; may be iterated again and again; None where there are
            none, and an algorithm that needs some then raises CompressionError.
        loss: of the model's outputs and the labels, for algorithms that train while they initialise; None: none given.
        original: the model before any compression, in evaluation mode, its own weights: the teacher. Never change it.
        seed: of everything random in the initialisation.
    """

    example: Any
    original: nn.Module
    data: Iterable[Any] | None = None
    loss: Callable[[Any, Tensor], Tensor] | None = None
    seed: int = 0


@dataclass(frozen=True)
class Statistics:
    """What a compressor was asked for, and what the model has now.

    Attributes:
        nominal: rate asked for, a share in [0, 1]; None where the algorithm has no rate (quantization, distillation).
        achieved: the same quantity measured on the model as it is now; None likewise.
        layers: achieved rate of each layer it works on, by module name.
        details: further numbers by name, e.g. {"macs": 0.43, "parameters": 0.38} as shares taken away.
    """

    nominal: float | None
    achieved: float | None
    layers: Mapping[str, float] = field(default_factory=dict)
    details: Mapping[str, float] = field(default_factory=dict)


class Compressor(ABC):
    """One algorithm at work on one model.

    Everything that belongs to the weights (masks, scales, mask logits) lives in the model's state dict;
    `state_dict` holds the rest: counters of the schedule, frozen rates. A compressor refers to modules by name, so that
    it can also strip a copy of its model, and it can be deep-copied together with the model.
    One that follows a `Schedule` keeps it in the attribute `schedule`.
    """

    maximal_rate: float = 1.0
    """Highest rate that can be achieved on this model; `apply` finds out."""

    @property
    @abstractmethod
    def stage(self) -> Stage:
        """How far the schedule has come; FULLY once `set_rate` was called."""

    @abstractmethod
    def statistics(self) -> Statistics:
        """Asked for and achieved; measured now, changes nothing."""

    def epoch_step(self, epoch: int) -> None:  # noqa: B027 - most algorithms without a schedule do nothing
        """Moves the schedule to the epoch (from 0) that is about to be trained."""

    def step(self) -> None:  # noqa: B027 - as above
        """Called before every optimizer step."""

    def loss(self) -> Tensor | float:
        """What is to be added to the loss of the model's latest forward pass in training mode."""
        return 0.0

    def set_rate(self, rate: float) -> None:
        """Sets the rate, a share from 0 to `maximal_rate`; from then on the schedule does not move it.

        Raises:
            CompressionError: the algorithm has no rate.
        """
        raise CompressionError(f"{type(self).__name__} has no rate that could be set to {rate}.")

    def bake(self, model: nn.Module) -> None:  # noqa: B027 - distillation has nothing to bake
        """Makes the compressed values permanent in `model` and takes the algorithm's wrapping off.

        Args:
            model: the one it was applied to, or a copy with the same names. The last compressor applied bakes first.
        """

    def shrink(self, model: nn.Module) -> nn.Module:
        """Makes a model smaller after all compressors have baked it: channels go, integers come. In order of applying.

        Returns:
            `model`, changed, or another module.
        """
        return model

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Plain data and tensors: all that the model's state dict does not hold."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`, into a compressor of the same algorithm on the same model."""


@dataclass(frozen=True, kw_only=True)
class Algorithm(ABC):
    """Settings of a way to compress; members are frozen, keyword-only dataclasses whose fields are made by `setting`.

    Args:
        ignored_scopes: modules that are left as they are, see `offramp.compression.scopes`.
        target_scopes: the only modules that are compressed; empty for all.

    Raises:
        CompressionError: a setting is impossible; all are named at once.
    """

    order: ClassVar[int] = 0
    """Place among combined algorithms: prune 10, sparsify 20, low rank 5, quantize and binarize 30, distil 40."""
    refuses: ClassVar[frozenset[str]] = frozenset()
    """Names of algorithms with which it cannot be combined; named by one of the two is enough."""
    rate_can_be_searched: ClassVar[bool] = False
    """Whether loops may set its rate."""

    ignored_scopes: tuple[str, ...] = setting((), at="ignored_scopes")
    target_scopes: tuple[str, ...] = setting((), at="target_scopes")

    def __post_init__(self) -> None:
        # Relations between fields make sense only once each field does.
        found = list(problems(self)) or list(self.conflicts())
        if found:
            raise SettingsError(type(self), found)

    @abstractmethod
    def apply(self, model: nn.Module, workshop: Workshop) -> Compressor:
        """Changes the model in place so that it is trained and evaluated compressed.

        Raises:
            CompressionError: there is nothing in the model that it could compress, or something it needs is missing.
        """

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Field and problem wherever settings that are fine alone do not go together."""
        return iter(())

    @property
    def target_rate(self) -> float | None:
        """Rate at the end of its schedule; None where it has no rate."""
        return None

    @property
    def batch_norm_samples(self) -> int:
        """Samples with which batch-norm statistics are adapted after compressing; 0 for not at all."""
        return 0

    def places(self) -> dict[str, str]:
        """Where each field stands in a configuration, by its name."""
        return {name: place(name, about) for name, (about, _) in described(type(self)).items()}


ALGORITHMS: Registry[type[Algorithm]] = Registry("compression algorithm", CompressionError)

Member = TypeVar("Member", bound=type[Algorithm])


def register(member: Member) -> Member:
    """Class decorator that files an algorithm under its name in snake case, which is its name in configurations."""
    ALGORITHMS.register(member)
    return member
