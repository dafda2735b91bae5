"""Learned ranking of channels across layers: evolution finds a scale and a shift for the scores of every group.

Scores of different layers are not comparable by themselves. After `scale * score + shift` per group they are ranked
together; which scales and shifts leave the better network is found by pruning and training a little, again and again.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from offramp.backbones import arguments, device_of, evaluating, map_tensors
from offramp.compression.channel_selection import Scores
from offramp.errors import CompressionError
from offramp.recording import unpack

HELD_OUT = 10
"""Batches on which rankings are compared."""
Ranking = dict[str, tuple[float, float]]
"""Scale and shift of each group, by its name."""
Fitness = Callable[[Ranking], float]
"""How good the network is that a ranking leaves; larger is better."""


@dataclass(frozen=True)
class Evolution:
    """Regularised evolution: the oldest of the population makes room for a mutant of the best of a few.

    Args:
        generations: rankings that are tried.
        population: rankings that are kept; as many are drawn at random first.
        samples: of the population, the best of which is changed.
        mutated: share of the groups that a mutation changes, at least one.
        sigma: standard deviation of the scales' logarithm; mutations become smaller towards the end.
        seed: of all random choices.

    Source: Chin et al. 2020, "Towards Efficient Model Compression via Learned Global Ranking" (LeGR), on the aging
    evolution of Real et al. 2019. Differs in that the ranking without any change is tried first, so that the result is
    never worse than it, by the same measure.

    Example:
        >>> wanted = {"a": 4.0, "b": 0.25}
        >>> def miss(ranking):
        ...     return -sum(abs(math.log(ranking[name][0] / scale)) for name, scale in wanted.items())
        >>> found = Evolution(generations=200).run({"a": 1.0, "b": 1.0}, miss)
        >>> {name: (round(scale) if scale > 1 else round(scale, 2)) for name, (scale, _) in found.items()}["a"]
        4
    """

    generations: int = 400
    population: int = 64
    samples: int = 16
    mutated: float = 0.1
    sigma: float = 1.0
    seed: int = 42

    def run(self, spreads: Mapping[str, float], fitness: Fitness) -> Ranking:
        """The fittest ranking of all that were tried.

        Args:
            spreads: standard deviation of each group's scores: the size of shifts.
            fitness: of a ranking.
        """
        noise = np.random.default_rng(self.seed)
        best = unchanged(spreads)
        top = fitness(best)
        living = deque([(top, best)], maxlen=self.population)
        for generation in range(1, self.generations):
            if generation < self.population:
                candidate = self._changed(unchanged(spreads), list(spreads), spreads, 1.0, noise)
            else:
                drawn = noise.choice(len(living), min(self.samples, len(living)), replace=False)
                parent = max((living[i] for i in drawn), key=lambda member: member[0])[1]
                count = math.ceil(self.mutated * len(spreads))
                names = [str(name) for name in noise.choice(list(spreads), count, replace=False)]
                candidate = self._changed(parent, names, spreads, 1 - generation / (1.25 * self.generations), noise)
            found = fitness(candidate)
            living.append((found, candidate))
            if found > top:
                top, best = found, candidate
        return best

    def _changed(
        self, parent: Ranking, names: list[str], spreads: Mapping[str, float], step: float, noise: np.random.Generator
    ) -> Ranking:
        changed = dict(parent)
        for name in names:
            scale, shift = parent[name]
            factor = math.exp(float(noise.normal(0.0, self.sigma * step)))
            changed[name] = (scale * factor, shift + step * float(noise.normal(0.0, spreads[name])))
        return changed


@dataclass(frozen=True)
class Trial:
    """What a pruned network comes to after a little training; the same batches for every network.

    Args:
        data: batches of inputs and labels; may be iterated again and again.
        loss: of the model's outputs and the labels.
        steps: of SGD (rate 0.01, momentum 0.9).
        seed: of dropout and the like; the global random state stays as it is.
    """

    data: Iterable[Any]
    loss: Callable[[Any, Tensor], Tensor]
    steps: int
    seed: int

    def loss_of(self, model: nn.Module) -> float:
        """Trains the model on the first batches, and gives its mean loss on up to `HELD_OUT` that follow."""
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.seed)
            batches = self._batches()
            model.train()
            for inputs, labels in itertools.islice(batches, self.steps):
                optimizer.zero_grad()
                self._loss(model, inputs, labels).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            with evaluating(model), torch.no_grad():
                losses = [float(self._loss(model, *batch)) for batch in itertools.islice(batches, HELD_OUT)]
        return sum(losses) / len(losses)

    def _batches(self) -> Iterator[tuple[Any, Any]]:
        """Batch after batch, from the beginning again where the data ends.

        Raises:
            CompressionError: there is none.
        """
        while True:
            empty = True
            for batch in self.data:
                empty = False
                yield unpack(batch)
            if empty:
                raise CompressionError("The learned ranking was given no batches to train on.")

    def _loss(self, model: nn.Module, inputs: Any, labels: Any) -> Tensor:
        device = device_of(model)
        args, kwargs = arguments(map_tensors(lambda t: t.to(device), inputs))
        return self.loss(model(*args, **kwargs), labels.to(device))


def unchanged(spreads: Mapping[str, float]) -> Ranking:
    """The ranking that changes no score."""
    return dict.fromkeys(spreads, (1.0, 0.0))


def ranked(scores: Scores, ranking: Ranking) -> Scores:
    """The scores after each group's scale and shift."""
    return {name: ranking[name][0] * s + ranking[name][1] for name, s in scores.items()}
