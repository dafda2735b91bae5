from __future__ import annotations

import pytest
import torch
from torch import nn

import offramp as ofr
from offramp.errors import OfframpError
from offramp.zoo import TextTransformer, VisionTransformer
from offramp.zoo.encoder import EncoderBlock, sinusoids


def test_attention_is_that_of_torch():
    torch.manual_seed(0)
    block, tokens = EncoderBlock(8, heads=2, hidden=16), torch.randn(3, 5, 8)
    theirs = nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(block.project_in.weight)
        theirs.in_proj_bias.copy_(block.project_in.bias)
        theirs.out_proj.weight.copy_(block.project_out.weight)
        theirs.out_proj.bias.copy_(block.project_out.bias)
        expected = theirs(tokens, tokens, tokens)[0]
        torch.testing.assert_close(block.project_out(block._attention(tokens)), expected)


def test_patches_know_their_place_in_images_of_any_shape():
    torch.manual_seed(0)
    net = VisionTransformer(width=16, depth=1, heads=2, patch=4, in_channels=1).eval()
    image = torch.zeros(1, 1, 8, 16)
    image[..., :4, :4] = 1
    moved = image.roll(4, dims=3)
    with torch.no_grad():
        assert net(torch.zeros(2, 1, 12, 8)).shape == (2, 10)
        assert not torch.allclose(net.patches(image)[0].sort(dim=0).values, net.patches(moved)[0].sort(dim=0).values)


def test_the_order_of_words_counts():
    torch.manual_seed(0)
    net = TextTransformer(20, width=8, depth=1, heads=2, num_classes=3).eval()
    with torch.no_grad():
        assert not torch.allclose(net(torch.tensor([[1, 2, 3]])), net(torch.tensor([[3, 2, 1]])))


def test_positions_are_told_apart():
    places = sinusoids(50, 8)
    distances = torch.cdist(places, places) + torch.eye(50)
    assert float(distances.min()) > 0.05


@pytest.mark.parametrize(
    ("net", "at", "example"),
    [
        (
            VisionTransformer(width=8, depth=3, heads=2, in_channels=1),
            ["blocks.0", "blocks.1"],
            torch.zeros(1, 1, 8, 8),
        ),
        (TextTransformer(9, width=8, depth=3, heads=2), ["blocks.0"], torch.zeros(1, 4, dtype=torch.int64)),
    ],
)
def test_they_are_cut_into_stages(net, at, example):
    model = ofr.attach(net, at=at, example=example)
    assert len(model.stages()) == len(at) + 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: EncoderBlock(6, heads=4, hidden=2),
        lambda: VisionTransformer(width=6, heads=2),
        lambda: VisionTransformer(depth=0),
        lambda: TextTransformer(0),
    ],
)
def test_impossible_sizes_are_refused(make):
    with pytest.raises(OfframpError, match=r"divisible|4 k|at least 1"):
        make()
