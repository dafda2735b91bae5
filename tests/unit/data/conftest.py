"""No test of the data sets reaches the network or the machine's package manager."""

from __future__ import annotations

import gzip
import hashlib
import struct
import urllib.request
from pathlib import Path

import pytest
import torch

from offramp.data import ImageData, fashion_mnist


def write_idx(path: Path, values: torch.Tensor) -> Path:
    """Writes uint8 values as a gzip-compressed idx file."""
    header = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
    path.write_bytes(gzip.compress(header + values.numpy().tobytes()))
    return path


@pytest.fixture(autouse=True)
def _offline(tmp_path, monkeypatch):
    open_really = urllib.request.urlopen

    def open_files_only(url, *args, **kwargs):
        assert url.startswith("file:"), f"a test tried to reach {url}"
        return open_really(url, *args, **kwargs)

    monkeypatch.setattr(urllib.request, "urlopen", open_files_only)
    # Only commands that a test puts there itself are found.
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


@pytest.fixture
def bare_machine(tmp_path, monkeypatch) -> Path:
    """A machine on which Fashion-MNIST is nowhere; returns its (missing) folder for installed data."""
    monkeypatch.delenv("OFFRAMP_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(fashion_mnist, "INSTALLED", tmp_path / "installed")
    monkeypatch.setattr(fashion_mnist, "ARCHIVES", ())
    return tmp_path / "installed"


@pytest.fixture
def tiny_files(bare_machine, tmp_path, monkeypatch) -> Path:
    """A folder with the four files of a tiny set that passes for Fashion-MNIST, outside of all usual places."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    for part, count in (("train", 20), ("t10k", 10)):
        images = torch.randint(256, (count, 28, 28), dtype=torch.uint8, generator=generator)
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", images)
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", torch.arange(count, dtype=torch.uint8) % 10)
    digests = {file.name: hashlib.sha256(gzip.decompress(file.read_bytes())).hexdigest() for file in folder.iterdir()}
    monkeypatch.setattr(fashion_mnist, "SHA256", digests)
    return folder


@pytest.fixture
def colour_images() -> ImageData:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (30, 3, 6, 5), dtype=torch.uint8, generator=generator)
    return ImageData("noise", images, torch.arange(30) % 3, ("a", "b", "c"), provenance="made up")
