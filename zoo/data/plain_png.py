"""PNG files of the plainest kind, decoded with little Python around it.

Pillow's reader prepares for all that a PNG file may hold. That takes as long as decoding a small
image, and holds Python's lock. Most files of a data set need none of it. Here the chunks are walked
at once, and Pillow's decoder gets the data: the pixels are Pillow's. Whatever is not plain, or
damaged, is left to Pillow's reader.

Source: Portable Network Graphics (PNG) Specification, https://www.w3.org/TR/png-3/ (section 5).
"""

from __future__ import annotations

import struct
import zlib

from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MODES = {0: "L", 2: "RGB", 4: "LA", 6: "RGBA"}  # by the colour type, of 8 bits per channel
# Chunks that change no pixel here: Pillow converts no colours. Text is not among them, as it may
# hold EXIF's orientation.
IDLE = {b"IHDR", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT", b"bKGD", b"pHYs", b"tIME", b"hIST"}
MOST = 1 << 26  # pixels; of more Pillow warns


def decoded(content: bytes) -> Image.Image | None:
    """The image of a plain PNG file; None leaves the file to Pillow's reader.

    Args:
        content: What a file holds.

    Returns:
        An image of mode L, LA, RGB or RGBA.

    Example:
        >>> import io
        >>> file = io.BytesIO()
        >>> Image.new("RGB", (4, 2)).save(file, "PNG")
        >>> decoded(file.getvalue()).size, decoded(b"GIF89a")
        ((4, 2), None)
    """
    if content[:16] != SIGNATURE + b"\x00\x00\x00\x0dIHDR" or len(content) < 33:
        return None
    width, height, depth, colour, *others = struct.unpack_from(">IIBBBBB", content, 16)
    plain = depth == 8 and colour in MODES and not any(others)  # others[2] is interlacing
    data = _data(content) if plain and 0 < width * height <= MOST else b""
    if not data:
        return None
    try:
        return Image.frombytes(MODES[colour], (width, height), data, "zip", MODES[colour], 0)
    except (ValueError, OSError):  # Pillow's reader says what is wrong
        return None


def _data(content: bytes) -> bytes:
    """The compressed pixels; none if there are chunks that are not plain, or damaged."""
    parts, place = [], len(SIGNATURE)
    while (start := place + 8) + 4 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, place)
        end = start + size
        place = end + 4  # after the checksum
        if kind == b"IDAT" and place <= len(content):
            parts.append(content[start:end])  # whose own checksum the decoder looks at
        elif kind == b"IEND":
            return b"".join(parts)
        elif (
            kind not in IDLE
            or zlib.crc32(content[start - 4 : end]).to_bytes(4, "big") != (content[end:place])
        ):
            return b""
    return b""
