"""PNG files from small images, with the standard library alone."""

from __future__ import annotations

import struct
import zlib

from torch import Tensor

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {1: 0, 3: 2}
"""PNG's number for grey and for RGB, by channels."""


def png(image: Tensor) -> bytes:
    """A PNG file of an image, uint8 `[channels, height, width]` with 1 or 3 channels.

    Source: W3C, "Portable Network Graphics (PNG) Specification", third edition, sections 5 and 11.
    """
    channels, height, width = image.shape
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    rows = image.cpu().permute(1, 2, 0).reshape(height, width * channels).contiguous().numpy()
    # Each row begins with its filter type; 0 stores the bytes as they are.
    pixels = b"".join(b"\x00" + row.tobytes() for row in rows)
    body = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(pixels, 9)) + _chunk(b"IEND", b"")
    return _SIGNATURE + body


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
