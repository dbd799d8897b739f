"""Where clips are decoded and returned: on the CPU, or on a GPU with or without its video decoder."""

from __future__ import annotations

import importlib
import logging
import math
import warnings
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch

from mgdali.errors import check_integer
from mgdali.gpu import driver
from mgdali.gpu.nvdec import GPU_CODECS, NvdecTable
from mgdali.workers.clip_function import ClipFunction

Decode = Literal["auto", "nvdec", "cpu"]

__all__ = [
    "CPU_ROUTE",
    "Decode",
    "Route",
    "choose_route",
    "gpu_budget",
    "gpu_route",
    "nvdec_table",
    "usable_route",
]

logger = logging.getLogger("mgdali")


@dataclass(frozen=True)
class Route:
    """Where a loader decodes videos and returns clips.

    Attributes:
        device: Device of the clips.
        nvdec: Streams that the GPU decodes; None if PyAV decodes every video.
    """

    device: torch.device
    nvdec: NvdecTable | None = None

    @property
    def device_id(self) -> int | None:
        """Index of the GPU, or None on the CPU."""
        return None if self.device.type == "cpu" else self.device.index

    @property
    def engines(self) -> int:
        """Number of NVDEC engines that the driver reports; at least 1."""
        return max([1, *(caps.engines for caps in (self.nvdec or {}).values())])


CPU_ROUTE = Route(torch.device("cpu"))
"""The route of a loader without a GPU."""


def choose_route(device: str | torch.device | None, decode: Decode) -> Route:
    """Return the route that a loader's arguments request.

    Args:
        device: ``"cpu"`` or ``"cuda"``, with an index if needed. None uses the GPU if it can decode and run the
            kernels, otherwise the CPU. If the machine has a GPU but something else is missing, one warning names it.
        decode: ``"nvdec"`` or ``"cpu"`` (PyAV). ``"auto"`` uses NVDEC if possible; otherwise one warning gives the
            reason.

    Raises:
        ValueError: If the arguments contradict each other, or this machine lacks what they request.
    """
    if decode not in get_args(Decode):
        raise ValueError(f"decode must be one of {get_args(Decode)}, got {decode!r}")
    if device is None:
        return Route(torch.device("cpu")) if decode == "cpu" else _best_route(decode)
    place = _parsed(device)
    if place.type == "cpu":
        if decode == "nvdec":
            raise ValueError(f'decode="nvdec" needs device="cuda", got device={device!r}')
        return Route(place)
    if not torch.cuda.is_available():
        raise ValueError(f"device={device!r}: torch finds no usable GPU; run `mgdali doctor` to see what is missing")
    place = torch.device("cuda", torch.cuda.current_device() if place.index is None else place.index)
    if decode == "cpu":
        return Route(place)
    try:
        return Route(place, nvdec_table(place.index))
    except (driver.GPUError, ImportError) as error:
        if decode == "nvdec":
            raise ValueError(f'decode="nvdec" is not possible: {error}') from error
        warnings.warn(f"PyAV decodes instead of the GPU: {error}", RuntimeWarning, stacklevel=3)
        return Route(place)


def _parsed(device: str | torch.device) -> torch.device:
    """Return the device, which is a CPU or CUDA device.

    Raises:
        ValueError: If it is any other device.
    """
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f'device must be None, "cpu" or "cuda", got {device!r}') from error
    if place.type not in ("cpu", "cuda"):
        raise ValueError(f'device must be None, "cpu" or "cuda", got {device!r}')
    return place


def gpu_route() -> Route:
    """Return the route that does all of the work on torch's current GPU: NVDEC decodes, kernels measure and pick.

    Raises:
        GPUError: If the driver, a GPU that torch can use, or the video decoder is missing; the message has the remedy.
        ImportError: If CuPy is missing.
    """
    driver.load_library(driver.CUDA)
    if not torch.cuda.is_available():
        built_for = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "for the CPU only"
        raise driver.GPUError(f"torch finds no usable GPU (this torch is built {built_for}): run `mgdali doctor`")
    place = torch.device("cuda", torch.cuda.current_device())
    return Route(place, nvdec_table(place.index))


def _best_route(decode: Decode) -> Route:
    try:
        return gpu_route()
    except (driver.GPUError, ImportError) as error:
        if decode == "nvdec":
            raise ValueError(f'decode="nvdec" is not possible: {error}') from error
        if isinstance(error, driver.LibraryError):
            # A machine without a driver has no GPU, so the CPU is no surprise.
            logger.info("using the CPU: %s", error)
        else:
            message = f'using the CPU instead of the GPU: {error} (pass device="cpu" to choose the CPU)'
            warnings.warn(message, RuntimeWarning, stacklevel=4)
        return Route(torch.device("cpu"))


def nvdec_table(device: int) -> NvdecTable:
    """Return the codecs that both NVDEC on this GPU and DALI decode to 8-bit RGB, with NVDEC's limits.

    Args:
        device: Index of the GPU.

    Raises:
        GPUError: If the driver or NVDEC's library is missing, or NVDEC decodes none of the codecs; the message has the
            remedy.
        ImportError: If CuPy is missing.
    """
    try:
        importlib.import_module("cupy")
    except ImportError as error:
        raise ImportError(
            f"CuPy cannot be imported ({error}): pip install 'mgdali[cuda12]' or 'mgdali[cuda13]'"
        ) from error
    try:
        driver.load_library(driver.NVDEC)
    except driver.LibraryError as error:
        raise driver.GPUError(
            f"NVDEC's library is missing ({error}): it is part of the driver; start a container with "
            "NVIDIA_DRIVER_CAPABILITIES=compute,utility,video"
        ) from error
    with driver.primary_context(device):
        answers = {codec: driver.decoder_caps(device, codec) for codec in GPU_CODECS}
    table = {codec: caps for codec, caps in answers.items() if caps is not None}
    if not table:
        raise driver.GPUError(f"GPU {device} has no video decoder")
    return table


def usable_route(route: Route, decode: Decode, function: ClipFunction | None) -> Route:
    """Return the route, without NVDEC if the user's function draws from torch's global generator.

    The graph that decodes calls the function in a thread, while the training uses that generator in another one.

    Args:
        route: The route that the loader's arguments request.
        decode: The loader's argument.
        function: The user's function; None for no function.

    Raises:
        ValueError: If the user wants NVDEC then.
    """
    if function is None or function.takes_generator or route.nvdec is None:
        return route
    if decode == "nvdec":
        raise ValueError(
            f"transform={function.name} has no parameter generator, which decode='nvdec' needs, because torch's global "
            "generator belongs to the training: add the parameter, or pass decode='auto' or 'cpu', and PyAV decodes"
        )
    return replace(route, nvdec=None)


def gpu_budget(route: Route, given: int | None) -> float:
    """Return the number of bytes of decoded frames that the GPU may hold at a time.

    Args:
        route: The route.
        given: The loader's argument; None for a quarter of the GPU's free memory.

    Raises:
        ValueError: If the argument is not an integer >= 1.
    """
    if given is not None:
        check_integer("gpu_memory_budget", given, least=1)
        return given
    return math.inf if route.nvdec is None else torch.cuda.mem_get_info(route.device)[0] / 4
