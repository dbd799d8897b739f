"""A replay of what DALI's mixed video decoder does with a file, with DALI's own FFmpeg and without NVDEC.

DALI 2.4.0 opens a file in memory without analyzing it, takes FFmpeg's best video stream, and assumes the container's
number of frames. It passes the packets to NVDEC. The first frame that NVDEC returns gets the time of the first packet,
the second frame that of the second packet, and so on. DALI keeps frames in a buffer of 8, and returns the one with the
smallest time. The calls, and the offsets in FFmpeg's structures, are those in the machine code of
``libdali_operators.so``; the published source of ``frames_decoder_base.cc`` and ``frames_decoder_gpu.cc`` agrees.

Instead of NVDEC, the replay assumes that each packet gives one frame, in the order of the packets. The package gives
only such streams to DALI.
"""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import POINTER, byref, c_char_p, c_int, c_int64, c_uint8, c_void_p
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["DaliError", "DaliPacket", "Replay", "libraries_missing", "replay"]

_BUFFER_BYTES = 1 << 15
_SIZE = 0x10000  # AVSEEK_SIZE
_END = -0x20464F45  # AVERROR_EOF
_NO_TIME = -(1 << 63)  # AV_NOPTS_VALUE
_VIDEO = 0  # AVMEDIA_TYPE_VIDEO
# DALI's buffer: its number of frames, and the time that marks a free place.
_SLOTS = 8
_EMPTY = -1
# Offsets in bytes, a line for each of AVFormatContext, AVInputFormat, AVStream, AVCodecParameters, AVBSFContext and
# AVPacket.
_FORMAT, _IO, _NUM_STREAMS, _STREAMS = 0x8, 0x20, 0x2C, 0x30
_LONG_NAME = 0x8
_INDEX, _PARAMETERS, _NUM_FRAMES = 0x8, 0x10, 0x38
_CODEC, _WIDTH, _HEIGHT = 0x4, 0x48, 0x4C
_INPUT_PARAMETERS = 0x18
_TIME, _DATA, _BYTES, _STREAM = 0x8, 0x18, 0x20, 0x24
# Containers in which DALI converts H.264 and HEVC to start codes.
_CONVERTED = {b"QuickTime / MOV", b"FLV (Flash Video)", b"Matroska / WebM"}
_FILTERS = {
    b"h264": (b"h264_mp4toannexb", b"raw H.264 video"),
    b"hevc": (b"hevc_mp4toannexb", b"raw HEVC video"),
}

_Read = ctypes.CFUNCTYPE(c_int, c_void_p, POINTER(c_uint8), c_int)
_Seek = ctypes.CFUNCTYPE(c_int64, c_void_p, c_int64, c_int)


class DaliError(RuntimeError):
    """DALI would raise an error."""


@dataclass(frozen=True)
class DaliPacket:
    """A packet of the stream that DALI decodes.

    Attributes:
        content: The bytes, as the container stores them.
        time: Presentation time in ticks; None if FFmpeg does not know it.
    """

    content: bytes
    time: int | None


@dataclass(frozen=True)
class Replay:
    """What DALI returns of a file.

    Attributes:
        width, height: Size of the frames that it returns, in pixels.
        packets: The packets that it passes to NVDEC, in order.
        frames: Number of the packet of each frame that it returns, in order; None for a frame whose memory DALI does
            not write.
    """

    width: int
    height: int
    packets: tuple[DaliPacket, ...]
    frames: tuple[int | None, ...]


def libraries_missing() -> str:
    """Return why DALI's FFmpeg cannot be used; empty if it can."""
    try:
        _libraries()
    except OSError as error:
        return str(error)
    return ""


def replay(content: bytes) -> Replay:
    """Return what DALI returns of an encoded file.

    Raises:
        DaliError: If DALI would raise an error.
    """
    with _opened(content) as (context, stream):
        number = _load(stream, _NUM_FRAMES, c_int64)
        parameters = _load(stream, _PARAMETERS, c_void_p)
        width, height = _load(parameters, _WIDTH, c_int), _load(parameters, _HEIGHT, c_int)
        packets = tuple(_packets(context, stream))
    # Otherwise DALI counts the packets.
    num_frames = number if number > 0 else len(packets)
    return Replay(width, height, packets, tuple(_returned(packets, num_frames)))


def _returned(packets: tuple[DaliPacket, ...], num_frames: int) -> Iterator[int | None]:
    """Yield the number of the packet of each frame that DALI returns."""
    counter = 0
    times = []
    for packet in packets:
        times.append(counter if packet.time is None else packet.time)
        counter += packet.time is None
    slots: list[tuple[int, int | None]] = [(_EMPTY, None)] * _SLOTS
    decoded, ended = 0, False
    for _ in range(num_frames):
        while not ended and decoded < len(packets) and any(time == _EMPTY for time, _ in slots):
            at = next(i for i, (time, _) in enumerate(slots) if time == _EMPTY)
            slots[at] = (ctypes.c_int32(times[decoded]).value, decoded)
            decoded += 1
        filled = [i for i, (time, _) in enumerate(slots) if time != _EMPTY]
        if ended or not filled:
            yield None
            continue
        least = min(filled, key=lambda i: slots[i][0])
        yield slots[least][1]
        slots[least] = (_EMPTY, None)
        # If the buffer is empty, DALI assumes the end of the video.
        ended = len(filled) == 1


@contextmanager
def _opened(content: bytes) -> Iterator[tuple[c_void_p, int]]:
    """Open a file as DALI does. Yield FFmpeg's context and the address of the stream that DALI decodes."""
    av = _libraries()
    position = 0

    def read(_: int, target: Any, size: int) -> int:
        nonlocal position
        part = content[position : position + size]
        if not part:
            return _END
        ctypes.memmove(target, part, len(part))
        position += len(part)
        return len(part)

    def seek(_: int, offset: int, whence: int) -> int:
        nonlocal position
        if whence == _SIZE:
            return len(content)
        assert whence == 0, "DALI would raise an error within FFmpeg"
        position = offset
        return position

    # Both must exist as long as the context.
    reader, seeker = _Read(read), _Seek(seek)
    context = c_void_p(av.avformat_alloc_context())
    io = c_void_p(av.avio_alloc_context(av.av_malloc(_BUFFER_BYTES), _BUFFER_BYTES, 0, None, reader, None, seeker))
    c_void_p.from_address(_address(context) + _IO).value = io.value
    if av.avformat_open_input(byref(context), b"", None, None) < 0:
        av.av_free(io)
        raise DaliError("the file cannot be opened")
    try:
        best = av.av_find_best_stream(context, _VIDEO, -1, -1, None, 0)
        if not 0 <= best < _load(_address(context), _NUM_STREAMS, c_int):
            raise DaliError("the file has no video stream")
        streams = _load(_address(context), _STREAMS, c_void_p)
        stream = _load(streams, 8 * best, c_void_p)
        parameters = _load(stream, _PARAMETERS, c_void_p)
        sizes = [_load(parameters, offset, c_int) for offset in (_WIDTH, _HEIGHT)]
        if not all(sizes) and av.avformat_find_stream_info(context, None) < 0:
            raise DaliError("the stream has no size")
        yield context, stream
    finally:
        av.avformat_close_input(byref(context))
        av.av_free(io)


def _packets(context: c_void_p, stream: int) -> Iterator[DaliPacket]:
    av = _libraries()
    index = _load(stream, _INDEX, c_int)
    filter_context = _converting_filter(context, stream)
    packet, converted = c_void_p(av.av_packet_alloc()), c_void_p(av.av_packet_alloc())
    try:
        while av.av_read_frame(context, packet) == 0:
            if _load(_address(packet), _STREAM, c_int) == index:
                time = _load(_address(packet), _TIME, c_int64)
                data, size = _load(_address(packet), _DATA, c_void_p), _load(_address(packet), _BYTES, c_int)
                yield DaliPacket(ctypes.string_at(data, size) if size else b"", None if time == _NO_TIME else time)
                if filter_context is not None:
                    if av.av_bsf_send_packet(filter_context, packet) < 0:
                        raise DaliError("a packet cannot be converted to start codes")
                    if av.av_bsf_receive_packet(filter_context, converted) < 0:
                        raise DaliError("a packet cannot be converted to start codes")
                    av.av_packet_unref(converted)
            av.av_packet_unref(packet)
    finally:
        av.av_packet_free(byref(packet))
        av.av_packet_free(byref(converted))
        if filter_context is not None:
            av.av_bsf_free(byref(filter_context))


def _converting_filter(context: c_void_p, stream: int) -> c_void_p | None:
    """Return the filter that converts packets of H.264 and HEVC to start codes; None if DALI uses no such filter."""
    av = _libraries()
    parameters = _load(stream, _PARAMETERS, c_void_p)
    codec = ctypes.string_at(av.avcodec_get_name(_load(parameters, _CODEC, c_int)))
    name, raw = _FILTERS.get(codec, (b"", b""))
    container = _load(_load(_address(context), _FORMAT, c_void_p), _LONG_NAME, c_char_p)
    if not name or container not in _CONVERTED | {raw}:
        return None
    created = c_void_p()
    if av.av_bsf_alloc(av.av_bsf_get_by_name(name), byref(created)) < 0:
        raise DaliError("the filter cannot be created")
    av.avcodec_parameters_copy(_load(_address(created), _INPUT_PARAMETERS, c_void_p), parameters)
    if av.av_bsf_init(created) < 0:
        av.av_bsf_free(byref(created))
        raise DaliError("the filter does not accept the stream's headers")
    return created


def _address(pointer: c_void_p) -> int:
    assert pointer.value is not None
    return pointer.value


def _load(address: int, offset: int, kind: Any) -> Any:
    """Return the value of a C type at an offset from an address."""
    return kind.from_address(address + offset).value


class _Functions:
    """The functions of DALI's FFmpeg that the replay calls."""

    # Functions that return a pointer; the others return an int or nothing.
    _POINTERS = (
        "av_bsf_get_by_name",
        "av_malloc",
        "av_packet_alloc",
        "avcodec_get_name",
        "avformat_alloc_context",
        "avio_alloc_context",
    )

    def __init__(self, libraries: list[ctypes.CDLL]) -> None:
        self._libraries = libraries
        self.av_log_set_level(-8)

    def __getattr__(self, name: str) -> Any:
        for library in self._libraries:
            if hasattr(library, name):
                function = getattr(library, name)
                function.restype = c_void_p if name in self._POINTERS else c_int
                function.argtypes = _ARGUMENTS[name]
                return function
        raise AttributeError(name)


_ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "av_log_set_level": (c_int,),
    "av_malloc": (ctypes.c_size_t,),
    "av_free": (c_void_p,),
    "av_packet_alloc": (),
    "av_packet_unref": (c_void_p,),
    "av_packet_free": (POINTER(c_void_p),),
    "av_bsf_get_by_name": (c_char_p,),
    "av_bsf_alloc": (c_void_p, POINTER(c_void_p)),
    "av_bsf_init": (c_void_p,),
    "av_bsf_send_packet": (c_void_p, c_void_p),
    "av_bsf_receive_packet": (c_void_p, c_void_p),
    "av_bsf_free": (POINTER(c_void_p),),
    "avcodec_get_name": (c_int,),
    "avcodec_parameters_copy": (c_void_p, c_void_p),
    "avio_alloc_context": (c_void_p, c_int, c_int, c_void_p, _Read, c_void_p, _Seek),
    "avformat_alloc_context": (),
    "avformat_open_input": (POINTER(c_void_p), c_char_p, c_void_p, c_void_p),
    "avformat_find_stream_info": (c_void_p, c_void_p),
    "avformat_close_input": (POINTER(c_void_p),),
    "av_find_best_stream": (c_void_p, c_int, c_int, c_int, c_void_p, c_int),
    "av_read_frame": (c_void_p, c_void_p),
}


@cache
def _libraries() -> _Functions:
    """Return the functions of the FFmpeg that is installed with DALI.

    Raises:
        OSError: If DALI is not installed, or its libraries cannot be loaded.
    """
    found = importlib.util.find_spec("nvidia.dali")
    if found is None or found.origin is None:
        raise OSError("nvidia.dali is not installed")
    folder = Path(found.origin).parent / ".libs"
    names = [next(folder.glob(f"lib{name}-*.so.*"), None) for name in ("avformat", "avcodec", "avutil")]
    if None in names:
        raise OSError(f"{folder} does not contain DALI's FFmpeg")
    return _Functions([ctypes.CDLL(str(name)) for name in names])
