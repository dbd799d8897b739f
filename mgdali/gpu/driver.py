"""What the NVIDIA driver says of this machine's GPUs and of what their video decoders (NVDEC) take.

The driver's own libraries are asked through ctypes: this needs neither torch nor CuPy and imports nothing heavy. A
process that has asked has called ``cuInit``, so CUDA is of no use in children that it forks afterwards.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from ctypes import POINTER, byref, c_char, c_char_p, c_int, c_size_t, c_ubyte, c_uint, c_ushort, c_void_p
from dataclasses import dataclass
from functools import cache
from typing import Any

__all__ = [
    "CUDA",
    "GPU",
    "NVDEC",
    "NVDEC_CODECS",
    "NVML",
    "DecoderCaps",
    "GPUError",
    "LibraryError",
    "cuda_version",
    "decoder_caps",
    "driver_version",
    "find_gpus",
    "load_library",
    "primary_context",
]

# The driver's libraries, as the dynamic loader is asked for them.
CUDA = "libcuda.so.1"
NVDEC = "libnvcuvid.so.1"
NVML = "libnvidia-ml.so.1"

# cudaVideoCodec of cuviddec.h, by FFmpeg's names. WMV3 is VC-1's simple and main profile.
_CODECS = {"mpeg1video": 0, "mpeg2video": 1, "mpeg4": 2, "vc1": 3, "wmv3": 3, "h264": 4, "mjpeg": 5, "hevc": 8}
_CODECS |= {"vp8": 9, "vp9": 10, "av1": 11}
# cudaVideoChromaFormat of cuviddec.h.
_CHROMAS = {"4:0:0": 0, "4:2:0": 1, "4:2:2": 2, "4:4:4": 3}
# CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR of cuda.h.
_MAJOR, _MINOR = 75, 76

NVDEC_CODECS = tuple(_CODECS)
"""Codecs that :func:`decoder_caps` knows, by FFmpeg's names."""


class GPUError(RuntimeError):
    """The driver refused a call, or lacks it; the message names the call and quotes the driver."""


class LibraryError(GPUError):
    """A library of the driver cannot be loaded; the message is the loader's."""


@dataclass(frozen=True)
class GPU:
    """One GPU.

    Attributes:
        index: CUDA's number for it, from 0; ``CUDA_VISIBLE_DEVICES`` has been applied.
        name: as the driver gives it.
        compute_capability: major and minor.
        memory_bytes: all of its memory.
    """

    index: int
    name: str
    compute_capability: tuple[int, int]
    memory_bytes: int


@dataclass(frozen=True)
class DecoderCaps:
    """A kind of stream that a GPU's NVDEC decodes, and its limits.

    Attributes:
        codec: FFmpeg's name.
        chroma: ``"4:0:0"``, ``"4:2:0"``, ``"4:2:2"`` or ``"4:4:4"``.
        bit_depth: bits a sample.
        engines: how many of the GPU's NVDEC engines take such streams; 0 where the driver is too old to tell.
        min_width, min_height, max_width, max_height: of the coded frame, in pixels.
        max_macroblocks: coded width times coded height over 256, at most.
    """

    codec: str
    chroma: str
    bit_depth: int
    engines: int
    min_width: int
    min_height: int
    max_width: int
    max_height: int
    max_macroblocks: int

    def fits(self, width: int, height: int) -> bool:
        """Whether coded frames of this size, in pixels, are within the limits."""
        return (
            self.min_width <= width <= self.max_width
            and self.min_height <= height <= self.max_height
            and width * height <= 256 * self.max_macroblocks
        )


def find_gpus() -> list[GPU]:
    """The GPUs that CUDA offers this process.

    Raises:
        LibraryError: there is no driver.
        GPUError: the driver refused, as it does where there is no GPU.
    """
    cuda = _cuda()
    count = c_int()
    cuda.call("cuDeviceGetCount", byref(count))
    return [_describe(cuda, index) for index in range(count.value)]


def cuda_version() -> tuple[int, int]:
    """The newest CUDA version that the driver supports: major and minor.

    Raises:
        LibraryError: there is no driver.
        GPUError: the driver refused.
    """
    version = c_int()
    _library(CUDA).call("cuDriverGetVersion", byref(version))
    return version.value // 1000, version.value % 1000 // 10


def driver_version() -> str:
    """The driver's version, such as ``"550.54.15"``.

    Raises:
        LibraryError: the driver's management library is missing.
        GPUError: it refused.
    """
    nvml = _library(NVML)
    nvml.call("nvmlInit_v2")
    try:
        # NVML_SYSTEM_DRIVER_VERSION_BUFFER_SIZE of nvml.h.
        version = ctypes.create_string_buffer(80)
        nvml.call("nvmlSystemGetDriverVersion", version, len(version))
    finally:
        nvml.call("nvmlShutdown")
    return _text(version.value)


def load_library(name: str) -> None:
    """Load one of the driver's libraries: containers often have :data:`CUDA` and not :data:`NVDEC`.

    Raises:
        LibraryError: it cannot be loaded.
    """
    _library(name)


def decoder_caps(device: int, codec: str, chroma: str = "4:2:0", bit_depth: int = 8) -> DecoderCaps | None:
    """Ask a GPU whether it decodes a kind of stream, and within what limits.

    Each call makes the device's primary context where there is none yet: hold a :func:`primary_context` around many.

    Args:
        device: the GPU's index.
        codec: FFmpeg's name.
        chroma: ``"4:0:0"``, ``"4:2:0"``, ``"4:2:2"`` or ``"4:4:4"``.
        bit_depth: bits a sample, >= 8.

    Returns:
        The limits, or None where the GPU does not decode such streams, whatever their size.

    Raises:
        LibraryError: NVDEC's library or the driver is missing.
        GPUError: the question got no answer.
    """
    nvdec = _library(NVDEC)
    if codec not in _CODECS or chroma not in _CHROMAS or bit_depth < 8:
        return None
    asked = _CUVIDDECODECAPS(eCodecType=_CODECS[codec], eChromaFormat=_CHROMAS[chroma], nBitDepthMinus8=bit_depth - 8)
    with primary_context(device):
        nvdec.call("cuvidGetDecoderCaps", byref(asked))
    if not asked.bIsSupported:
        return None
    return DecoderCaps(
        codec=codec,
        chroma=chroma,
        bit_depth=bit_depth,
        engines=asked.nNumNVDECs,
        min_width=asked.nMinWidth,
        min_height=asked.nMinHeight,
        max_width=asked.nMaxWidth,
        max_height=asked.nMaxHeight,
        max_macroblocks=asked.nMaxMBCount,
    )


@contextlib.contextmanager
def primary_context(device: int) -> Iterator[None]:
    """Have the GPU's primary context, the one torch uses too, current in this thread. Can be nested.

    Raises:
        LibraryError: there is no driver.
        GPUError: no such GPU, or the driver refused, as it does where the GPU is out of memory.
    """
    cuda = _cuda()
    handle, context, popped = c_int(), c_void_p(), c_void_p()
    cuda.call("cuDeviceGet", byref(handle), device)
    cuda.call("cuDevicePrimaryCtxRetain", byref(context), handle)
    try:
        cuda.call("cuCtxPushCurrent_v2", context)
        try:
            yield
        finally:
            cuda.call("cuCtxPopCurrent_v2", byref(popped))
    finally:
        cuda.call("cuDevicePrimaryCtxRelease_v2", handle)


class _CUVIDDECODECAPS(ctypes.Structure):
    """CUVIDDECODECAPS of cuviddec.h; what earlier versions reserve, nNumNVDECs and the histogram, stays 0 there."""

    _fields_ = (
        ("eCodecType", c_int),
        ("eChromaFormat", c_int),
        ("nBitDepthMinus8", c_uint),
        ("reserved1", c_uint * 3),
        ("bIsSupported", c_ubyte),
        ("nNumNVDECs", c_ubyte),
        ("nOutputFormatMask", c_ushort),
        ("nMaxWidth", c_uint),
        ("nMaxHeight", c_uint),
        ("nMaxMBCount", c_uint),
        ("nMinWidth", c_ushort),
        ("nMinHeight", c_ushort),
        ("bIsHistogramSupported", c_ubyte),
        ("nCounterBitDepth", c_ubyte),
        ("nMaxHistogramBins", c_ushort),
        ("reserved3", c_uint * 10),
    )


# The arguments of each function, as cuda.h, cuviddec.h and nvml.h declare them, by the names that cuda.h's macros
# give (…_v2). All but nvmlErrorString return an enum, 0 for success. CUdevice is an int, CUcontext a pointer.
_FUNCTIONS: dict[str, dict[str, tuple[Any, ...]]] = {
    CUDA: {
        "cuInit": (c_uint,),
        "cuDriverGetVersion": (POINTER(c_int),),
        "cuGetErrorName": (c_int, POINTER(c_char_p)),
        "cuGetErrorString": (c_int, POINTER(c_char_p)),
        "cuDeviceGetCount": (POINTER(c_int),),
        "cuDeviceGet": (POINTER(c_int), c_int),
        "cuDeviceGetName": (POINTER(c_char), c_int, c_int),
        "cuDeviceGetAttribute": (POINTER(c_int), c_int, c_int),
        "cuDeviceTotalMem_v2": (POINTER(c_size_t), c_int),
        "cuDevicePrimaryCtxRetain": (POINTER(c_void_p), c_int),
        "cuDevicePrimaryCtxRelease_v2": (c_int,),
        "cuCtxPushCurrent_v2": (c_void_p,),
        "cuCtxPopCurrent_v2": (POINTER(c_void_p),),
    },
    NVDEC: {"cuvidGetDecoderCaps": (POINTER(_CUVIDDECODECAPS),)},
    NVML: {
        "nvmlInit_v2": (),
        "nvmlShutdown": (),
        "nvmlSystemGetDriverVersion": (POINTER(c_char), c_uint),
        "nvmlErrorString": (c_int,),
    },
}


class _Library:
    """One of the driver's libraries."""

    def __init__(self, name: str) -> None:
        try:
            self._library = ctypes.CDLL(name)
        except OSError as error:
            raise LibraryError(str(error)) from None
        self._name = name
        self._words = _nvml_words if name == NVML else _cuda_words

    def function(self, name: str) -> Any:
        """A function, with its arguments and result declared."""
        try:
            function = getattr(self._library, name)
        except AttributeError:
            raise GPUError(f"{self._name} has no function {name}: it is too old, or not the driver's") from None
        function.argtypes = _FUNCTIONS[self._name][name]
        function.restype = c_char_p if name == "nvmlErrorString" else c_int
        return function

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function, and raise GPUError unless it says that it succeeded."""
        code = self.function(name)(*arguments)
        if code:
            raise GPUError(f"{name}: {self._words(code)}")


@cache
def _library(name: str) -> _Library:
    return _Library(name)


def _cuda() -> _Library:
    """The driver's library, ready for use: initializing it again costs nothing."""
    cuda = _library(CUDA)
    cuda.call("cuInit", 0)
    return cuda


def _cuda_words(code: int) -> str:
    """The driver's name and description of a CUresult."""
    said = []
    for function in ("cuGetErrorName", "cuGetErrorString"):
        words = c_char_p()
        # Not call(): that the code is unknown is no error of its own.
        _library(CUDA).function(function)(code, byref(words))
        said.append(_text(words.value or b"unknown error"))
    return f"{said[0]} ({code}): {said[1]}"


def _nvml_words(code: int) -> str:
    """NVML's description of an nvmlReturn_t."""
    words = _library(NVML).function("nvmlErrorString")(code)
    return f"{_text(words or b'unknown error')} ({code})"


def _describe(cuda: _Library, index: int) -> GPU:
    handle, major, minor, memory = c_int(), c_int(), c_int(), c_size_t()
    name = ctypes.create_string_buffer(256)
    cuda.call("cuDeviceGet", byref(handle), index)
    cuda.call("cuDeviceGetName", name, len(name), handle)
    cuda.call("cuDeviceGetAttribute", byref(major), _MAJOR, handle)
    cuda.call("cuDeviceGetAttribute", byref(minor), _MINOR, handle)
    cuda.call("cuDeviceTotalMem_v2", byref(memory), handle)
    return GPU(index, _text(name.value), (major.value, minor.value), memory.value)


def _text(words: bytes) -> str:
    return words.decode(errors="replace")
