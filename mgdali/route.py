"""Where clips are decoded and handed out: on the CPU, or on a GPU with or without its video decoder."""

from __future__ import annotations

import importlib
import warnings
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from mgdali import gpu
from mgdali.probe import NVDEC_BY_DALI, NvdecTable

Decode = Literal["auto", "nvdec", "cpu"]

__all__ = ["Decode", "Route", "choose_route", "nvdec_table"]


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
        device: None or ``"cpu"``, or ``"cuda"``, perhaps with a number.
        decode: ``"nvdec"`` or ``"cpu"`` (PyAV); ``"auto"`` takes NVDEC where it can be used, and says in one line why
            where it cannot.

    Raises:
        ValueError: the arguments don't go together, or ask for what this machine does not have.
    """
    if decode not in get_args(Decode):
        raise ValueError(f"decode must be one of {get_args(Decode)}, got {decode!r}")
    try:
        place = torch.device("cpu" if device is None else device)
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
    except (gpu.GPUError, ImportError) as error:
        if decode == "nvdec":
            raise ValueError(f'decode="nvdec" cannot be used: {error}') from error
        warnings.warn(f"PyAV decodes, not the GPU: {error}", RuntimeWarning, stacklevel=3)
        return Route(place)


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
        gpu.load_library(gpu.NVDEC)
    except gpu.LibraryError as error:
        raise gpu.GPUError(
            f"NVDEC's library is missing ({error}): it comes with the driver; a container needs "
            "NVIDIA_DRIVER_CAPABILITIES=compute,utility,video"
        ) from error
    with gpu.primary_context(device):
        answers = {codec: gpu.decoder_caps(device, codec) for codec in NVDEC_BY_DALI}
    table = {codec: caps for codec, caps in answers.items() if caps is not None}
    if not table:
        raise gpu.GPUError(f"GPU {device} has no video decoder")
    return table
