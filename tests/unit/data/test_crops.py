"""Boxes that are drawn, and what is cut out of images in memory."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from offramp.data import CentreCrop, RandomResizedCrop
from offramp.errors import DataError

SIDES = st.integers(1, 400)


@given(sizes=st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_boxes_lie_inside_their_images_and_hold_a_pixel(sizes, seed):
    torch.manual_seed(seed)
    sizes = torch.tensor(sizes)
    for crop in (RandomResizedCrop(8), CentreCrop(8)):
        left, top, right, bottom = crop.boxes(sizes).corners.unbind(1)
        assert bool(((left >= 0) & (top >= 0) & (right <= sizes[:, 1]) & (bottom <= sizes[:, 0])).all())
        assert bool(((right - left > 0.5) & (bottom - top > 0.5)).all())


def test_random_boxes_have_the_areas_and_shapes_asked_for():
    torch.manual_seed(0)
    boxes = RandomResizedCrop(224).boxes(torch.tensor([[400, 500]]).expand(4000, 2))
    widths, heights = boxes.corners[:, 2] - boxes.corners[:, 0], boxes.corners[:, 3] - boxes.corners[:, 1]
    areas, ratios = widths * heights / (400 * 500), widths / heights
    assert 0.079 < float(areas.min()) < 0.1
    assert float(areas.max()) <= 1
    assert 0.74 < float(ratios.min()) < 0.78
    assert 1.28 < float(ratios.max()) < 1.34
    assert float(boxes.mirrored.float().mean()) == pytest.approx(0.5, abs=0.04)
    # Every place is equally likely: the boxes' middles spread evenly around the image's.
    middles = (boxes.corners[:, 0] + boxes.corners[:, 2]) / 2
    assert float(middles.mean()) == pytest.approx(250, abs=5)


def test_an_image_that_no_box_fits_gives_its_middle():
    boxes = RandomResizedCrop(8, scale=(0.5, 1.0)).boxes(torch.tensor([[10, 100], [100, 10]]))
    assert boxes.corners.tolist() == [[43.5, 0.0, 56.5, 10.0], [0.0, 43.5, 10.0, 56.5]]


def test_boxes_follow_from_torchs_random_state():
    sizes = torch.tensor([[30, 40]]).expand(6, 2)
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(RandomResizedCrop(8).boxes(sizes).corners)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_the_middle_is_that_of_resize_and_centre_crop():
    # 256 of the shorter side 512, of which 224: 448 pixels in the middle.
    assert CentreCrop(224).boxes(torch.tensor([[512, 612]])).corners.tolist() == [[82.0, 32.0, 530.0, 480.0]]


def test_images_in_memory_are_cut_scaled_and_mirrored():
    class Known(RandomResizedCrop):
        def boxes(self, sizes):
            return type(super().boxes(sizes))(torch.tensor([[2.0, 1.0, 6.0, 5.0]] * 2), torch.tensor([False, True]))

    images = torch.arange(64, dtype=torch.uint8).view(1, 1, 8, 8).repeat(2, 1, 1, 1)
    plain, mirrored = Known(4)(images)
    assert torch.equal(plain, images[0, :, 1:5, 2:6])
    assert torch.equal(mirrored, images[0, :, 1:5, 2:6].flip(-1))


def test_a_ramp_stays_a_ramp_when_it_is_enlarged_and_shrunk():
    ramp = (torch.arange(32) * 8).to(torch.uint8).expand(1, 3, 32, 32)
    for size in (8, 64):
        scaled = CentreCrop(size, share=1.0)(ramp).float()
        expected = (torch.arange(size) + 0.5) * 256 / size - 4
        inner = slice(size // 8, -size // 8)
        torch.testing.assert_close(scaled[0, 0, 0, inner], expected[inner], atol=1.0, rtol=0)


def test_a_size_of_nothing_is_refused():
    with pytest.raises(DataError, match=r"CentreCrop\(size=0\)"):
        CentreCrop(0)
