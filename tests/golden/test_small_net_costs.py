"""Costs of the networks for MNIST and of B-LeNet's branch, counted by hand from their publications' layouts."""

from __future__ import annotations

from offramp import zoo


def test_b_lenet():
    # BranchyNet's code: 5x5 convolutions with a padding of 3, poolings that round up: 30, 15, 17, 9, 11, 6.
    trunk = [30 * 30 * 25 * 5, 17 * 17 * 25 * 5 * 10, 11 * 11 * 25 * 10 * 20, 720 * 84, 84 * 10]
    branch = 15 * 15 * 9 * 5 * 10 + 640 * 10
    model = zoo.build_with_exits("branchy_lenet_earlyexit")
    assert model.cuts == ("conv1",)
    assert model.cost.plain == sum(trunk)
    assert model.cost.macs[0] == trunk[0] + branch
    # With heads, at the exit rates they print (94.3 %), this is 4.1 times fewer MACs; they print 5.4 times less time.
    mean = 0.943 * model.cost.macs[0] + 0.057 * model.cost.macs[1]
    assert round(model.cost.plain / mean, 1) == 4.1


def test_simplenets_and_lenet(shape_costs):
    assert shape_costs("simplenet_mnist").macs == 24 * 24 * 25 * 20 + 8 * 8 * 25 * 20 * 50 + 800 * 500 + 500 * 10
    cifar = 28 * 28 * 75 * 6 + 10 * 10 * 25 * 6 * 16 + 400 * 120 + 120 * 84 + 84 * 10
    assert shape_costs("simplenet_cifar").macs == cifar
    assert shape_costs("simplenet_cifar").parameters == 62_006
    assert shape_costs("lenet").macs == 28 * 28 * 25 * 6 + 10 * 10 * 25 * 6 * 16 + 400 * 120 + 120 * 84 + 84 * 10
