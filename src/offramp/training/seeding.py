"""Randomness as a pure function of (seed, epoch), which is what makes a resumed run equal to an uninterrupted one."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

GLOBAL, OWNED = 0, 1


def seed_epoch(seed: int, epoch: int, process: int, loaders: Iterable[Any]) -> None:
    """Seeds everything random that an epoch draws from.

    The generators of Python, NumPy and torch (augmentation, dropout, worker processes) get a stream of their own in
    each process; the generators owned by loaders and samplers (data order) get the same in all processes, so that
    they agree on the order. Objects with `set_epoch` are told the epoch.

    Args:
        seed: the run's seed, at least 0.
        epoch: counted from 1.
        process: rank of this process, 0 where there is one.
        loaders: data loaders whose samplers and generators are searched.
    """
    words = [_word(seed, epoch, GLOBAL, process, k) for k in range(3)]
    random.seed(words[0])
    np.random.seed(words[1] % 2**32)
    torch.manual_seed(words[2])
    for k, generator in enumerate(owned_generators(loaders)):
        generator.manual_seed(_word(seed, epoch, OWNED, k))
    for part in _parts(loaders):
        if callable(getattr(part, "set_epoch", None)):
            part.set_epoch(epoch)


def seed_step(seed: int, epoch: int, step: int) -> int:
    """A seed for one step, the same in all processes; made for `random.Random` and generators that mix well."""
    return ((seed * 1_000_003 + epoch) * 1_000_003 + step) % 2**63


def owned_generators(loaders: Iterable[Any]) -> list[torch.Generator]:
    """Torch generators that loaders, samplers and data sets keep in an attribute `generator`, each once, in order."""
    found: dict[int, torch.Generator] = {}
    for part in _parts(loaders):
        generator = getattr(part, "generator", None)
        if isinstance(generator, torch.Generator):
            found.setdefault(id(generator), generator)
    return list(found.values())


@contextmanager
def caller_randomness_kept(loaders: Iterable[Any]) -> Iterator[None]:
    """Puts the global generators, and those owned by the loaders, back to where they were on entry."""
    owned = [(generator, generator.get_state()) for generator in owned_generators(loaders)]
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)
        for generator, state in owned:
            generator.set_state(state)


def _word(*entropy: int) -> int:
    # SeedSequence mixes well even where seeds and epochs are small and neighbouring; torch takes 63 bits safely.
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]) >> 1


def _parts(loaders: Iterable[Any]) -> list[Any]:
    todo = [loader for loader in loaders if loader is not None]
    parts: list[Any] = []
    while todo:
        part = todo.pop(0)
        if any(part is known for known in parts):
            continue
        parts.append(part)
        children = (getattr(part, name, None) for name in ("sampler", "batch_sampler", "dataset"))
        todo.extend(child for child in children if child is not None)
    return parts
