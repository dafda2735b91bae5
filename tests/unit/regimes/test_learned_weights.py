from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny_models import image_model
from torch import Tensor, nn

import offramp as ofr
from offramp.errors import TrainingError
from offramp.regimes import Disjoint, Joint, LearnedWeights, SelfDistillation, Step
from offramp.regimes.weighing_samples import LearnedWeightsLoss, SampleWeights, exits_by_confidence


def linear_model() -> ofr.ExitModel:
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    return ofr.attach(backbone, at=["1"], example=torch.zeros(1, 4, dtype=torch.float64))


def batch(n: int = 12) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, 4, dtype=torch.float64, generator=generator), torch.randint(3, (n,), generator=generator)


def loss_for(model: ofr.ExitModel, **options: Any) -> LearnedWeightsLoss:
    loss: Any = LearnedWeights(**options).phases(model.exits, 1)[0].loss
    loss.begins(model)
    return loss.double()


def test_at_first_every_sample_counts_the_same():
    model, (x, y) = linear_model(), batch()
    logits = model(x)
    expected = Joint().phases(2, 1)[0].loss(logits, y)
    found = loss_for(model)(logits, y, Step(inputs=x, lr=0.1))
    assert found.total.item() == pytest.approx(expected.total.item())
    assert found.exits.tolist() == pytest.approx(expected.exits.tolist())


def test_weights_have_mean_one_and_stay_in_their_range():
    torch.manual_seed(0)
    weigh = SampleWeights(exits=3, spread=0.5, width=8)
    nn.init.normal_(weigh.out.weight, std=5.0)
    weights = weigh(torch.rand(100, 3))
    assert weights.mean(dim=0).tolist() == pytest.approx([1.0] * 3)
    assert 0.5 < weights.min() < 0.9 < 1.1 < weights.max() < 1.5


def test_the_look_ahead_is_a_virtual_step_written_by_hand():
    model, (x, y) = linear_model(), batch()
    loss = loss_for(model, spread=0.5)
    nn.init.normal_(loss.weigh.out.weight)
    ahead = loss.ahead(y, Step(inputs=x, lr=0.3))
    by_hand = linear_model()
    own = list(by_hand.parameters())
    each = torch.stack([F.cross_entropy(z, y[:6], reduction="none") for z in by_hand(x[:6])], dim=1)
    gradients = torch.autograd.grad((loss.weigh(each).detach() * each).mean(dim=0).mean(), own)
    with torch.no_grad():
        for p, g in zip(own, gradients, strict=True):
            p -= 0.3 * g
        after = by_hand(x[6:])
        leaving = exits_by_confidence(after, 0.7)
        chosen = [F.cross_entropy(after[k][i : i + 1], y[6 + i : 7 + i]) for i, k in enumerate(leaving.tolist())]
    assert ahead.item() == pytest.approx(torch.stack(chosen).mean().item())


def test_the_gradient_of_the_weights_network_is_that_of_the_look_ahead():
    model, (x, y) = linear_model(), batch()
    loss = loss_for(model, rate=2.0)
    nn.init.normal_(loss.weigh.out.weight)
    step = Step(inputs=x, lr=0.3)
    loss(model(x), y, step).total.backward()
    before = [p.grad.clone() for p in model.parameters()]
    weight, small = loss.weigh.out.weight, 1e-5
    ends = []
    for sign in (1, -1):
        with torch.no_grad():
            weight[0, 3] += sign * small
        ends.append(loss.ahead(y, step).item())
        with torch.no_grad():
            weight[0, 3] -= sign * small
    assert weight.grad[0, 3].item() == pytest.approx(2 * (ends[0] - ends[1]) / (2 * small), rel=1e-4)
    # The model's gradient is that of the weighted loss alone.
    model.zero_grad()
    each = loss.each(model(x), y)
    loss.weighted(each, loss.weigh(each.detach()).detach(), step).backward()
    for mine, theirs in zip(before, model.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs.grad)


def test_looking_ahead_leaves_batch_statistics_and_weights_alone():
    model = image_model().train()
    loss: Any = LearnedWeights().phases(3, 1)[0].loss
    loss.begins(model)
    x, y = torch.randn(8, 1, 6, 6), torch.randint(3, (8,))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    loss.ahead(y, Step(inputs=x, lr=0.1)).backward()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert "_model" not in dict(loss.named_modules())


def test_between_looks_the_network_rests():
    model, (x, y) = linear_model(), batch()
    loss = loss_for(model, every=3)
    nn.init.normal_(loss.weigh.out.weight)
    loss(model(x), y, Step(number=2, inputs=x, lr=0.1)).total.backward()
    assert not any(p.grad.any() for p in loss.weigh.parameters())


def test_samples_leave_in_fixed_numbers_the_surest_first():
    generator = torch.Generator().manual_seed(0)
    logits = [torch.randn(70, 4, generator=generator) for _ in range(3)]
    leaving = exits_by_confidence(logits, keep=0.5)
    assert leaving.bincount().tolist() == [40, 20, 10]
    sure = [z.softmax(-1).amax(-1) for z in logits]
    assert sure[0][leaving == 0].min() >= sure[0][leaving != 0].max()
    assert sure[1][leaving == 1].min() >= sure[1][leaving == 2].max()


class Attending(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        heads = x[:, None]
        return x + F.scaled_dot_product_attention(heads, heads, heads)[:, 0]


def test_fused_attention_can_be_looked_ahead_of():
    backbone = nn.Sequential(nn.Linear(4, 8), Attending(), nn.Linear(8, 8), Attending(), nn.Flatten(), nn.Linear(40, 3))
    model = ofr.attach(backbone, at=["1"], example=torch.zeros(1, 5, 4))
    x, y = torch.randn(8, 5, 4), torch.randint(3, (8,))
    loss = loss_for(model).float()
    nn.init.normal_(loss.weigh.out.weight)
    loss(model(x), y, Step(inputs=x, lr=0.1)).total.backward()
    assert all(p.grad.any() for p in loss.weigh.parameters())


def test_it_combines():
    phase = SelfDistillation(LearnedWeights(Disjoint())).phases(3, 2)[1]
    assert isinstance(phase.loss.parts[0], LearnedWeightsLoss)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spread": 1.0}, "spread=1.0.*above 0 and below 1"),
        ({"keep": 0}, "keep=0"),
        ({"every": 0.5}, "every=0.5.*whole number"),
        ({"rate": float("inf")}, "rate=inf"),
    ],
)
def test_impossible_parameters_are_told(options: dict[str, Any], message: str):
    with pytest.raises(TrainingError, match=message):
        LearnedWeights(**options)
