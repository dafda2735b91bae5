from __future__ import annotations

import pytest
import torch
from torch import nn

from offramp.analysis import Surroundings, filter_normalised, plane_through
from offramp.analysis.landscape import moved, weights_of
from offramp.errors import AnalysisError


def double_well() -> Surroundings:
    """Loss `(x^2 - 1)^2 + y^2`, with solutions at x = -1 and x = 1 and a hill of height 1 between them."""

    def loss(model: nn.Module) -> float:
        x, y = model.weight.flatten().tolist()
        return (x * x - 1) ** 2 + y * y

    return Surroundings(nn.Linear(2, 1, bias=False), loss)


def point(x: float, y: float = 0.0) -> dict[str, torch.Tensor]:
    return {"weight": torch.tensor([[x, y]])}


def test_the_barrier_is_the_height_of_the_hill():
    barrier, losses = double_well().barrier(point(-1), point(1), points=11)
    assert barrier == pytest.approx(1.0)
    assert losses[0] == losses[-1] == pytest.approx(0.0, abs=1e-6)


def test_a_bowl_has_no_barrier_and_a_slope_is_none_either():
    bowl = Surroundings(nn.Linear(2, 1, bias=False), lambda m: float(m.weight.square().sum()))
    assert bowl.barrier(point(-1), point(3))[0] == 0.0
    slope = Surroundings(nn.Linear(2, 1, bias=False), lambda m: float(m.weight[0, 0]))
    assert slope.barrier(point(0), point(5))[0] == pytest.approx(0.0, abs=1e-6)
    with pytest.raises(AnalysisError, match="at least 3"):
        bowl.barrier(point(0), point(1), points=2)


def test_lines_and_planes_have_the_losses_of_their_points():
    well = double_well()
    assert well.along(point(0), point(1), [-1.0, 0.0, 2.0]) == pytest.approx([0.0, 1.0, 9.0])
    grid = well.around(point(0), point(1), point(0, 1), [-1.0, 0.0, 1.0])
    assert grid[0].tolist() == pytest.approx([1.0, 0.0, 1.0])
    assert grid[1].tolist() == pytest.approx([2.0, 1.0, 2.0])


def test_directions_have_the_filters_lengths_and_spare_the_vectors():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3, 2))
    direction = filter_normalised(net, seed=1)
    for name, weight in net.named_parameters():
        if weight.ndim < 2:
            assert not direction[name].any()
        else:
            torch.testing.assert_close(direction[name].flatten(1).norm(dim=1), weight.flatten(1).norm(dim=1))
            assert not torch.allclose(direction[name], weight)
    again, other = filter_normalised(net, seed=1), filter_normalised(net, seed=2)
    assert torch.equal(direction["0.weight"], again["0.weight"])
    assert not torch.equal(direction["0.weight"], other["0.weight"])


def test_a_plane_holds_its_three_points_at_their_distances():
    torch.manual_seed(0)
    three = [{"a": torch.randn(3, 2), "b": torch.randn(4)} for _ in range(3)]
    plane = plane_through(*three)
    for weights, (x, y) in zip(three, plane.points.tolist(), strict=True):
        for name, value in plane.at(x, y).items():
            torch.testing.assert_close(value, weights[name], atol=1e-5, rtol=1e-4)
    flat = torch.stack([torch.cat([w["a"].flatten(), w["b"]]) for w in three]).double()
    torch.testing.assert_close(torch.cdist(plane.points, plane.points), torch.cdist(flat, flat), atol=1e-5, rtol=1e-5)


def test_a_grid_over_the_plane_reaches_beyond_its_points():
    across, up, losses = double_well().over(plane_through(point(-1), point(1), point(0, 1)), steps=5, margin=0.5)
    assert (float(across[0]), float(across[-1])) == (-1.0, 3.0)
    assert (float(up[0]), float(up[-1])) == (-0.5, 1.5)
    # Rows are by the second coordinate, so the middle of the line is the hill of height 1 plus y^2 = 0.25.
    assert float(losses[0, 2]) == pytest.approx(1.25)


def test_degenerate_planes_are_refused():
    with pytest.raises(AnalysisError, match="the same"):
        plane_through(point(1), point(1), point(2))
    with pytest.raises(AnalysisError, match="on a line"):
        plane_through(point(0), point(1), point(3))


def test_batch_statistics_are_those_of_each_point():
    """Scaling what goes into a batch norm changes nothing, unless it keeps the statistics of other weights."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).eval()
    data = [(torch.randn(64, 3), torch.zeros(64, dtype=torch.int64))]

    def loss(model: nn.Module) -> float:
        return float(model(data[0][0]).square().mean())

    start = weights_of(net)
    scaled = {name: 10 * value if name.startswith("0.") else value for name, value in start.items()}
    fresh = Surroundings(net, loss, batches=data, samples=64)
    assert fresh.loss(scaled) == pytest.approx(fresh.loss(start), rel=1e-3)
    stale = Surroundings(net, loss)
    assert stale.loss(scaled) > 10 * stale.loss(start)
    assert torch.equal(net[1].running_mean, torch.zeros(4)), "the model itself stays as it is"


def test_points_of_another_model_are_refused():
    for wrong in ({"weight": torch.zeros(1, 3)}, {"bias": torch.zeros(1)}, {}):
        with pytest.raises(AnalysisError, match="does not fit the model"):
            double_well().loss(wrong)


def test_moving_adds_every_step():
    assert moved(point(1), (2.0, point(1, 1)), (-1.0, point(0, 1)))["weight"].tolist() == [[3.0, 1.0]]
