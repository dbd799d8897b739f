"""What the NVIDIA driver says of this machine's GPUs and of what their video decoders (NVDEC) take.

The driver's own libraries are asked through ctypes: this needs neither torch nor CuPy and imports nothing heavy. A
process that has asked has called ``cuInit``, so CUDA is of no use in children that it forks afterwards.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Iterator
from ctypes import POINTER, byref, c_char, c_char_p, c_int, c_size_t, c_ubyte, c_uint, c_ushort, c_void_p
from dataclasses import dataclass
from functools import cache
from typing import Any

__all__ = [
    "GPU",
    "NVDEC_CODECS",
    "DecoderCaps",
    "GPUError",
    "LibraryError",
    "cuda_version",
    "decoder_caps",
    "driver_version",
    "find_gpus",
    "load_driver",
    "load_nvdec",
    "primary_context",
]

# cudaVideoCodec of cuviddec.h, by FFmpeg's names.
_CODECS = {"mpeg2video": 1, "mpeg4": 2, "h264": 4, "mjpeg": 5, "hevc": 8, "vp8": 9, "vp9": 10, "av1": 11}
# cudaVideoChromaFormat of cuviddec.h.
_CHROMAS = {"4:0:0": 0, "4:2:0": 1, "4:2:2": 2, "4:4:4": 3}
# CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR of cuda.h.
_MAJOR, _MINOR = 75, 76

NVDEC_CODECS = tuple(_CODECS)
"""Codecs that :func:`decoder_caps` knows, by FFmpeg's names."""


class GPUError(RuntimeError):
    """A library of the driver refused a call; the message names the call and quotes the library."""


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
    _load_cuda().call("cuDriverGetVersion", byref(version))
    return version.value // 1000, version.value % 1000 // 10


def driver_version() -> str:
    """The driver's version, such as ``"550.54.15"``.

    Raises:
        LibraryError: the driver's management library is missing.
        GPUError: it refused.
    """
    nvml = _load_nvml()
    nvml.call("nvmlInit_v2")
    try:
        # NVML_SYSTEM_DRIVER_VERSION_BUFFER_SIZE of nvml.h.
        version = ctypes.create_string_buffer(80)
        nvml.call("nvmlSystemGetDriverVersion", version, len(version))
    finally:
        nvml.call("nvmlShutdown")
    return _text(version.value)


def load_driver() -> None:
    """Load the driver's library.

    Raises:
        LibraryError: it cannot be loaded.
    """
    _load_cuda()


def load_nvdec() -> None:
    """Load NVDEC's library, which containers often lack though they have the driver.

    Raises:
        LibraryError: it cannot be loaded.
    """
    _load_nvdec()


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
    nvdec = _load_nvdec()
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
    """CUVIDDECODECAPS of cuviddec.h ; what earlier versions reserve, nNumNVDECs and the histogram, stays 0 there."""

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
_CUDA = {
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
}
_NVDEC = {"cuvidGetDecoderCaps": (POINTER(_CUVIDDECODECAPS),)}
_NVML = {
    "nvmlInit_v2": (),
    "nvmlShutdown": (),
    "nvmlErrorString": (c_int,),
    "nvmlSystemGetDriverVersion": (POINTER(c_char), c_uint),
}


class _Library:
    """A shared library whose functions return 0 or an error's code.

    Args:
        name: what the loader is asked for.
        functions: the arguments of each function that is used.
        words: an error's name and description, from its code.
    """

    def __init__(self, name: str, functions: dict[str, tuple[Any, ...]], words: Callable[[int], str]) -> None:
        try:
            library = ctypes.CDLL(name)
        except OSError as error:
            raise LibraryError(str(error)) from None
        self._words = words
        self.functions: dict[str, Any] = {}
        for function, arguments in functions.items():
            if not hasattr(library, function):
                raise LibraryError(f"{name} has no function {function}: it is too old, or not the driver's")
            bound = self.functions[function] = getattr(library, function)
            bound.argtypes, bound.restype = arguments, c_int

    def call(self, function: str, *arguments: Any) -> None:
        code = self.functions[function](*arguments)
        if code:
            raise GPUError(f"{function}: {self._words(code)}")


@cache
def _load_cuda() -> _Library:
    return _Library("libcuda.so.1", _CUDA, _cuda_words)


@cache
def _load_nvdec() -> _Library:
    return _Library("libnvcuvid.so.1", _NVDEC, _cuda_words)


@cache
def _load_nvml() -> _Library:
    return _Library("libnvidia-ml.so.1", _NVML, _nvml_words)


def _cuda() -> _Library:
    """The driver's library, ready for use: initializing it again costs nothing."""
    cuda = _load_cuda()
    cuda.call("cuInit", 0)
    return cuda


def _cuda_words(code: int) -> str:
    """The driver's name and description of a CUresult."""
    said = []
    for function in ("cuGetErrorName", "cuGetErrorString"):
        words = c_char_p()
        # Not call(): that the code is unknown is no error of its own.
        _load_cuda().functions[function](code, byref(words))
        said.append(_text(words.value or b"unknown error"))
    return f"{said[0]} ({code}): {said[1]}"


def _nvml_words(code: int) -> str:
    """NVML's description of an nvmlReturn_t."""
    explain = _load_nvml().functions["nvmlErrorString"]
    explain.restype = c_char_p
    return f"{_text(explain(code) or b'unknown error')} ({code})"


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
