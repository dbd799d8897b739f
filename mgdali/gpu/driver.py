"""Queries to the NVIDIA driver: the GPUs of this machine, and the streams that their video decoders (NVDEC) accept.

The functions call the driver's libraries through ctypes, so they need neither torch nor CuPy and import quickly. Most
of them call ``cuInit``. After that CUDA does not work in child processes that are forked from this process.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from ctypes import POINTER, byref, c_char, c_char_p, c_int, c_size_t, c_ubyte, c_uint, c_ushort, c_void_p
from dataclasses import dataclass
from functools import cache
from pathlib import Path
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
    "library_path",
    "load_library",
    "primary_context",
]

# File names of the driver's libraries, for the dynamic loader.
CUDA = "libcuda.so.1"
NVDEC = "libnvcuvid.so.1"
NVML = "libnvidia-ml.so.1"

# FFmpeg's names of codecs with their numbers in cudaVideoCodec of cuviddec.h. WMV3 is VC-1's simple and main profile.
_CODECS = {"mpeg1video": 0, "mpeg2video": 1, "mpeg4": 2, "vc1": 3, "wmv3": 3, "h264": 4, "mjpeg": 5, "hevc": 8}
_CODECS |= {"vp8": 9, "vp9": 10, "av1": 11}
# cudaVideoChromaFormat of cuviddec.h.
_CHROMAS = {"4:0:0": 0, "4:2:0": 1, "4:2:2": 2, "4:4:4": 3}
# CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR of cuda.h.
_MAJOR, _MINOR = 75, 76

NVDEC_CODECS = tuple(_CODECS)
"""FFmpeg's names of the codecs that :func:`decoder_caps` can query."""


class GPUError(RuntimeError):
    """A call to the driver failed or does not exist; the message names the call and quotes the driver."""


class LibraryError(GPUError):
    """A library of the driver cannot be loaded; the message quotes the dynamic loader."""


@dataclass(frozen=True)
class GPU:
    """One GPU.

    Attributes:
        index: CUDA's number of the GPU, from 0, after ``CUDA_VISIBLE_DEVICES`` was applied.
        name: Name that the driver reports.
        compute_capability: Compute capability, major and minor.
        memory_bytes: Total memory of the GPU, in bytes.
    """

    index: int
    name: str
    compute_capability: tuple[int, int]
    memory_bytes: int


@dataclass(frozen=True)
class DecoderCaps:
    """A kind of stream that a GPU's NVDEC decodes, and the limits of its size.

    Attributes:
        codec: FFmpeg's name of the codec.
        chroma: Chroma subsampling: ``"4:0:0"``, ``"4:2:0"``, ``"4:2:2"`` or ``"4:4:4"``.
        bit_depth: Number of bits per sample.
        engines: Number of the GPU's NVDEC engines that decode such streams; 0 if the driver is too old to report it.
        min_width, min_height, max_width, max_height: Limits of the coded frame, in pixels.
        max_macroblocks: Maximum of the coded width times the coded height, divided by 256.
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
        """Return whether coded frames of this size, in pixels, are within the limits."""
        return (
            self.min_width <= width <= self.max_width
            and self.min_height <= height <= self.max_height
            and width * height <= 256 * self.max_macroblocks
        )


def find_gpus() -> list[GPU]:
    """Return the GPUs that CUDA offers to this process.

    Raises:
        LibraryError: If the driver is missing.
        GPUError: If a call to the driver fails, such as on a machine without a GPU.
    """
    cuda = _cuda()
    count = c_int()
    cuda.call("cuDeviceGetCount", byref(count))
    return [_find_gpu(cuda, index) for index in range(count.value)]


def cuda_version() -> tuple[int, int]:
    """Return the newest CUDA version that the driver supports: major and minor.

    Raises:
        LibraryError: If the driver is missing.
        GPUError: If the call to the driver fails.
    """
    version = c_int()
    _library(CUDA).call("cuDriverGetVersion", byref(version))
    return version.value // 1000, version.value % 1000 // 10


def driver_version() -> str:
    """Return the driver's version, such as ``"550.54.15"``.

    Raises:
        LibraryError: If the driver's management library is missing.
        GPUError: If a call to it fails.
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
    """Load one of the driver's libraries. Containers often have :data:`CUDA` but not :data:`NVDEC`.

    Args:
        name: :data:`CUDA`, :data:`NVDEC` or :data:`NVML`.

    Raises:
        LibraryError: If the library cannot be loaded.
    """
    _library(name)


def library_path(name: str) -> str:
    """Return the path of a library of the driver, which is loaded for it.

    Args:
        name: :data:`CUDA`, :data:`NVDEC` or :data:`NVML`.

    Raises:
        LibraryError: If the library cannot be loaded, or its path is unknown.
    """
    load_library(name)
    # The file may have a longer name, such as libnvcuvid.so.580.1.
    stem = name.partition(".so")[0] + ".so"
    paths = {line.split(maxsplit=5)[-1].strip() for line in Path("/proc/self/maps").read_text().splitlines()}
    found = next((path for path in sorted(paths) if Path(path).name.startswith(stem)), None)
    if found is None:
        raise LibraryError(f"{name} is loaded, but /proc/self/maps does not contain its path")
    return found


def decoder_caps(device: int, codec: str, chroma: str = "4:2:0", bit_depth: int = 8) -> DecoderCaps | None:
    """Return whether a GPU decodes a kind of stream, and within which limits.

    Each call creates the device's primary context unless it exists. Enter :func:`primary_context` around several calls.

    Args:
        device: Index of the GPU.
        codec: FFmpeg's name of the codec.
        chroma: Chroma subsampling: ``"4:0:0"``, ``"4:2:0"``, ``"4:2:2"`` or ``"4:4:4"``.
        bit_depth: Number of bits per sample, >= 8.

    Returns:
        The limits; None if the GPU decodes no such streams of any size.

    Raises:
        LibraryError: If NVDEC's library or the driver is missing.
        GPUError: If a call to them fails.
    """
    nvdec = _library(NVDEC)
    if codec not in _CODECS or chroma not in _CHROMAS or bit_depth < 8:
        return None
    caps = _CUVIDDECODECAPS(eCodecType=_CODECS[codec], eChromaFormat=_CHROMAS[chroma], nBitDepthMinus8=bit_depth - 8)
    with primary_context(device):
        nvdec.call("cuvidGetDecoderCaps", byref(caps))
    if not caps.bIsSupported:
        return None
    return DecoderCaps(
        codec=codec,
        chroma=chroma,
        bit_depth=bit_depth,
        engines=caps.nNumNVDECs,
        min_width=caps.nMinWidth,
        min_height=caps.nMinHeight,
        max_width=caps.nMaxWidth,
        max_height=caps.nMaxHeight,
        max_macroblocks=caps.nMaxMBCount,
    )


@contextlib.contextmanager
def primary_context(device: int) -> Iterator[None]:
    """Make the GPU's primary context current in this thread within a ``with`` block. Blocks can be nested.

    torch uses the primary context too.

    Args:
        device: Index of the GPU.

    Raises:
        LibraryError: If the driver is missing.
        GPUError: If the GPU does not exist, or a call to the driver fails, such as when the GPU is out of memory.
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
    """CUVIDDECODECAPS of cuviddec.h. In old versions nNumNVDECs and the histogram fields are reserved and stay 0."""

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


# Types of the arguments of each function, as declared in cuda.h, cuviddec.h and nvml.h. Macros of cuda.h add "_v2" to
# some names. All functions but nvmlErrorString return an enum, 0 for success. CUdevice is an int, CUcontext a pointer.
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
    """One of the driver's libraries.

    Args:
        name: File name of the library.

    Raises:
        LibraryError: If the library cannot be loaded.
    """

    def __init__(self, name: str) -> None:
        try:
            self._library = ctypes.CDLL(name)
        except OSError as error:
            raise LibraryError(str(error)) from None
        self._name = name
        self._describe_error = _nvml_error if name == NVML else _cuda_error

    def function(self, name: str) -> Any:
        """Return a function whose arguments and result are declared."""
        try:
            function = getattr(self._library, name)
        except AttributeError:
            raise GPUError(f"{self._name} has no function {name}: it is too old, or not the driver's") from None
        function.argtypes = _FUNCTIONS[self._name][name]
        function.restype = c_char_p if name == "nvmlErrorString" else c_int
        return function

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function, and raise GPUError unless it returns 0."""
        code = self.function(name)(*arguments)
        if code:
            raise GPUError(f"{name}: {self._describe_error(code)}")


@cache
def _library(name: str) -> _Library:
    return _Library(name)


def _cuda() -> _Library:
    """Return the initialized CUDA library of the driver. Initializing it again takes no time."""
    cuda = _library(CUDA)
    cuda.call("cuInit", 0)
    return cuda


def _cuda_error(code: int) -> str:
    """Return the driver's name and description of a CUresult."""
    texts = []
    for function in ("cuGetErrorName", "cuGetErrorString"):
        text = c_char_p()
        # Not with call(), which would raise another error if the driver does not know the code.
        _library(CUDA).function(function)(code, byref(text))
        texts.append(_text(text.value or b"unknown error"))
    return f"{texts[0]} ({code}): {texts[1]}"


def _nvml_error(code: int) -> str:
    """Return NVML's description of an nvmlReturn_t."""
    text = _library(NVML).function("nvmlErrorString")(code)
    return f"{_text(text or b'unknown error')} ({code})"


def _find_gpu(cuda: _Library, index: int) -> GPU:
    handle, major, minor, memory = c_int(), c_int(), c_int(), c_size_t()
    name = ctypes.create_string_buffer(256)
    cuda.call("cuDeviceGet", byref(handle), index)
    cuda.call("cuDeviceGetName", name, len(name), handle)
    cuda.call("cuDeviceGetAttribute", byref(major), _MAJOR, handle)
    cuda.call("cuDeviceGetAttribute", byref(minor), _MINOR, handle)
    cuda.call("cuDeviceTotalMem_v2", byref(memory), handle)
    return GPU(index, _text(name.value), (major.value, minor.value), memory.value)


def _text(content: bytes) -> str:
    return content.decode(errors="replace")
