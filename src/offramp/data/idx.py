"""Reader of idx files, the format of MNIST and its descendants, plain or compressed with gzip.

An idx file is: two zero bytes, a type code, the number of dimensions; each dimension as a big-endian 32-bit
number; the values. Only unsigned bytes (code 8) are read, as no image set uses another type.

Source: LeCun, "The MNIST database of handwritten digits", section on file formats.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import torch
from torch import Tensor

from offramp.errors import DataError

UNSIGNED_BYTE = 8
_GZIP_MAGIC = b"\x1f\x8b"
_AGAIN = "Delete the file and fetch it again."


def read_bytes(path: Path) -> bytes:
    """The file's content, decompressed where it is a gzip file.

    Raises:
        DataError: the file is missing, unreadable, truncated or corrupt.
    """
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if raw.startswith(_GZIP_MAGIC) else raw
    except FileNotFoundError as error:
        raise DataError(f"There is no data file {path}.") from error
    except EOFError as error:
        raise DataError(f"{path} is truncated: its gzip stream ends after {len(raw)} bytes. {_AGAIN}") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} is a corrupt gzip file ({error}). {_AGAIN}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error}). Check the path and its permissions.") from error


def parse(content: bytes, path: Path, dimensions: int) -> Tensor:
    """Values of a decompressed idx file.

    Args:
        content: what `read_bytes` gave.
        path: the file's name, for messages.
        dimensions: how many are expected: 1 for labels, 3 for grey images.

    Returns:
        uint8, in the shape that the file's header states.

    Raises:
        DataError: another kind of file, or its length contradicts its header.
    """
    expected = struct.pack(">HBB", 0, UNSIGNED_BYTE, dimensions)
    if content[:4] != expected:
        raise DataError(
            f"{path} starts with the bytes {content[:4].hex()!r}, an idx file of unsigned bytes in "
            f"{dimensions} dimension(s) with {expected.hex()!r}. Check that images and labels are not exchanged."
        )
    header = 4 + 4 * dimensions
    if len(content) < header:
        raise DataError(f"{path} is truncated: it has {len(content)} bytes, its header alone takes {header}. {_AGAIN}")
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    if len(content) - header != math.prod(shape):
        raise DataError(
            f"{path} holds {len(content) - header} values, its header promises {math.prod(shape)} "
            f"(shape {list(shape)}). {_AGAIN}"
        )
    # bytearray: a writable copy, since a tensor over read-only bytes may be written to by accident.
    values = bytearray(content[header:])
    return (
        torch.frombuffer(values, dtype=torch.uint8).reshape(shape) if values else torch.empty(shape, dtype=torch.uint8)
    )


def read_idx(path: str | Path, dimensions: int) -> Tensor:
    """`parse` of `read_bytes`."""
    return parse(read_bytes(Path(path)), Path(path), dimensions)
