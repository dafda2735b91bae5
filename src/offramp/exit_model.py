"""`attach` gives a model exits; the `ExitModel` it returns trains through the user's module and runs in stages."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from offramp import backbones
from offramp.backbones import Division, Signature, Stage, final_logits
from offramp.cost import Cost, counting_macs
from offramp.errors import AttachError, InputError
from offramp.heads import Head, build_heads

__all__ = ["Arrival", "ExitModel", "attach", "final_logits"]


class ExitModel(nn.Module):
    """A backbone with exit heads. Made by `attach`.

    `forward` runs the backbone once, as its author wrote it, and collects the logits of every exit: for training and
    recording. `traverse` runs the cut stages one after the other on the rows still wanted: for taking exits. Both
    share every parameter. The stages are derived, never saved or copied.

    Attributes:
        backbone: the user's module, unchanged.
        heads: one module per cut.
        cuts: names of the submodules behind which the exits are, in the order of running.
        num_classes: number of logits of every exit.
        cost: MACs of one row by exit.
    """

    def __init__(
        self,
        backbone: nn.Module,
        cuts: Sequence[str],
        heads: Sequence[nn.Module],
        signature: Signature,
        num_classes: int,
        chain: Division | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.heads = nn.ModuleList(heads)
        self.cuts = tuple(cuts)
        self.signature = signature
        self.num_classes = num_classes
        self._chain = chain
        self.cost = self._count_cost()

    @property
    def exits(self) -> int:
        """Number of exits, the backbone's own output included."""
        return len(self.cuts) + 1

    @property
    def device(self) -> torch.device:
        """Device of the backbone's parameters."""
        return backbones.device_of(self.backbone)

    def forward(self, *args: Any, **kwargs: Any) -> list[Tensor]:
        """Logits of every exit.

        Args:
            *args: the backbone's own arguments, or one tuple or dict that holds them.
            **kwargs: the backbone's own named arguments.

        Returns:
            A list of `[n, classes]`, earliest exit first, the backbone's own output last.
        """
        if len(args) == 1 and not kwargs:
            args, kwargs = backbones.arguments(args[0])
        logits: dict[int, Tensor] = {}
        with self._collecting(logits):
            output = self.backbone(*args, **kwargs)
        missing = [name for k, name in enumerate(self.cuts) if k not in logits]
        if missing:
            raise InputError(
                f"The cuts {missing} did not run for these inputs; they ran for the example given to attach."
            )
        return [*(logits[k] for k in range(len(self.cuts))), final_logits(output)]

    @contextmanager
    def _collecting(self, logits: dict[int, Tensor]) -> Iterator[None]:
        """Runs the heads right when their cuts return, before anything behind can change the tensor in place."""
        thread = threading.get_ident()

        def hook(k: int) -> Callable[[nn.Module, Any, Any], None]:
            def run(module: nn.Module, inputs: Any, output: Any) -> None:
                # Another thread's forward pass also triggers this hook; its values are not ours.
                if threading.get_ident() == thread:
                    logits[k] = self.logits_at(k, output)

            return run

        handles = [self.backbone.get_submodule(n).register_forward_hook(hook(k)) for k, n in enumerate(self.cuts)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def logits_at(self, exit: int, features: Any) -> Tensor:
        """Logits `[n, classes]` of an exit, from what its cut (or, for the last exit, the backbone) returned."""
        if exit == self.exits - 1:
            return final_logits(features)
        source = backbones.first_tensor(features)
        logits: Tensor = self.heads[exit](source)
        # A head that passes its input on shares its memory, which what runs behind the cut may overwrite.
        return logits.clone() if logits is source or logits._is_view() else logits

    def chain(self) -> Division:
        """The divided model; made again after copying, and when modules, device or type have changed since.

        Its `engine` says how the model was cut, its `refusals` why other engines did not do.
        """
        chain = self._chain
        if chain is None or chain.signature is not self.signature or not chain.fresh():
            self._chain = chain = backbones.cut(self.backbone, self.cuts, self.signature, self.device)
        return chain

    def stages(self) -> tuple[Stage, ...]:
        """The parts of the network between the cuts, sharing its parameters; none where hooks cut it."""
        return self.chain().stages

    def traverse(self, inputs: Any, visit: Callable[[Arrival], Tensor | None]) -> None:
        """Runs the network part by part on the rows still wanted; what nobody needs is not executed.

        Args:
            inputs: a batch, as for `forward`.
            visit: called at every exit in turn. It may ask for the logits there, and returns which of the current rows
                go on: their index `[m]`, in that order; None for all of them. After an empty index nothing more runs.

        Raises:
            InputError: empty batch, other structure than the example's, or tensors on another device.

        Example:
            >>> from torch import nn
            >>> backbone = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
            >>> model = attach(backbone, at=["1"], example=torch.zeros(1, 4)).eval()
            >>> def visit(arrival):
            ...     print(arrival.exit, list(arrival.logits().shape))
            ...     return torch.tensor([0, 3])
            >>> model.traverse(torch.zeros(5, 4), visit)
            0 [5, 3]
            1 [2, 3]
        """
        chain = self.chain()
        leaves = self.signature.flatten(inputs)
        device = self.device
        others = {str(x.device) for x in leaves if isinstance(x, Tensor) and x.device != device}
        if others:
            raise InputError(
                f"The inputs are on {sorted(others)}, the model is on {device}: move one of them, e.g. with "
                "model.to_own_device(inputs)."
            )
        chain.run(leaves, lambda k, features: visit(Arrival(self, k, features)))

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Evaluation mode, every submodule's own mode restored afterwards."""
        with backbones.evaluating(self):
            yield

    def to_own_device(self, inputs: Any) -> Any:
        """The same inputs with every tensor on the model's device."""
        device = self.device
        return backbones.map_tensors(lambda t: t.to(device, non_blocking=True), inputs)

    def _count_cost(self) -> Cost:
        stages: list[float] = []
        heads: list[float] = []
        self.chain()  # cutting runs the model too, which is not to be counted
        with self.evaluating(), torch.no_grad(), counting_macs() as total:

            def visit(arrival: Arrival) -> None:
                stages.append(total() - sum(stages) - sum(heads))
                arrival.logits()
                heads.append(total() - sum(stages) - sum(heads))

            self.traverse(self._example(rows=1), visit)
        return Cost.of_parts(stages, heads[:-1])

    def _example(self, rows: int) -> Any:
        args, kwargs = self.signature.unflatten(self.signature.batch(rows, self.device))
        return kwargs if kwargs else args

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # `.to(dtype)` and `.half()` end here: the example must go on fitting the backbone, as stages are made from it.
        self.signature = self.signature.cast(lambda dtype: fn(torch.empty(0, dtype=dtype)).dtype)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_chain": None}

    def save(self, folder: str | Path, meta: dict[str, Any] | None = None) -> None:
        """Writes `exit_model.safetensors` and `exit_model.json`; see `offramp.saving`."""
        from offramp import saving

        saving.save(self, folder, meta)

    @classmethod
    def load(cls, folder: str | Path, backbone: nn.Module, head: Head | Sequence[Head] | None = None) -> ExitModel:
        """Reads what `save` wrote into `backbone`, a fresh module of the same class and size.

        Args:
            folder: the folder that was given to `save`.
            backbone: receives the weights.
            head: as for `attach`; needed only for heads that are not offramp's own.

        Raises:
            FileFormatError: missing or damaged files, or weights of another model.
        """
        from offramp import saving

        return saving.load(folder, backbone, head)


class Arrival:
    """The rows still in the batch, at an exit.

    Attributes:
        exit: number of the exit, 0 = earliest; the largest is the backbone's own output.
    """

    __slots__ = ("_features", "_model", "exit")

    def __init__(self, model: ExitModel, exit: int, features: Any) -> None:
        self._model = model
        self._features = features
        self.exit = exit

    def logits(self) -> Tensor:
        """Logits `[rows, classes]` at this exit; runs its head."""
        return self._model.logits_at(self.exit, self._features)


def attach(
    backbone: nn.Module,
    at: Sequence[str | float] | str,
    example: Any,
    num_classes: int | None = None,
    head: Head | Sequence[Head] = "pooled_linear",
    seed: int = 0,
) -> ExitModel:
    """Gives a model early exits. The backbone and its state dict stay as they were.

    Args:
        backbone: any module whose output is logits `[n, classes]`, or holds them as `.logits` or first.
        at: where the exits go, in the order of running: names of submodules (as in `named_modules()`; the exit is
            behind the module), or shares of the MACs between 0 and 1. Or "auto", and "auto:3" for that many: near even
            shares of the MACs, where little has to be carried. See also `propose`, which looks at data.
        example: inputs: a tensor, a tuple of positional inputs or a dict of named ones, with a batch dimension first.
            Shapes are read off it, and a few rows are run through the model in evaluation mode.
        num_classes: number of logits; read off the backbone's output when not given.
        head: name of a registered head (`pooled_linear`, `sdn_pool`), a module, a function
            `(features, num_classes) -> module`, or a list of these, one per cut.
        seed: of the heads' initial weights. They are drawn like torch's own layers, then passed through the backbone's
            `_init_weights(module)` if it has one. The global random state is left alone.

    Raises:
        AttachError: unknown, repeated or misordered cuts; heads that do not fit.
        CutError: the model cannot be divided there; the message names the reason and the nearest place that can.

    Example:
        >>> from torch import nn
        >>> backbone = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        >>> model = attach(backbone, at=["1"], example=torch.zeros(1, 4))
        >>> [logits.shape for logits in model(torch.zeros(5, 4))]
        [torch.Size([5, 3]), torch.Size([5, 3])]
    """
    if isinstance(backbone, ExitModel):
        raise AttachError("The model already has exits: attach to its .backbone, with all cuts at once.")
    if not isinstance(at, str) and (isinstance(at, float) or not len(at)):
        raise AttachError(f"attach(at={at!r}): give a list of at least one submodule name or share of the MACs.")
    signature = Signature.of(example)
    names = backbones.names_at(backbone, at, example)
    device = backbones.device_of(backbone)
    chain = backbones.cut(backbone, names, signature, device)
    features, logits = _features(chain, backbone, device)
    classes = _class_count(logits, num_classes)
    heads = build_heads(backbone, names, features, classes, head, seed)
    model = ExitModel(backbone, names, heads, signature, classes, chain)
    model.heads.train(backbone.training)
    model.training = backbone.training
    return model


def _features(chain: Division, backbone: nn.Module, device: torch.device) -> tuple[list[Tensor], Tensor]:
    """The tensors at each cut and the final logits, for two rows."""
    found: list[Any] = []
    with backbones.evaluating(backbone), torch.no_grad():
        chain.run(chain.signature.batch(2, device), lambda k, feature: found.append(feature))
    features = [backbones.first_tensor(f) for f in found[:-1]]
    return [f for f in features if f is not None], final_logits(found[-1])


def _class_count(logits: Tensor, num_classes: int | None) -> int:
    if logits.ndim != 2:
        raise AttachError(
            f"The backbone's output must be logits [n, classes]; for two rows it is {list(logits.shape)}."
        )
    if logits.shape[1] < 2:
        raise AttachError("The backbone's output has 1 logit, and criteria compare classes: give two logits per row.")
    if num_classes is not None and num_classes != logits.shape[1]:
        raise AttachError(f"attach(num_classes={num_classes}): the backbone's output has {logits.shape[1]} classes.")
    return int(logits.shape[1])
