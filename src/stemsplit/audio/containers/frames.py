"""How many bytes a frame of ADTS, AC-3, E-AC-3 or MPEG audio has, by its own header.

These formats state no length. So a frame that is not whole, or bytes that belong to no frame, are all that tells of
damage. ISO/IEC 13818-7, 1.A.2.2; ETSI TS 102 366, 4.4.1 and E.1.3.1; ISO/IEC 11172-3, 2.4.1.3.
"""

from __future__ import annotations

_MPEG1 = {
    1: (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    2: (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
}
_MPEG2 = {
    1: (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    3: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""Layer → kbit/s, by the header's code."""
_MPEG_RATES = (44100, 48000, 32000)
_AC3_KBITS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)


def frame_bytes(codec: str, head: bytes) -> int | None:
    """Return the size of the frame that begins with these bytes.

    Args:
        codec: FFmpeg's name of the codec.
        head: at least the first seven bytes.

    Returns:
        the size in bytes; 0 if no frame begins here; None if the format is another one, or a frame does not say.
    """
    kinds = {"aac": _adts, "ac3": _ac3, "eac3": _ac3, "mp1": _mpeg, "mp2": _mpeg, "mp3": _mpeg}
    kind = kinds.get(codec.removesuffix("float"))
    return None if kind is None else kind(head.ljust(7, b"\0"))


def _adts(head: bytes) -> int | None:
    if head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return 0
    return (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5


def _ac3(head: bytes) -> int | None:
    if head[:2] != b"\x0b\x77":
        return 0
    if head[5] >> 3 > 10:  # E-AC-3
        return 2 * (((head[2] & 7) << 8 | head[3]) + 1)
    rate, code = head[4] >> 6, head[4] & 63
    if rate == 3 or code >= 2 * len(_AC3_KBITS):
        return 0
    kbits = _AC3_KBITS[code >> 1]
    words = (2 * kbits, kbits * 320 // 147 + (code & 1), 3 * kbits)[rate]  # at 48, 44.1 and 32 kHz
    return 2 * words


def _mpeg(head: bytes) -> int | None:
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    code, rate = head[2] >> 4, head[2] >> 2 & 3
    if head[0] != 0xFF or head[1] & 0xE0 != 0xE0 or version == 1 or layer == 4 or code == 15 or rate == 3:
        return 0
    if code == 0:  # a free format
        return None
    kbits = (_MPEG1 if version == 3 else _MPEG2)[layer][code]
    hertz = _MPEG_RATES[rate] >> {3: 0, 2: 1, 0: 2}[version]
    padding = head[2] >> 1 & 1
    if layer == 1:
        return (12000 * kbits // hertz + padding) * 4
    return (72 if layer == 3 and version != 3 else 144) * 1000 * kbits // hertz + padding
