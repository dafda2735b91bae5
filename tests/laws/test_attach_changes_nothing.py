"""Law 5: the plain model's outputs, state dict, modes, hooks, pickling, copying and training are as before."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

import offramp as ofr


def call(backbone: nn.Module, inputs: object) -> Tensor:
    args, kwargs = ofr.backbones.arguments(inputs)
    return backbone(*args, **kwargs)


def trained_one_step(backbone: nn.Module, inputs: object) -> dict[str, Tensor]:
    """State after one step, with dropout drawn from a fixed seed."""
    torch.manual_seed(3)
    backbone.train()
    optimizer = torch.optim.SGD(backbone.parameters(), lr=0.1)
    call(backbone, inputs).logsumexp(1).sum().backward()
    optimizer.step()
    return {name: value.clone() for name, value in backbone.state_dict().items()}


def hooks(backbone: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in backbone.modules())


def assert_same_state(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert list(a) == list(b)
    for name in a:
        assert torch.equal(a[name], b[name]), name


def test_outputs_and_state_dict_stay(tiny):
    backbone, inputs = tiny.make(), tiny.batch(5)
    state, output = copy.deepcopy(backbone.state_dict()), call(backbone, inputs)
    identities = {name: id(p) for name, p in backbone.named_parameters()}
    model = ofr.attach(backbone, at=list(tiny.cuts), example=tiny.batch(2))
    assert model.backbone is backbone
    assert_same_state(state, backbone.state_dict())
    assert {name: id(p) for name, p in backbone.named_parameters()} == identities
    assert torch.equal(call(backbone, inputs), output)
    assert torch.equal(model(inputs)[-1], output)


def test_the_example_stays(tiny):
    example = tiny.batch(3)
    before = copy.deepcopy(example)
    ofr.attach(tiny.make(), at=list(tiny.cuts), example=example)
    pairs = zip(torch.utils._pytree.tree_leaves(example), torch.utils._pytree.tree_leaves(before), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_training_flags_stay_for_every_submodule(tiny_resnet):
    backbone = tiny_resnet.make().train()
    frozen = [m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)][:2]
    for norm in frozen:
        norm.eval()
    flags = [m.training for m in backbone.modules()]
    model = ofr.attach(backbone, at=["layer1"], example=tiny_resnet.batch(2))
    assert [m.training for m in backbone.modules()] == flags
    assert model.training
    assert all(m.training for m in model.heads.modules())
    with model.evaluating():
        assert not any(m.training for m in model.modules())
    assert [m.training for m in backbone.modules()] == flags


def test_a_refused_attach_restores_the_flags_too(tiny_resnet):
    backbone = tiny_resnet.make().train()
    with pytest.raises(ofr.errors.AttachError):
        ofr.attach(backbone, at=["layer1"], example=tiny_resnet.batch(2), head=nn.Linear(1, 1))
    assert all(m.training for m in backbone.modules())


def test_no_hook_is_left_by_attach_forward_or_runtime(tiny):
    model = tiny.attach()
    model(tiny.batch(2))
    ofr.deploy(model, ofr.always(0))(tiny.batch(2))
    assert hooks(model) == 0


def test_no_hook_is_left_when_the_forward_pass_fails(tiny_mlp):
    model = tiny_mlp.attach()
    with pytest.raises(RuntimeError):
        model(torch.zeros(2, 99))
    assert hooks(model) == 0


def test_the_random_state_stays(tiny):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    ofr.attach(tiny.make(), at=list(tiny.cuts), example=tiny.batch(2), seed=1)
    assert torch.equal(torch.rand(3), expected)


def test_the_plain_model_trains_as_before(tiny):
    plain, inputs = tiny.make(), tiny.batch(6)
    attached = copy.deepcopy(plain)
    ofr.attach(attached, at=list(tiny.cuts), example=tiny.batch(2))
    assert_same_state(trained_one_step(plain, inputs), trained_one_step(attached, inputs))


def test_the_final_loss_alone_gives_the_backbone_the_plain_gradients(tiny):
    plain, inputs = tiny.make(), tiny.batch(6)
    model = ofr.attach(copy.deepcopy(plain), at=list(tiny.cuts), example=tiny.batch(2))
    call(plain, inputs).logsumexp(1).sum().backward()
    model(inputs)[-1].logsumexp(1).sum().backward()
    for (name, a), b in zip(plain.named_parameters(), model.backbone.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, msg=name)


def test_every_exit_trains_its_head_and_the_backbone_before_it(tiny):
    model = tiny.attach().train()
    model(tiny.batch(6))[0].logsumexp(1).sum().backward()
    assert all(p.grad is not None for p in model.heads[0].parameters())
    assert all(p.grad is None for p in model.heads[1:].parameters())
    assert any(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in model.backbone.parameters())


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"])
def test_copies_are_whole_and_apart(tiny, copied):
    model, inputs = tiny.attach(), tiny.batch(5)
    twin = copied(model)
    runtime, twin_runtime = (ofr.deploy(m, ofr.always(0)) for m in (model, twin))
    assert torch.equal(twin_runtime(inputs).logits, runtime(inputs).logits)
    assert twin.cost == model.cost
    assert {id(p) for p in twin.parameters()}.isdisjoint(id(p) for p in model.parameters())
    with torch.no_grad():
        next(iter(twin.backbone.parameters())).add_(1.0)
    assert not torch.equal(twin_runtime(inputs).logits, runtime(inputs).logits)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"])
def test_the_plain_model_is_copied_as_before(tiny, copied):
    backbone, inputs = tiny.make(), tiny.batch(5)
    ofr.attach(backbone, at=list(tiny.cuts), example=tiny.batch(2))
    assert torch.equal(call(copied(backbone), inputs), call(backbone, inputs))
