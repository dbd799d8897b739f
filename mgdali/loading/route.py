"""Where clips are decoded and handed out: on the CPU, or on a GPU with or without its video decoder."""

from __future__ import annotations

import importlib
import logging
import warnings
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from mgdali.gpu import driver
from mgdali.gpu.nvdec import NVDEC_BY_DALI, NvdecTable

Decode = Literal["auto", "nvdec", "cpu"]

__all__ = ["Decode", "Route", "choose_route", "gpu_route", "nvdec_table"]

logger = logging.getLogger("mgdali")


@dataclass(frozen=True)
class Route:
    """A loader's way.

    Attributes:
        device: where clips are handed out.
        nvdec: what the GPU decodes; None where PyAV decodes everything.
    """

    device: torch.device
    nvdec: NvdecTable | None = None

    @property
    def device_id(self) -> int | None:
        """The GPU's number, or None on the CPU."""
        return None if self.device.type == "cpu" else self.device.index

    @property
    def engines(self) -> int:
        """Decoding engines of the GPU, as far as its driver tells; at least 1."""
        return max([1, *(caps.engines for caps in (self.nvdec or {}).values())])


def choose_route(device: str | torch.device | None, decode: Decode) -> Route:
    """The way that a loader's arguments ask for.

    Args:
        device: ``"cpu"``, or ``"cuda"``, perhaps with a number. None takes the GPU where it can decode and run the
            kernels, otherwise the CPU; where there is a GPU and something is missing, one line says what.
        decode: ``"nvdec"`` or ``"cpu"`` (PyAV); ``"auto"`` takes NVDEC where it can be used, and says in one line why
            where it cannot.

    Raises:
        ValueError: the arguments don't go together, or ask for what this machine does not have.
    """
    if decode not in get_args(Decode):
        raise ValueError(f"decode must be one of {get_args(Decode)}, got {decode!r}")
    if device is None:
        return Route(torch.device("cpu")) if decode == "cpu" else _best_route(decode)
    try:
        place = torch.device(device)
    except RuntimeError:
        place = torch.device("meta")
    if place.type == "cpu":
        if decode == "nvdec":
            raise ValueError(f'decode="nvdec" needs device="cuda", got device={device!r}')
        return Route(place)
    if place.type != "cuda":
        raise ValueError(f'device must be None, "cpu" or "cuda", got {device!r}')
    if not torch.cuda.is_available():
        raise ValueError(f"device={device!r}: torch finds no usable GPU; `mgdali doctor` tells what is missing")
    place = torch.device("cuda", torch.cuda.current_device() if place.index is None else place.index)
    if decode == "cpu":
        return Route(place)
    try:
        return Route(place, nvdec_table(place.index))
    except (driver.GPUError, ImportError) as error:
        if decode == "nvdec":
            raise ValueError(f'decode="nvdec" cannot be used: {error}') from error
        warnings.warn(f"PyAV decodes, not the GPU: {error}", RuntimeWarning, stacklevel=3)
        return Route(place)


def gpu_route() -> Route:
    """All of the work on torch's current GPU: NVDEC decodes, kernels measure and pick.

    Raises:
        GPUError: there is no driver, no GPU that torch can use, or no video decoder; the message says what to do.
        ImportError: CuPy is missing.
    """
    driver.load_library(driver.CUDA)
    if not torch.cuda.is_available():
        built_for = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "for the CPU only"
        raise driver.GPUError(f"torch finds no GPU that it can use (it is built {built_for}): see `mgdali doctor`")
    place = torch.device("cuda", torch.cuda.current_device())
    return Route(place, nvdec_table(place.index))


def _best_route(decode: Decode) -> Route:
    try:
        return gpu_route()
    except (driver.GPUError, ImportError) as error:
        if decode == "nvdec":
            raise ValueError(f'decode="nvdec" cannot be used: {error}') from error
        if isinstance(error, driver.LibraryError):
            # A machine without a driver has no GPU to miss.
            logger.info("the CPU is used: %s", error)
        else:
            message = f'the CPU is used, not the GPU: {error} (device="cpu" if that is meant)'
            warnings.warn(message, RuntimeWarning, stacklevel=4)
        return Route(torch.device("cpu"))


def nvdec_table(device: int) -> NvdecTable:
    """The codecs that a GPU's NVDEC and DALI decode to 8-bit RGB, with NVDEC's limits.

    Raises:
        GPUError: NVDEC's library or the driver is missing, or decodes none of them; the message says what to do.
        ImportError: CuPy is missing.
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
            f"NVDEC's library is missing ({error}): it comes with the driver; a container needs "
            "NVIDIA_DRIVER_CAPABILITIES=compute,utility,video"
        ) from error
    with driver.primary_context(device):
        answers = {codec: driver.decoder_caps(device, codec) for codec in NVDEC_BY_DALI}
    table = {codec: caps for codec, caps in answers.items() if caps is not None}
    if not table:
        raise driver.GPUError(f"GPU {device} has no video decoder")
    return table
