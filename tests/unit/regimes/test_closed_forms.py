"""Every regime's loss, or what it does to the pass, against numbers worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny_models import image_model, text_model
from torch import Tensor, nn

import offramp as ofr
from offramp.errors import TrainingError
from offramp.regimes import (
    Alternating,
    Boosted,
    BranchWise,
    ConfidenceGated,
    Disjoint,
    FeatureHints,
    GeometricEnsembling,
    GradientEquilibrium,
    GradualUnfreezing,
    Joint,
    LayerDropout,
    Mixed,
    Regime,
    Rotational,
    SelfDistillation,
    Step,
)
from offramp.regimes.features import Features, last_layer, vectors
from offramp.regimes.layer_dropout import LayerDropoutPass, shape_keeping_blocks

LABELS = torch.tensor([0, 1])
# Probabilities of class 0 and 1: (3/4, 1/4) and (1/2, 1/2); (1/2, 1/2) twice; (9/10, 1/10) and (1/5, 4/5).
LOGITS = [
    torch.tensor([[math.log(3), 0.0], [0.0, 0.0]]),
    torch.zeros(2, 2),
    torch.tensor([[math.log(9), 0.0], [0.0, math.log(4)]]),
]
CE = [
    (-math.log(3 / 4) - math.log(1 / 2)) / 2,
    -math.log(1 / 2),
    (-math.log(9 / 10) - math.log(4 / 5)) / 2,
]


def total(regime: Regime, phase: int = 0, step: Step = Step(), epochs: int = 4) -> float:  # noqa: B008
    loss = regime.phases(3, epochs)[phase].loss
    return loss(LOGITS, LABELS, step).total.item()


def test_the_toy_cross_entropies():
    assert [F.cross_entropy(z, LABELS).item() for z in LOGITS] == pytest.approx(CE)


def test_disjoint():
    assert total(Disjoint(), 0) == pytest.approx(CE[2])
    assert total(Disjoint(), 1) == pytest.approx((CE[0] + CE[1]) / 3)
    assert total(Disjoint(weights=[0.5, 0.2]), 1) == pytest.approx(0.5 * CE[0] + 0.2 * CE[1])


def test_mixed():
    assert total(Mixed(), 0) == pytest.approx(CE[2])
    assert total(Mixed(weights="depth"), 1) == pytest.approx((CE[0] + 2 * CE[1] + 3 * CE[2]) / 6)


def test_the_ramp_of_shallow_deep_networks():
    joint = Joint(weights="ramp")
    assert joint.exit_weights(3) == pytest.approx((0.15, 0.9, 1.0))
    assert joint.exit_weights(4) == pytest.approx((0.15, 0.525, 0.9, 1.0))
    assert total(joint, step=Step(epoch=0)) == pytest.approx(0.01 * CE[0] + 0.01 * CE[1] + CE[2])
    assert total(joint, step=Step(epoch=2)) == pytest.approx(0.085 * CE[0] + 0.46 * CE[1] + CE[2])
    # 0.01 + 3/4 C is below C for the second exit only while C > 0.04: both still rise; at the end they are capped.
    assert total(joint, step=Step(epoch=4)) == pytest.approx(0.15 * CE[0] + 0.9 * CE[1] + CE[2])
    assert total(Disjoint(weights="ramp"), 1, Step(epoch=1)) == pytest.approx(0.085 * CE[0] + 0.46 * CE[1])


def test_alternating_odd_steps_hear_the_final_exit_alone():
    assert total(Alternating(), step=Step(number=0)) == pytest.approx(CE[2])
    assert total(Alternating(), step=Step(number=1)) == pytest.approx(sum(CE) / 3)
    assert total(Alternating(), step=Step(number=2)) == pytest.approx(CE[2])


def test_branch_wise():
    phases = BranchWise().phases(3, 7)
    assert [phase.epochs for phase in phases] == [2, 2, 3]
    assert [phase.parts for phase in phases] == [("stages.0", "heads.0"), ("stages.1", "heads.1"), ("stages.2",)]
    assert [total(BranchWise(), k) for k in range(3)] == pytest.approx(CE)
    with pytest.raises(TrainingError, match="Give at least 3 epochs"):
        BranchWise().phases(3, 2)


def divergence(teacher: tuple[float, float], own: tuple[float, float]) -> float:
    return sum(t * math.log(t / o) for t, o in zip(teacher, own, strict=True))


def test_self_distillation_from_the_last_exit():
    base = sum(CE) / 3
    first = (divergence((0.9, 0.1), (0.75, 0.25)) + divergence((0.2, 0.8), (0.5, 0.5))) / 2
    second = (divergence((0.9, 0.1), (0.5, 0.5)) + divergence((0.2, 0.8), (0.5, 0.5))) / 2
    regime = SelfDistillation(weight=0.3, temperature=1.0)
    assert total(regime) == pytest.approx(base + 0.3 * (first + second) / 2)


def test_self_distillation_from_the_next_exit():
    first = (divergence((0.5, 0.5), (0.75, 0.25)) + 0) / 2
    second = (divergence((0.9, 0.1), (0.5, 0.5)) + divergence((0.2, 0.8), (0.5, 0.5))) / 2
    regime = SelfDistillation(teacher="next", weight=1.0, temperature=1.0)
    assert total(regime) == pytest.approx(sum(CE) / 3 + (first + second) / 2)


def test_self_distillation_at_a_temperature():
    # At T = 2 the odds 3 : 1 become sqrt(3) : 1, and so on.
    odds = [math.sqrt(3), 1.0, 3.0]
    soft = [(o / (1 + o), 1 / (1 + o)) for o in odds]
    terms = [divergence(soft[2], soft[0]), divergence(soft[2], soft[1])]
    logits, labels = [z[:1] for z in LOGITS], LABELS[:1]
    loss = SelfDistillation(weight=1.0, temperature=2.0).phases(3, 1)[0].loss
    plain = Joint().phases(3, 1)[0].loss(logits, labels).total
    assert (loss(logits, labels).total - plain).item() == pytest.approx(4 * sum(terms) / 2, rel=1e-5)


def test_the_teacher_gets_no_gradient():
    logits = [z.clone().requires_grad_() for z in LOGITS]
    regime = SelfDistillation(Disjoint(), teacher="next")
    regime.phases(3, 2)[1].loss(logits, LABELS).total.backward()
    assert logits[0].grad is not None
    assert logits[2].grad is None or not logits[2].grad.any()


def test_only_phases_with_several_exits_are_changed():
    backbone, heads = SelfDistillation(Disjoint()).phases(3, 2)
    assert total(SelfDistillation(Disjoint()), 0) == pytest.approx(CE[2])
    assert type(backbone.loss) is not type(heads.loss)
    assert [len(phase.changes) for phase in GradientEquilibrium(Mixed()).phases(3, 2)] == [0, 1]


def test_confidence_gating():
    # Exit 0 is sure (3/4 >= 0.7) and right on sample 0 only; exit 1 on none, as 1/2 < 0.7.
    regime = ConfidenceGated(Joint(weights="depth"), threshold=0.7, floor=0.1)
    w = [1 / 6, 2 / 6, 3 / 6]
    first = (w[0] + 0.1) * CE[0]
    second = (0.1 * math.log(2) + (w[1] + 0.1) * math.log(2)) / 2
    third = (0.1 * -math.log(0.9) + (w[2] + 0.1) * -math.log(0.8)) / 2
    assert total(regime) == pytest.approx(first + second + third)
    ungated = ConfidenceGated(threshold=1.0, floor=0.0)
    assert total(ungated) == pytest.approx(sum(CE) / 3)


def test_boosted_exits_answer_with_the_sum_and_leave_the_earlier_ones_alone():
    logits = [z.clone().requires_grad_() for z in LOGITS]
    loss = Boosted(Joint(weights=[0.2, 0.3])).phases(3, 1)[0].loss
    # Odds multiply: sample 0 has 3, 3 and 27 to 1 for its class; sample 1 has 1, 1 and 4 to 1.
    each = [(math.log(4 / 3) + math.log(2)) / 2] * 2 + [(math.log(28 / 27) + math.log(5 / 4)) / 2]
    losses = loss(logits, LABELS)
    assert losses.exits.tolist() == pytest.approx(each)
    assert losses.total.item() == pytest.approx(0.2 * each[0] + 0.3 * each[1] + 0.5 * each[2])
    losses.total.backward()
    assert logits[0].grad[0].tolist() == pytest.approx([-0.2 / 4 / 2, 0.2 / 4 / 2])


def test_geometric_ensembling_trains_every_member():
    logits = [z.clone().requires_grad_() for z in LOGITS]
    loss = GeometricEnsembling(Joint()).phases(3, 1)[0].loss
    # Odds are geometric means: sample 0 has 3, sqrt(3), 27^(1/3) = 3; sample 1 has 1, 1, 4^(1/3).
    cube = 4 ** (1 / 3)
    odds = [(3, 1), (math.sqrt(3), 1), (3, cube)]
    each = [(math.log(1 + 1 / a) + math.log(1 + 1 / b)) / 2 for a, b in odds]
    losses = loss(logits, LABELS)
    assert losses.exits.tolist() == pytest.approx(each)
    losses.total.backward()
    alone = F.cross_entropy(LOGITS[0].requires_grad_(), LABELS)
    own = torch.autograd.grad(alone / 3, LOGITS[0])[0]
    LOGITS[0].requires_grad_(False)
    assert not torch.allclose(logits[0].grad, own)


@pytest.mark.parametrize("regime", [Boosted(), GeometricEnsembling(Joint())])
def test_ensembles_answer_as_their_criterion_does(regime: Regime):
    generator = torch.Generator().manual_seed(0)
    logits = [torch.randn(50, 5, generator=generator) for _ in range(3)]
    answers = regime.phases(3, 1)[0].loss.answers(logits)
    policy = ofr.Policy(criterion=ofr.criteria.GeometricEnsemble(), thresholds=(0.5, 0.5))
    recording = ofr.Recording(torch.stack(logits), None, macs=(1, 2, 3))
    assert torch.equal(recording.answers(policy).argmax(-1), torch.stack(list(answers)).argmax(-1))


def test_rotation():
    regime = Rotational(period=2, scale=0.5)
    # Raw weights: 0.5, 1.5 and 2 + 0.5 * 3 = 3.5.
    assert total(regime, step=Step(number=0)) == pytest.approx((0.5 * CE[0] + 3.5 * CE[2]) / 4)
    assert total(regime, step=Step(number=1)) == pytest.approx((1.5 * CE[1] + 3.5 * CE[2]) / 5)
    assert total(Rotational(period=1, scale=0.5)) == pytest.approx((0.5 * CE[0] + 1.5 * CE[1] + 3.5 * CE[2]) / 5.5)


class Chain(nn.Module):
    """Stages that multiply by one number each, so that gradients are products."""

    def __init__(self, stages: int) -> None:
        super().__init__()
        self.stages = nn.Sequential(*(Factor() for _ in range(stages)))
        self.out = nn.Linear(2, 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.stages(x))


class Factor(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


def chain(exits: int) -> ofr.ExitModel:
    cuts = [f"stages.{k}" for k in range(exits - 1)]
    model = ofr.attach(
        Chain(exits - 1), at=cuts, example=torch.zeros(1, 2), head=lambda f, c: nn.Linear(2, 2, bias=False)
    )
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.eye_(module.weight)
    return model


@pytest.mark.parametrize("exits", [2, 3, 5])
def test_gradient_equilibrium_gives_every_later_exit_the_same_share(exits: int):
    x = torch.tensor([[1.0, 2.0]])
    (change,) = GradientEquilibrium().phases(exits, 1)[0].changes
    for j in range(exits):
        model = chain(exits)
        handles = change.install(model, Step)
        model(x)[j].sum().backward()
        for i, stage in enumerate(model.backbone.stages):
            # Unscaled, each exit at or behind stage i gives its weight the gradient 1 + 2.
            expected = 3 / (exits - i) if j >= i else 0.0
            assert (stage.weight.grad or torch.zeros(())).item() == pytest.approx(expected)
        head = model.heads[j].weight if j < exits - 1 else model.backbone.out.weight
        assert head.grad.tolist() == [[1.0, 2.0], [1.0, 2.0]]
        for handle in handles:
            handle.remove()


def test_equilibrium_leaves_the_forward_pass_alone():
    model = image_model()
    x = torch.randn(4, 1, 6, 6)
    (change,) = GradientEquilibrium().phases(3, 1)[0].changes
    model.eval()
    before = [z.clone() for z in model(x)]
    handles = change.install(model, Step)
    assert all(torch.equal(a, b) for a, b in zip(before, model(x), strict=True))
    for handle in handles:
        handle.remove()


def test_unfreezing_stops_gradients_in_the_share_of_steps_that_is_left():
    (change,) = GradualUnfreezing(lowest=1).phases(3, 1)[0].changes
    for done in (0.0, 0.25, 0.9):
        closed = [change.closed(Step(done=done, seed=seed), 2) for seed in range(2000)]
        assert set(closed) <= {0, 1}
        assert sum(closed) / 2000 == pytest.approx(1 - done, abs=0.05)
    drawn = GradualUnfreezing().phases(3, 1)[0].changes[0]
    assert {drawn.closed(Step(seed=seed), 2) for seed in range(50)} == {1, 2}


def test_closed_cuts_pass_no_gradient_and_their_heads_learn():
    model = chain(3)
    (change,) = GradualUnfreezing(lowest=1).phases(3, 1)[0].changes
    handles = change.install(model, lambda: Step(done=0.0))
    torch.stack(model(torch.ones(1, 2))).sum().backward()
    first, second = model.backbone.stages
    assert first.weight.grad is None
    assert second.weight.grad.item() == pytest.approx(4.0)
    assert model.heads[0].weight.grad is not None
    for handle in handles:
        handle.remove()
    with pytest.raises(TrainingError, match=r"lowest=3\): the model has 2 cuts"):
        GradualUnfreezing(lowest=3).phases(3, 1)[0].changes[0].check(model)


def test_hints_compare_early_features_with_the_last_layers_input():
    model = image_model().eval()
    loss = FeatureHints(weight=2.0).phases(3, 1)[0].loss
    hint: Any = loss.parts[1]
    loss.begins(model)
    for to in hint.maps:
        nn.init.eye_(to.weight)
        nn.init.zeros_(to.bias)
    watched = Features(model)
    x = torch.randn(4, 1, 6, 6)
    with watched.watching():
        logits = model(x)
    features = watched.take()
    a, b, last = (vectors(f) for f in features)
    assert torch.equal(model.backbone.out(last), logits[-1])
    expected = 2 * ((a - last).square().mean() + (b - last).square().mean()) / 2
    labels = torch.zeros(4, dtype=torch.long)
    plain = Joint().phases(3, 1)[0].loss(logits, labels).total
    assert (loss(logits, labels, Step(features=features)).total - plain).item() == pytest.approx(
        expected.item(), rel=1e-4
    )


def test_the_last_layer_is_found_in_any_order_of_definition():
    model = text_model()
    assert last_layer(model) is model.backbone.out


def test_dropping_rates_rise_with_depth_and_time():
    rate = LayerDropoutPass(rate=0.4, curriculum=True)
    assert rate.probability(0.0, 1.0) == 0.0
    assert rate.probability(1.0, 1.0) == pytest.approx(0.4)
    assert rate.probability(0.5, 1.0) == pytest.approx(0.4 * (math.sqrt(2) - 1))
    assert rate.probability(1.0, 0.0) == 0.0
    assert rate.probability(1.0, 0.5) == pytest.approx(0.4 * (math.sqrt(2) - 1))
    assert LayerDropoutPass(rate=0.4, curriculum=False).probability(1.0, 0.0) == pytest.approx(0.4)


def test_a_dropped_block_gives_back_what_it_was_given_sample_by_sample():
    model = text_model().eval()
    blocks = shape_keeping_blocks(model, None)
    assert blocks == list(model.backbone.blocks)
    seen: list[tuple[Tensor, Tensor]] = []
    change = LayerDropoutPass(rate=0.5, curriculum=False)
    handles: list[Any] = change.install(model, Step)
    handles.append(blocks[2].register_forward_hook(lambda module, inputs, output: seen.append((inputs[0], output))))
    torch.manual_seed(0)
    model(tokens=torch.randint(11, (200, 5)), mask=torch.ones(200, 5))
    ((before, after),) = seen
    dropped = (before == after).flatten(1).all(dim=1)
    assert dropped.float().mean().item() == pytest.approx(0.5, abs=0.12)
    # After the blocks' own hooks are gone, the rows that were kept are those of the block.
    for handle in handles:
        handle.remove()
    torch.testing.assert_close(after[~dropped], blocks[2](before)[~dropped])


def test_layer_dropout_refuses_models_without_such_blocks():
    model = ofr.attach(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), at=["1"], example=torch.zeros(1, 4))
    with pytest.raises(TrainingError, match=r"0 of 0 blocks of Sequential give a tensor of the shape they are given"):
        LayerDropout().phases(2, 1)[0].changes[0].check(model)
    with pytest.raises(TrainingError, match=r"blocks='body'\): the backbone has no such module"):
        LayerDropout(blocks="body").phases(2, 1)[0].changes[0].check(model)
    with pytest.raises(TrainingError, match="2 of 4 blocks"):
        LayerDropout(blocks="").phases(3, 1)[0].changes[0].check(image_model())


def test_regimes_combine():
    regime = GradientEquilibrium(SelfDistillation(ConfidenceGated(Mixed(), floor=0.0, threshold=1.0), temperature=1.0))
    joint = regime.phases(3, 2)[1]
    distilled = SelfDistillation(temperature=1.0).phases(3, 2)[0].loss
    assert len(joint.changes) == 1
    assert joint.loss(LOGITS, LABELS).total.item() == pytest.approx(distilled(LOGITS, LABELS).total.item())
    again = Boosted(SelfDistillation()).phases(3, 1)[0].loss
    torch.testing.assert_close(again.answers(LOGITS)[2], torch.stack(LOGITS).sum(0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SelfDistillation(teacher="first"), "give 'last' or 'next'"),
        (lambda: SelfDistillation(weight=0), "weight=0"),
        (lambda: SelfDistillation(temperature=float("inf")), "temperature=inf"),
        (lambda: ConfidenceGated(threshold=1.2), "threshold=1.2"),
        (lambda: ConfidenceGated(floor=-1), "floor=-1"),
        (lambda: FeatureHints(weight=float("nan")), "weight=nan"),
        (lambda: GradualUnfreezing(lowest=0), "lowest=0"),
        (lambda: LayerDropout(rate=1.0), "rate=1.0"),
        (lambda: Rotational(period=0), "period=0"),
        (lambda: Rotational(scale=0), "scale=0"),
        (lambda: BranchWise(label_smoothing=1), "label_smoothing=1"),
        (lambda: Boosted(Boosted()).phases(2, 1), r"Boosted\(base=...\): the base's loss is BoostedCrossEntropy"),
        (lambda: SelfDistillation().phases(1, 1)[0].check(1), "needs an early exit"),
        (lambda: SelfDistillation(BranchWise()).phases(2, 2), r"SelfDistillation\(base=BranchWise.* changes nothing"),
        (lambda: GradientEquilibrium(Disjoint()).phases(2, 2), r"Disjoint\(...\)\) changes nothing"),
    ],
)
def test_impossible_parameters_are_told(make: Any, message: str):
    with pytest.raises(TrainingError, match=message):
        make()
