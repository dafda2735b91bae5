"""Rows are moved alike, whoever moves them."""

import pytest
import torch

from offramp.runtimes.rows import ArrayRows, TensorRows, rows_for

MOVERS = pytest.mark.parametrize("rows", [TensorRows(), ArrayRows()], ids=["tensors", "arrays"])
CARRY = (torch.arange(24.0).view(6, 2, 2), torch.arange(6))


@MOVERS
@pytest.mark.parametrize("index", [[0, 3, 5], [2], list(range(6))])
def test_rows_are_kept_in_order(rows, index):
    kept = rows.keep(CARRY, torch.tensor(index))
    for found, tensor in zip(kept, CARRY, strict=True):
        assert torch.equal(found, torch.stack([tensor[i] for i in index]))


@MOVERS
def test_what_is_taken_apart_is_joined_again(rows):
    parts = [[t[:1] for t in CARRY], [t[1:4] for t in CARRY], [t[4:] for t in CARRY]]
    for found, tensor in zip(rows.join(parts), CARRY, strict=True):
        assert torch.equal(found, tensor)


def test_images_stay_channels_last():
    images = torch.randn(4, 3, 5, 5).contiguous(memory_format=torch.channels_last)
    (kept,) = TensorRows().keep([images], torch.tensor([1, 3]))
    assert kept.is_contiguous(memory_format=torch.channels_last)


def test_backends_with_threads_of_their_own_wake_none_of_torch():
    assert isinstance(rows_for("onnxruntime"), ArrayRows)
    assert isinstance(rows_for("openvino"), ArrayRows)
    assert isinstance(rows_for("eager"), TensorRows)
