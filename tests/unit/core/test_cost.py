"""MACs: counted on what runs, equal to what the decisions say, fused operations included."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import offramp as ofr
from offramp.cost import Cost, count_macs
from offramp.criteria import Margin

INF = float("inf")


def test_parts_add_up():
    cost = Cost.of_parts([100.0, 200.0, 300.0], [7.0, 11.0])
    assert cost.macs == (107.0, 318.0, 618.0)
    assert cost.head_macs == (7.0, 11.0)
    assert cost.plain == 600.0


def test_heads_that_do_not_run_cost_nothing():
    cost = Cost.of_parts([100.0, 200.0, 300.0], [7.0, 11.0])
    assert cost.under([True, True]).tolist() == [107.0, 318.0, 618.0]
    assert cost.under([False, True]).tolist() == [100.0, 311.0, 611.0]
    assert cost.under([False, False]).tolist() == [100.0, 300.0, 600.0]


def test_the_plain_cost_is_the_backbones(tiny, attached):
    args, kwargs = ofr.backbones.arguments(tiny.batch(1))
    assert attached.cost.plain == count_macs(lambda: attached.backbone(*args, **kwargs)) > 0
    assert list(attached.cost.macs) == sorted(attached.cost.macs)


def test_by_hand():
    """5 x 9, 9 x 9 and 9 x 4 weights, and heads of 9 x 4."""
    backbone = nn.Sequential(nn.Linear(5, 9), nn.ReLU(), nn.Linear(9, 9), nn.ReLU(), nn.Linear(9, 4))
    cost = ofr.attach(backbone, at=["1", "3"], example=torch.zeros(1, 5)).cost
    assert cost.head_macs == (36.0, 36.0)
    assert cost.macs == (45.0 + 36, 45.0 + 81 + 72, 45.0 + 81 + 36 + 72)


@given(data=st.data(), rows=st.integers(1, 30), seed=st.integers(0, 10**6))
def test_the_macs_executed_are_the_macs_reported(tiny, attached, data, rows, seed):
    inputs = tiny.batch(rows, seed)
    with torch.no_grad():
        scores = [Margin().score(z) for z in attached(inputs)[:-1]]
    quantile = st.sampled_from([0.0, 0.3, 0.7, 1.0])
    thresholds = [data.draw(st.just(INF) | quantile.map(lambda q, s=s: float(s.quantile(q)))) for s in scores]
    runtime = ofr.deploy(attached, ofr.Policy(Margin(), thresholds))
    decided = []
    executed = count_macs(lambda: decided.append(runtime(inputs)))
    assert executed == decided[0].macs.sum().item()


@pytest.mark.parametrize("threshold", [-INF, 0.2, INF])
def test_torchs_own_counter_agrees(tiny_resnet, threshold):
    """Convolutions and linear layers need none of our formulas."""
    runtime = ofr.deploy(tiny_resnet.attach(), ofr.Policy(Margin(), [threshold] * 3))
    with FlopCounterMode(display=False) as counter:
        decided = runtime(tiny_resnet.batch(12))
    assert counter.get_total_flops() == 2 * decided.macs.sum().item()


@pytest.mark.parametrize("width", [4, 6], ids=["one operation", "in parts"])
def test_attention_is_counted(width):
    """In each of 2 x 3 heads, 5 queries x 7 keys: a product over the keys' width, and one over the values'."""
    q, k, v = torch.zeros(2, 3, 5, 4), torch.zeros(2, 3, 7, 4), torch.zeros(2, 3, 7, width)
    attention = nn.functional.scaled_dot_product_attention
    assert count_macs(lambda: attention(q, k, v)) == 2 * 3 * 5 * 7 * (4 + width)


def test_a_transformer_layer_is_counted_also_where_torch_fuses_it():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    projections, attention, feed_forward = 5 * 8 * 24 + 5 * 8 * 8, 2 * 5 * 5 * 8, 2 * 5 * 8 * 16
    assert count_macs(lambda: layer(torch.zeros(1, 5, 8))) == projections + attention + feed_forward
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
def test_recurrent_layers_are_counted(kind, gates):
    """Both weight matrices of every gate, at every step, in every layer and direction."""
    network = kind(4, 8, num_layers=2, bidirectional=True, batch_first=True).eval()
    expected = 3 * 5 * 2 * gates * 8 * ((4 + 8) + (16 + 8))
    assert count_macs(lambda: network(torch.zeros(3, 5, 4))) == expected


def test_counting_leaves_the_settings_as_they_were_after_an_error():
    with pytest.raises(RuntimeError):
        count_macs(lambda: nn.Linear(2, 2)(torch.zeros(3)))
    assert torch.backends.mha.get_fastpath_enabled()
