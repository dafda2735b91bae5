"""The loss around and between solutions: lines and planes in the space of weights.

Every point gets batch statistics of its own: those of the end points belong to other weights, and make barriers out
of nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from offramp.compression.batch_norm import adapt_batch_norms
from offramp.errors import AnalysisError

Weights = Mapping[str, Tensor]
Direction = dict[str, Tensor]
Evaluate = Callable[[nn.Module], float]


def weights_of(model: nn.Module) -> Direction:
    """A copy of a model's parameters by name: a point."""
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def filter_normalised(model: nn.Module, seed: int = 0) -> Direction:
    """A random direction whose filters are as long as the model's.

    Each filter (row of a weight with at least two dimensions) is drawn from a Gaussian and scaled to the norm of the
    model's filter; vectors (biases, norms) stay where they are, as in the source.

    Args:
        model: the point to start from.
        seed: of the draw.

    Source: Li et al. 2018, "Visualizing the loss landscape of neural nets", section 4.
    """
    generator = torch.Generator().manual_seed(seed)
    return {name: _normalised(value, generator) for name, value in weights_of(model).items()}


def _normalised(weight: Tensor, generator: torch.Generator) -> Tensor:
    if weight.ndim < 2:
        return torch.zeros_like(weight)
    drawn = torch.randn(weight.shape, generator=generator).to(weight)
    dimensions = tuple(range(1, weight.ndim))
    own, others = (torch.linalg.vector_norm(part, dim=dimensions, keepdim=True) for part in (weight, drawn))
    scaled: Tensor = drawn * (own / others.clamp(min=torch.finfo(drawn.dtype).tiny))
    return scaled


@dataclass(frozen=True, eq=False)
class Surroundings:
    """Losses at points in the space of a model's weights.

    Args:
        model: any with these parameters; it is copied, and stays as it is.
        evaluate: loss of a model in evaluation mode.
        batches: data to take batch statistics from at every point; read afresh each time. Empty for models without.
        samples: how many of it to use.

    Example:
        >>> quadratic = Surroundings(nn.Linear(1, 1, bias=False), lambda model: float(model.weight) ** 2)
        >>> quadratic.barrier({"weight": torch.tensor([[-1.0]])}, {"weight": torch.tensor([[3.0]])}, points=5)[0]
        0.0
    """

    model: nn.Module
    evaluate: Evaluate
    batches: Iterable[Any] = ()
    samples: int = 512

    def loss(self, point: Weights) -> float:
        """The loss with these weights, and batch statistics of their own.

        Raises:
            AnalysisError: a weight is missing, unknown, or of another shape.
        """
        model = copy.deepcopy(self.model)
        try:
            result = model.load_state_dict(dict(point), strict=False)
        except RuntimeError as error:
            raise AnalysisError(f"A point does not fit the model: {error}") from error
        missing = set(result.missing_keys) & {name for name, _ in model.named_parameters()}
        if missing or result.unexpected_keys:
            raise AnalysisError(
                f"A point does not fit the model: missing {sorted(missing)}, unknown {result.unexpected_keys}. Give "
                "the parameters of the same architecture, e.g. by weights_of(model)."
            )
        if self.batches:
            adapt_batch_norms(model, self.batches, self.samples)
        with torch.no_grad():
            return self.evaluate(model.eval())

    def along(self, start: Weights, direction: Weights, steps: Sequence[float]) -> list[float]:
        """Losses at `start + step * direction`: the 1-D landscape."""
        return [self.loss(moved(start, (step, direction))) for step in steps]

    def around(self, start: Weights, first: Weights, second: Weights, steps: Sequence[float]) -> Tensor:
        """Losses `[steps, steps]` at `start + a first + b second`, rows by a: the 2-D landscape."""
        rows = [[self.loss(moved(start, (a, first), (b, second))) for b in steps] for a in steps]
        return torch.tensor(rows, dtype=torch.float64)

    def barrier(self, first: Weights, second: Weights, points: int = 11) -> tuple[float, list[float]]:
        """How high the straight line between two solutions rises above the line between their losses.

        `max_a L((1 - a) w_0 + a w_1) - [(1 - a) L(w_0) + a L(w_1)]` over so many points, both ends among them.

        Returns:
            The barrier, never below 0, and the losses along the line.

        Raises:
            AnalysisError: fewer than three points.

        Source: Frankle et al. 2020, "Linear mode connectivity and the lottery ticket hypothesis".
        """
        if points < 3:
            raise AnalysisError(f"barrier(points={points}): give at least 3, two of them are the ends.")
        shares = torch.linspace(0, 1, points).tolist()
        path = {name: second[name] - first[name] for name in first}
        losses = self.along(first, path, shares)
        rises = [loss - ((1 - a) * losses[0] + a * losses[-1]) for a, loss in zip(shares, losses, strict=True)]
        return max(rises), losses

    def over(self, plane: Plane, steps: int = 11, margin: float = 0.25) -> tuple[Tensor, Tensor, Tensor]:
        """Losses on a grid that holds a plane's three points.

        Args:
            plane: see `plane_through`.
            steps: points a side.
            margin: how far the grid goes beyond the points, as a share of their extent.

        Returns:
            Coordinates `[steps]` in both directions, and losses `[steps, steps]`, rows by the second coordinate.
        """
        lows, highs = plane.points.min(dim=0).values, plane.points.max(dim=0).values
        reach = margin * (highs - lows)
        across, up = (
            torch.linspace(float(lo), float(hi), steps) for lo, hi in zip(lows - reach, highs + reach, strict=True)
        )
        rows = [[self.loss(plane.at(float(x), float(y))) for x in across] for y in up]
        return across, up, torch.tensor(rows, dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class Plane:
    """The plane through three solutions.

    Attributes:
        origin: the first solution.
        first: unit vector towards the second.
        second: unit vector perpendicular to it, towards the third.
        points: `[3, 2]`, coordinates of the solutions.
    """

    origin: Direction
    first: Direction
    second: Direction
    points: Tensor

    def at(self, x: float, y: float) -> Direction:
        """The weights at a pair of coordinates."""
        return moved(self.origin, (x, self.first), (y, self.second))


def plane_through(first: Weights, second: Weights, third: Weights) -> Plane:
    """The plane through three solutions, in coordinates that keep distances.

    With `u = w_2 - w_1` and `v = (w_3 - w_1) - <w_3 - w_1, u> / |u|^2 u`, both scaled to length 1.

    Raises:
        AnalysisError: they lie on a line.

    Source: Garipov et al. 2018, "Loss surfaces, mode connectivity, and fast ensembling of DNNs", appendix.
    """
    across = {name: second[name] - first[name] for name in first}
    to_third = {name: third[name] - first[name] for name in first}
    length = _dot(across, across) ** 0.5
    if length == 0:
        raise AnalysisError("plane_through: the first two solutions are the same. Give three different ones.")
    along = _dot(to_third, across) / length
    unit = {name: value / length for name, value in across.items()}
    up = moved(to_third, (-along, unit))
    height = _dot(up, up) ** 0.5
    if height <= 1e-6 * length:
        raise AnalysisError("plane_through: the three solutions lie on a line, which is in many planes.")
    points = torch.tensor([[0.0, 0.0], [length, 0.0], [along, height]], dtype=torch.float64)
    return Plane(dict(first), unit, {name: value / height for name, value in up.items()}, points)


def moved(start: Weights, *steps: tuple[float, Weights]) -> Direction:
    """`start + sum_k step_k direction_k`."""
    return {
        name: value + sum((amount * direction[name] for amount, direction in steps), torch.zeros_like(value))
        for name, value in start.items()
    }


def _dot(first: Weights, second: Weights) -> float:
    return sum(float((first[name].double() * second[name].double()).sum()) for name in first)
