from __future__ import annotations

import base64
import struct
import zlib

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import offramp as ofr
from offramp.reporters.results.gallery import EACH, Gallery
from offramp.reporters.results.png import png

CLASSES = ("a", "b", "c")


def decoded(file: bytes) -> Tensor:
    """Reads back what `png` writes, chunk by chunk, checksums included."""
    assert file[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(file):
        (length,) = struct.unpack(">I", file[at : at + 4])
        kind, content = file[at + 4 : at + 8], file[at + 8 : at + 8 + length]
        (checksum,) = struct.unpack(">I", file[at + 8 + length : at + 12 + length])
        assert checksum == zlib.crc32(kind + content)
        chunks[kind] = content
        at += 12 + length
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    width, height, depth, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    channels = {0: 1, 2: 3}[colour]
    assert depth == 8
    rows = torch.frombuffer(bytearray(zlib.decompress(chunks[b"IDAT"])), dtype=torch.uint8).reshape(height, -1)
    assert (rows[:, 0] == 0).all()
    return rows[:, 1:].reshape(height, width, channels).permute(2, 0, 1)


@given(st.sampled_from([1, 3]), st.integers(1, 9), st.integers(1, 9), st.integers(0, 1000))
def test_a_png_holds_the_image(channels: int, height: int, width: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(256, (channels, height, width), generator=generator, dtype=torch.uint8)
    assert torch.equal(decoded(png(image)), image)


def gallery_of(recording: ofr.Recording, policy: ofr.Policy, images: Tensor) -> Gallery:
    return Gallery.of(recording, policy, ofr.simulate(recording, policy), images, CLASSES)


def test_shelves_hold_the_surest_and_least_sure_of_those_who_left(
    recording: ofr.Recording, policy: ofr.Policy, images: Tensor
) -> None:
    gallery = gallery_of(recording, policy, images)
    decisions = ofr.simulate(recording, policy)
    scores = policy.score(0, recording.logits[0])
    here = sorted((decisions.exits == 0).nonzero().flatten().tolist(), key=lambda row: -float(scores[row]))
    assert len(here) > 2 * EACH
    shelf = gallery.shelves[0]
    assert [picture.index for picture in shelf.easiest] == here[:EACH]
    assert [picture.index for picture in shelf.hardest] == here[-EACH:]
    for picture in shelf.easiest + shelf.hardest:
        assert picture.label == CLASSES[int(recording.required_labels[picture.index])]
        assert picture.prediction == CLASSES[int(decisions.predictions[picture.index])]
        assert torch.equal(decoded(base64.b64decode(picture.png)), images[picture.index])


def test_nobody_is_shown_twice_where_few_left(policy: ofr.Policy, images: Tensor) -> None:
    sure = torch.tensor([9.0, 0.0, 0.0])
    logits = torch.stack([sure.repeat(5, 1)] * 3)
    recording = ofr.Recording(logits, [0, 0, 0, 1, 1], macs=[1, 2, 3])
    shelf = gallery_of(recording, policy, images).shelves[0]
    shown = [picture.index for picture in shelf.easiest + shelf.hardest]
    assert sorted(shown) == [0, 1, 2, 3, 4]
    assert [picture.right for picture in shelf.easiest + shelf.hardest].count(False) == 2
