"""Batch sizes in buckets: with CUDA graphs where there is a GPU, and on the CPU with recordings that run again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

import offramp as ofr
from offramp.errors import InputError
from offramp.runtimes.backends.cudagraphs import Bucketed, Recorded, record

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")),
]


def run_again(program, inputs):
    """Stands in for a CUDA graph: fixed buffers, filled anew by every replay."""
    outputs = [x.clone() for x in program(*inputs)]

    def replay():
        for buffer, found in zip(outputs, program(*(x.clone() for x in inputs)), strict=True):
            buffer.copy_(found)

    return Recorded(inputs, outputs, replay)


def scaled(x, y):
    return x.relu_() + 1, 2 * y  # works in place, as segments may


def bucketed(device, largest=16):
    return Bucketed(scaled, record if device == "cuda" else run_again, largest)


def rows(count, device="cpu"):
    x = torch.randn(count, 3, generator=torch.Generator().manual_seed(count)).to(device)
    return x, torch.arange(count, device=device)


@pytest.mark.parametrize("device", DEVICES)
def test_any_number_of_rows_gives_what_the_program_gives(device):
    program = bucketed(device)
    for count in (1, 5, 16, 3, 40, 7, 1):
        x, y = rows(count, device)
        expected = scaled(x.clone(), y)
        for found, wanted in zip(program(x.clone(), y), expected, strict=True):
            assert torch.equal(found, wanted)


def test_few_sizes_are_recorded_and_large_batches_are_not():
    program = bucketed("cpu")
    for count in (1, 3, 4, 5, 6, 7, 8, 9, 16, 17, 100):
        program(*rows(count))
    assert program.buckets == (1, 4, 8, 16)


def test_answers_are_not_overwritten_by_the_next_call():
    program = bucketed("cpu")
    first, _ = program(*rows(4))
    kept = first.clone()
    program(*rows(3))
    assert torch.equal(first, kept)


def test_threads_do_not_mix_their_rows():
    program = bucketed("cpu")
    batches = [rows(count) for count in [4, 3, 4, 2] * 20]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda batch: program(*(t.clone() for t in batch)), batches))
    for (out, doubled), (x, y) in zip(found, batches, strict=True):
        assert torch.equal(out, x.relu() + 1)
        assert torch.equal(doubled, 2 * y)


def test_images_stay_channels_last():
    x = torch.randn(3, 4, 5, 5).contiguous(memory_format=torch.channels_last)
    (found,) = Bucketed(lambda x: (x + 1,), run_again)(x)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(found, x + 1)


def test_a_model_on_the_cpu_is_told_what_to_use():
    backbone = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    model = ofr.attach(backbone, at=["1"], example=torch.zeros(1, 4)).eval()
    with pytest.raises(InputError, match=r"the model is on cpu.*'auto'"):
        ofr.deploy(model, ofr.always(exit=1), backend="cudagraphs")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_decisions_on_a_gpu_are_the_eager_ones():
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    model = ofr.attach(backbone, at=["1"], example=torch.zeros(1, 4)).eval().cuda()
    x = torch.randn(37, 4, device="cuda")
    policy = ofr.Policy(ofr.criteria.MaxProbability(), [0.4])
    expected, found = (ofr.deploy(model, policy, backend=name)(x) for name in ("eager", "cudagraphs"))
    assert torch.equal(found.exits, expected.exits)
    torch.testing.assert_close(found.logits, expected.logits)
