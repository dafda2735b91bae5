"""Builds the exit heads that `attach(head=...)` asks for, and checks that each one fits its cut."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from offramp.backbones import close, evaluating
from offramp.errors import AttachError, OfframpError
from offramp.heads.head import HEADS

Head = str | nn.Module | Callable[[Tensor, int], nn.Module]


def build_heads(
    backbone: nn.Module,
    names: Sequence[str],
    features: Sequence[Tensor],
    classes: int,
    head: Head | Sequence[Head],
    seed: int,
) -> list[nn.Module]:
    """One head per cut, with weights drawn from `seed`; the global random state is left alone.

    Args:
        backbone: its `_init_weights(module)`, if it has one, initialises what is built here.
        names: of the cuts, for messages.
        features: the tensor at each cut, for two rows.
        classes: number of logits.
        head: see `attach`.
        seed: of the weights.

    Raises:
        AttachError: wrong number of heads, a head that fails, that gives other shapes than `[n, classes]`, or that
            mixes rows.
    """
    wanted: list[Head] = list(head) if isinstance(head, list | tuple) else [head] * len(names)  # type: ignore[list-item]
    if len(wanted) != len(names):
        raise AttachError(
            f"attach(head=...) has {len(wanted)} heads for {len(names)} cuts {list(names)}; give one per cut."
        )
    modules = [h for h in wanted if isinstance(h, nn.Module)]
    if len({id(m) for m in modules}) != len(modules):
        raise AttachError(
            "attach(head=...): one module cannot serve several cuts; give a list of modules, or a function."
        )
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which reseeds every accelerator too, and fork_rng restores the CPU only.
        torch.default_generator.manual_seed(seed)
        heads = [_build_head(backbone, h, f, classes) for h, f in zip(wanted, features, strict=True)]
    for name, built, feature in zip(names, heads, features, strict=True):
        _check_head(name, built, feature, classes)
    return heads


def _build_head(backbone: nn.Module, head: Head, features: Tensor, classes: int) -> nn.Module:
    if isinstance(head, nn.Module):
        return head.to(features.device)
    if isinstance(head, str):
        built: nn.Module = HEADS[head].for_features(features, classes)
    elif callable(head):
        make: Callable[[Tensor, int], nn.Module] = getattr(head, "for_features", head)
        built = make(features, classes)
    else:
        raise AttachError(f"attach(head={head!r}): give a name ({', '.join(HEADS)}), a module, or a function.")
    initialise = getattr(backbone, "_init_weights", None)
    if callable(initialise) and _takes_one(initialise):
        built.apply(initialise)
    return built.to(device=features.device, dtype=features.dtype if features.is_floating_point() else None)


def _takes_one(function: Callable[..., object]) -> bool:
    """Whether it can be called with one argument; some models' `_init_weights()` takes none and does all of itself."""
    try:
        inspect.signature(function).bind(nn.Identity())
    except (TypeError, ValueError):
        return False
    return True


def _check_head(name: str, head: nn.Module, features: Tensor, classes: int) -> None:
    try:
        with evaluating(head), torch.no_grad():
            logits, first = head(features), head(features[:1])
    except OfframpError:
        raise
    except Exception as error:
        raise AttachError(
            f"The head {type(head).__name__} fails at '{name}' on {list(features.shape)}: {error}"
        ) from error
    shape = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    if shape != [features.shape[0], classes]:
        raise AttachError(
            f"The head {type(head).__name__} at '{name}' gives {shape} for features {list(features.shape)}; it must "
            f"give [{features.shape[0]}, {classes}]."
        )
    if not close(first, logits[:1]):
        raise AttachError(
            f"The head {type(head).__name__} at '{name}' gives a row other logits when it is alone: it mixes the rows "
            "of a batch, so that decisions would depend on who else is in it. Treat each row by itself."
        )
