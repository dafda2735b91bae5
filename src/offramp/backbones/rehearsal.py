"""Runs the plain model before it is cut, to find what no way of cutting can cure.

A cut that never runs, cuts in the wrong order, a model that mixes the rows of a batch or keeps state: these are told
here, once, whatever would have divided the model.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from offramp.backbones.carry import SIZES, check_feature
from offramp.backbones.inputs import Signature
from offramp.backbones.outputs import final_logits, first_tensor
from offramp.backbones.traced import first_line
from offramp.errors import CutError

BATCHES = (7, 4, 1)


@dataclass(frozen=True, eq=False)
class Return:
    """A cut module's return.

    Attributes:
        name: of the module.
        feature: the tensor that a head would read.
        point: changes when anything runs: how many modules had started, and how often the tensor had been written to.
    """

    name: str
    feature: Tensor | None
    point: tuple[int, int]


def rehearse(
    backbone: nn.Module, names: Sequence[str], signature: Signature, device: torch.device
) -> dict[int, Tensor]:
    """Runs a model, in evaluation mode, and checks that it can be cut in principle.

    Args:
        backbone: the model.
        names: of the modules behind which it is to be cut.
        signature: of its inputs.
        device: where it is.

    Returns:
        The logits that it gives for `signature.batch(rows, device)`, by number of rows.

    Raises:
        CutError: a cut does not run, runs repeatedly, is out of order or without rows to read; the model keeps state,
            draws random numbers or mixes rows.
    """
    returns: dict[int, list[Return]] = {rows: [] for rows in BATCHES}
    expected = {}
    for rows in BATCHES:
        with _recording(backbone, names, returns[rows]):
            expected[rows] = _logits(backbone, signature, signature.batch(rows, device))
    small, large = (returns[rows] for rows in SIZES)
    _check_calls(names, large)
    _check_features(names, small, large)
    _check_rows(backbone, signature, device, expected)
    return expected


def close(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are equal up to the rounding of their type, relative to the largest value."""
    if a.shape != b.shape:
        return False
    scale = float(b.abs().max()) if b.numel() else 0.0
    tolerance = 1e-4 if b.dtype.itemsize >= 4 else 3e-2
    return bool(torch.allclose(a, b, rtol=tolerance, atol=tolerance * max(scale, 1e-6), equal_nan=True))


def nearest_advice(name: str) -> str:
    """Where else one may cut, for the tail of an error message."""
    above = name.rpartition(".")[0]
    other = f"The nearest place that may do is the output of '{above}'" if above else "Try the module before or behind"
    return f"{other}; offramp.inspect lists every place that can be cut."


def _logits(backbone: nn.Module, signature: Signature, leaves: list[Any]) -> Tensor:
    args, kwargs = signature.unflatten(leaves)
    rows = next(len(x) for x, has in zip(leaves, signature.has_rows, strict=True) if has)
    try:
        output = backbone(*args, **kwargs)
    except Exception as error:
        raise CutError(
            f"{type(backbone).__name__} cannot be run on {rows} rows made from the example ({first_line(error)}). Rows "
            "must be the first dimension of its inputs, and any number of them must do."
        ) from error
    logits = final_logits(output)
    if logits.ndim == 0 or len(logits) != rows:
        raise CutError(
            f"The backbone's output must be logits [n, classes]; for {rows} rows it is {list(logits.shape)}."
        )
    return logits


@contextmanager
def _recording(backbone: nn.Module, names: Sequence[str], into: list[Return]) -> Iterator[None]:
    thread, started = threading.get_ident(), itertools.count()
    now = 0

    def start(module: nn.Module, inputs: Any) -> None:
        nonlocal now
        now = next(started) if threading.get_ident() == thread else now

    def hook(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def note(module: nn.Module, inputs: Any, output: Any) -> None:
            if threading.get_ident() == thread:
                feature = first_tensor(output)
                into.append(Return(name, feature, (now, -1 if feature is None else feature._version)))

        return note

    handles = [backbone.get_submodule(name).register_forward_hook(hook(name)) for name in names]
    # For the whole process: hooks on the modules themselves switch torch's fast path of transformers off.
    handles.append(register_module_forward_pre_hook(start))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _check_calls(names: Sequence[str], returns: Sequence[Return]) -> None:
    order = [r.name for r in returns]
    for name in names:
        if name not in order:
            raise CutError(
                f"Cannot cut at '{name}': it never runs in forward. See the places that do with offramp.inspect."
            )
        if order.count(name) > 1:
            raise CutError(
                f"Cannot cut at '{name}': it runs {order.count(name)} times in one forward pass. Cut at a module "
                "around one of the calls, or give each call a module of its own."
            )
    for one, other in itertools.pairwise(returns):
        if one.feature is not None and one.feature is other.feature and one.point == other.point:
            raise CutError(
                f"The cuts '{one.name}' and '{other.name}' are the same place: nothing runs between them. Drop one."
            )
    for before, after in itertools.pairwise(names):
        if order.index(before) > order.index(after):
            raise CutError(f"The cuts are out of order: '{after}' runs before '{before}'. Write at={order}.")


def _check_features(names: Sequence[str], small: Sequence[Return], large: Sequence[Return]) -> None:
    features = [{r.name: r.feature for r in returns} for returns in (small, large)]
    for name in names:
        try:
            check_feature(name, features[0].get(name), features[1].get(name), SIZES)
        except CutError as error:
            raise CutError(f"Cannot cut at '{name}': {error}. {nearest_advice(name)}") from error


def _check_rows(backbone: nn.Module, signature: Signature, device: torch.device, expected: dict[int, Tensor]) -> None:
    """Asks for some rows again, and without the others."""
    for rows in (1, BATCHES[0]):
        kept = torch.arange(0, rows, 2)
        leaves = signature.take(signature.batch(rows, device), kept)
        same = close(_logits(backbone, signature, leaves), expected[rows][kept.to(device)])
        if not same and rows == 1:
            raise CutError(
                f"{type(backbone).__name__} gives other outputs when it is run again. It keeps state from call to call "
                "or draws random numbers in evaluation mode; neither can be cut."
            )
        if not same:
            raise CutError(
                f"{type(backbone).__name__} gives a row other outputs when other rows leave: it mixes the rows "
                "of a batch (or the first dimension of its inputs is not the batch). It cannot take exits."
            )
