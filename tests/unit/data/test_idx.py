from __future__ import annotations

import gzip
import struct

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from offramp.data.idx import parse, read_idx
from offramp.errors import DataError

IMAGES = torch.arange(2 * 3 * 4, dtype=torch.uint8).reshape(2, 3, 4)


def content(values: torch.Tensor) -> bytes:
    header = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
    return header + values.numpy().tobytes()


@pytest.mark.parametrize("packed", [gzip.compress, bytes])
def test_reads_what_was_written_compressed_or_not(tmp_path, packed):
    (tmp_path / "images").write_bytes(packed(content(IMAGES)))
    assert torch.equal(read_idx(tmp_path / "images", dimensions=3), IMAGES)


def test_the_values_may_be_written_to(tmp_path):
    (tmp_path / "images").write_bytes(content(IMAGES))
    values = read_idx(tmp_path / "images", dimensions=3)
    values += 1
    assert torch.equal(values, IMAGES + 1)


def test_no_values_are_read_as_an_empty_tensor(tmp_path):
    assert parse(content(torch.empty(0, 3, 4, dtype=torch.uint8)), tmp_path, dimensions=3).shape == (0, 3, 4)


@given(keep=st.integers(min_value=0, max_value=len(content(IMAGES)) - 1))
def test_no_prefix_of_a_file_is_taken_for_the_file(tmp_path_factory, keep):
    with pytest.raises(DataError):
        parse(content(IMAGES)[:keep], tmp_path_factory.getbasetemp(), dimensions=3)


@given(keep=st.integers(min_value=2, max_value=len(gzip.compress(content(IMAGES))) - 1))
def test_no_prefix_of_a_gzip_file_is_taken_for_the_file(tmp_path_factory, keep):
    file = tmp_path_factory.getbasetemp() / "prefix.gz"
    file.write_bytes(gzip.compress(content(IMAGES))[:keep])
    with pytest.raises(DataError, match=r"prefix\.gz is truncated.*Delete the file and fetch it again"):
        read_idx(file, dimensions=3)


def test_a_flipped_bit_in_a_gzip_file_is_noticed(tmp_path):
    packed = bytearray(gzip.compress(content(IMAGES)))
    packed[len(packed) // 2] ^= 1
    (tmp_path / "images.gz").write_bytes(packed)
    with pytest.raises(DataError, match=r"images\.gz is a corrupt gzip file"):
        read_idx(tmp_path / "images.gz", dimensions=3)


def test_labels_given_for_images_are_refused_with_both_headers(tmp_path):
    (tmp_path / "labels").write_bytes(content(torch.zeros(5, dtype=torch.uint8)))
    with pytest.raises(DataError, match=r"'00000801'.*3 dimension\(s\) with '00000803'.*exchanged"):
        read_idx(tmp_path / "labels", dimensions=3)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "page.html").write_bytes(b"<html>404</html>")
    with pytest.raises(DataError, match=r"page\.html starts with the bytes '3c68746d'"):
        read_idx(tmp_path / "page.html", dimensions=1)


@pytest.mark.parametrize(("change", "held"), [(b"\0", 25), (b"\0" * 100, 124)], ids=["one", "many"])
def test_a_count_that_contradicts_the_header_is_refused_with_both_numbers(tmp_path, change, held):
    (tmp_path / "images").write_bytes(content(IMAGES) + change)
    with pytest.raises(DataError, match=rf"holds {held} values, its header promises 24 \(shape \[2, 3, 4\]\)"):
        read_idx(tmp_path / "images", dimensions=3)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"There is no data file .*absent\.gz"):
        read_idx(tmp_path / "absent.gz", dimensions=1)


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_idx(tmp_path, dimensions=1)
