"""The models TSM, TEA and GSM on a ResNet, for the clips of the loader; ``none`` is the same ResNet on single frames.

Each model is a 2-D ResNet of bottleneck blocks (1x1, 3x3, 1x1 convolutions) that processes frames as a batch
``[N*T, C, H, W]``. A temporal module in every block exchanges information between frames. The code follows the papers'
descriptions. The other examples import it.
"""

from __future__ import annotations

import importlib
import os
import pickle
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["ActionModel", "Backbone", "ModelName", "make_model"]

ModelName = Literal["none", "tsm", "tea", "gsm"]
Backbone = Literal["small", "resnet50", "resnet101"]


def make_model(
    name: str,
    *,
    num_classes: int,
    num_frames: int,
    backbone: str = "small",
    pretrained: bool = True,
    weights: str | os.PathLike[str] | None = None,
    dropout: float = 0.5,
) -> nn.Module:
    """Return a model that maps clips, float ``[N, T, 3, H, W]``, to logits, ``[N, num_classes]``.

    Args:
        name: ``"tsm"``, ``"tea"``, ``"gsm"``, or ``"none"``: no temporal module, which is TSN.
        num_classes: Number of classes C.
        num_frames: Number of frames T per clip.
        backbone: ``"resnet50"`` or ``"resnet101"`` of torchvision, or ``"small"``: a ResNet with about 150,000
            parameters for machines without a GPU.
        pretrained: Whether to start with ImageNet weights, which torchvision downloads. ``"small"`` has none.
        weights: File with the weights of the backbone, such as torchvision's ``resnet50-0676ba61.pth``. Nothing is
            downloaded then. Its last layer is not used.
        dropout: Dropout probability before the last layer.

    Raises:
        ValueError: If ``name`` or ``backbone`` is not one of the above, or if the file is not one of such weights.
        OSError: If the file cannot be read.
        ImportError: If torchvision is needed and missing.
    """
    if name not in get_args(ModelName):
        raise ValueError(f"model must be one of {get_args(ModelName)}, got {name!r}")
    features, width = _make_backbone(backbone, pretrained and weights is None)
    if weights is not None:
        _load_weights(features, backbone, weights)
    # As in TSM's released code, only every second block of a ResNet-101 shifts.
    step = 2 if name == "tsm" and len(features.layer3) >= 23 else 1
    for layer in (features.layer1, features.layer2, features.layer3, features.layer4):
        for block in layer[::step]:
            _insert(name, block, num_frames)
    return ActionModel(features, nn.Linear(width, num_classes), num_frames=num_frames, dropout=dropout)


class ActionModel(nn.Module):
    """A network that computes logits per frame; a clip's logits are the mean over its frames (segment consensus).

    Args:
        features: Module that maps ``[N*T, 3, H, W]`` to ``[N*T, width]``.
        classifier: Module that maps ``[N*T, width]`` to ``[N*T, C]``.
        num_frames: Number of frames T per clip.
        dropout: Dropout probability before the classifier.
    """

    def __init__(self, features: nn.Module, classifier: nn.Module, *, num_frames: int, dropout: float) -> None:
        super().__init__()
        self.num_frames = num_frames
        self.features = features
        self.dropout = nn.Dropout(dropout)
        self.classifier = classifier

    def forward(self, clips: Tensor) -> Tensor:
        """Return the logits ``[N, C]`` of clips ``[N, T, 3, H, W]``."""
        if clips.ndim != 5 or clips.shape[1] != self.num_frames:
            raise ValueError(f"clips must be [N, {self.num_frames}, 3, H, W], got {list(clips.shape)}")
        return _as_clips(self.classifier(self.dropout(self.features(clips.flatten(0, 1)))), self.num_frames).mean(1)


def _as_clips(frames: Tensor, num_frames: int) -> Tensor:
    """Reshape ``[N*T, ...]`` to ``[N, T, ...]``."""
    return frames.reshape(-1, num_frames, *frames.shape[1:])


def _insert(name: str, block: Any, num_frames: int) -> None:
    """Add a temporal module to the branch of a bottleneck block; the shortcut stays unchanged."""
    if name == "tsm":
        block.conv1 = nn.Sequential(TemporalShift(num_frames), block.conv1)
    elif name == "tea":
        channels = block.conv2.in_channels
        block.conv2 = nn.Sequential(
            MotionExcitation(channels, num_frames), MultipleTemporalAggregation(block.conv2, num_frames)
        )
    elif name == "gsm":
        block.conv2 = nn.Sequential(block.conv2, GateShift(block.conv2.out_channels, num_frames))


# --- temporal modules: [N*T, C, H, W] to the same shape ---------------------------------------------------------------


def _from_next(clips: Tensor) -> Tensor:
    """Move the features ``[N, T, C, H, W]`` of each frame to the previous frame. The last frame gets zeros."""
    return F.pad(clips[:, 1:], (0, 0, 0, 0, 0, 0, 0, 1))


def _from_previous(clips: Tensor) -> Tensor:
    """Move the features ``[N, T, C, H, W]`` of each frame to the next frame. The first frame gets zeros."""
    return F.pad(clips[:, :-1], (0, 0, 0, 0, 0, 0, 1, 0))


class TemporalShift(nn.Module):
    """Temporal shift of TSM (Lin et al., ICCV 2019).

    An eighth of the channels comes from the next frame, and an eighth from the previous frame. The shift is within
    a block's branch, so that the shortcut keeps the frame's own features ("residual shift", section 3.3).
    """

    def __init__(self, num_frames: int) -> None:
        super().__init__()
        self.num_frames = num_frames

    def forward(self, frames: Tensor) -> Tensor:
        """Return the features with a quarter of their channels shifted."""
        clips = _as_clips(frames, self.num_frames)
        fold = clips.shape[2] // 8
        after, before, own = clips[:, :, :fold], clips[:, :, fold : 2 * fold], clips[:, :, 2 * fold :]
        return torch.cat([_from_next(after), _from_previous(before), own], dim=2).flatten(0, 1)


class MotionExcitation(nn.Module):
    """Motion excitation (ME) of TEA (Li et al., CVPR 2020, section 3.1): strengthens channels that change over time.

    Args:
        channels: Number of channels C.
        num_frames: Number of frames T per clip.
        reduction: Factor by which the number of channels is reduced before frames are compared.
    """

    def __init__(self, channels: int, num_frames: int, reduction: int = 16) -> None:
        super().__init__()
        self.num_frames = num_frames
        squeezed = max(channels // reduction, 4)
        self.squeeze = nn.Sequential(nn.Conv2d(channels, squeezed, 1, bias=False), nn.BatchNorm2d(squeezed))
        self.transform = nn.Conv2d(squeezed, squeezed, 3, padding=1, groups=squeezed, bias=False)
        self.expand = nn.Sequential(nn.Conv2d(squeezed, channels, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, frames: Tensor) -> Tensor:
        """Return ``X + X * A`` with an attention A in (-1, 1) per channel and frame."""
        squeezed = self.squeeze(frames)
        now, moved = (_as_clips(part, self.num_frames) for part in (squeezed, self.transform(squeezed)))
        # The last frame has no next frame, so its motion is 0.
        motion = F.pad(moved[:, 1:] - now[:, :-1], (0, 0, 0, 0, 0, 0, 0, 1)).flatten(0, 1)
        attention = 2 * torch.sigmoid(self.expand(F.adaptive_avg_pool2d(motion, 1))) - 1
        return frames + frames * attention


class MultipleTemporalAggregation(nn.Module):
    """Multiple temporal aggregation (MTA) of TEA (section 3.2), which replaces a 3x3 convolution.

    The channels are divided into quarters. The first quarter is not changed. Each other quarter is added to the
    previous result and goes through a temporal convolution per channel and a spatial convolution, so that the last
    quarter depends on seven frames. In blocks with a stride, the sizes differ, so quarters are not added, as in
    Res2Net.

    Args:
        conv: The 3x3 convolution to replace. Its weights within each quarter initialize the spatial convolutions; the
            paper uses the weights of a Res2Net. The temporal convolutions are initialized as TSM's shift.
        num_frames: Number of frames T per clip.
    """

    def __init__(self, conv: nn.Conv2d, num_frames: int) -> None:
        super().__init__()
        self.num_frames = num_frames
        self.stride = conv.stride[0]
        width = conv.in_channels // 4
        self.temporal = nn.ModuleList(_temporal_convolution(width) for _ in range(3))
        self.spatial = nn.ModuleList()
        for start in (width, 2 * width, 3 * width):
            spatial = nn.Conv2d(width, width, 3, self.stride, 1, bias=False)
            spatial.weight.data.copy_(conv.weight.data[start : start + width, start : start + width])
            self.spatial.append(spatial)

    def forward(self, frames: Tensor) -> Tensor:
        """Return features ``[N*T, C, H/stride, W/stride]``."""
        first, *rest = frames.chunk(4, dim=1)
        results = [first if self.stride == 1 else F.avg_pool2d(first, 3, self.stride, 1)]
        for number, (part, temporal, spatial) in enumerate(zip(rest, self.temporal, self.spatial, strict=True)):
            if self.stride == 1 and number > 0:
                part = part + results[-1]
            results.append(spatial(self._over_time(temporal, part)))
        return torch.cat(results, dim=1)

    def _over_time(self, temporal: nn.Module, frames: Tensor) -> Tensor:
        clips = _as_clips(frames, self.num_frames)
        mixed: Tensor = temporal(clips.transpose(1, 2))
        return mixed.transpose(1, 2).flatten(0, 1)


def _temporal_convolution(channels: int) -> nn.Conv3d:
    """Return a convolution over three frames per channel.

    It is initialized as a shift of an eighth of the channels (at least one) in each direction.
    """
    conv = nn.Conv3d(channels, channels, (3, 1, 1), padding=(1, 0, 0), groups=channels, bias=False)
    fold = max(channels // 8, 1)
    # The frame that each channel is taken from initially: 0 is the previous frame, 1 the same, 2 the next.
    source = torch.ones(channels, dtype=torch.long)
    source[:fold], source[-fold:] = 2, 0
    conv.weight.data.copy_(F.one_hot(source, 3).view(channels, 1, 3, 1, 1))
    return conv


class GateShift(nn.Module):
    """Gate-shift module of GSM (Sudhakaran et al., CVPR 2020).

    A learned gate selects a part of the features, which is shifted in time; the rest is not changed. One half of the
    channels is shifted forward and the other backward, with one gate each, after the block's spatial convolution.

    Args:
        channels: Number of channels C, even.
        num_frames: Number of frames T per clip.
    """

    def __init__(self, channels: int, num_frames: int) -> None:
        super().__init__()
        self.num_frames = num_frames
        self.norm = nn.BatchNorm3d(channels)
        self.gate = nn.Conv3d(channels, 2, 3, padding=1, groups=2)
        # Gates are closed at first and shift nothing, so that the network starts as the plain one with its weights.
        nn.init.zeros_(self.gate.weight)
        assert self.gate.bias is not None
        nn.init.zeros_(self.gate.bias)

    def forward(self, frames: Tensor) -> Tensor:
        """Return the features with their gated part shifted by a frame."""
        clips = _as_clips(frames, self.num_frames)
        gates = torch.tanh(self.gate(F.relu(self.norm(clips.transpose(1, 2))))).transpose(1, 2)
        halves = []
        for half, gate, shift in zip(clips.chunk(2, 2), gates.chunk(2, 2), (_from_previous, _from_next), strict=True):
            gated = gate * half
            halves.append(shift(gated) + half - gated)
        return torch.cat(halves, dim=2).flatten(0, 1)


# --- backbones -------------------------------------------------------------------------------------------------------


def _make_backbone(name: str, pretrained: bool) -> tuple[Any, int]:
    """Return a ResNet without its last layer, and the number of features."""
    if name not in get_args(Backbone):
        raise ValueError(f"backbone must be one of {get_args(Backbone)}, got {name!r}")
    if name == "small":
        return SmallResNet(), SmallResNet.width
    try:
        models = importlib.import_module("torchvision.models")
    except (ImportError, RuntimeError) as error:
        raise ImportError(
            f'backbone="{name}" needs torchvision, which cannot be imported ({error}): install the torchvision that '
            'matches your torch, or use backbone="small"'
        ) from error
    # The papers start with the V1 weights.
    network = models.get_model(name, weights="IMAGENET1K_V1" if pretrained else None)
    width = int(network.fc.in_features)
    network.fc = nn.Identity()
    return network, width


def _load_weights(features: nn.Module, backbone: str, path: str | os.PathLike[str]) -> None:
    """Load the weights of a backbone from a file. No code from the file is executed."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        features.load_state_dict({key: value for key, value in state.items() if not key.startswith("fc.")})
    except (RuntimeError, AttributeError, TypeError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        found = f"{os.fspath(path)} does not contain the weights of {backbone} ({' '.join(reason[:2])})"
        raise ValueError(f"{found}: pass a state_dict of this network, saved with torch.save") from error


class SmallResNet(nn.Module):
    """A ResNet for clips of about 56x56 pixels on a CPU: four layers of two bottleneck blocks, 16 to 128 channels."""

    width = 128

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.layer1 = nn.Sequential(_Bottleneck(16, 16, 1), _Bottleneck(16, 16, 1))
        self.layer2 = nn.Sequential(_Bottleneck(16, 32, 2), _Bottleneck(32, 32, 1))
        self.layer3 = nn.Sequential(_Bottleneck(32, 64, 2), _Bottleneck(64, 64, 1))
        self.layer4 = nn.Sequential(_Bottleneck(64, 128, 2), _Bottleneck(128, 128, 1))

    def forward(self, frames: Tensor) -> Tensor:
        """Return features ``[N*T, 128]`` of frames ``[N*T, 3, H, W]``."""
        maps = self.layer4(self.layer3(self.layer2(self.layer1(self.stem(frames)))))
        return F.adaptive_avg_pool2d(maps, 1).flatten(1)


class _Bottleneck(nn.Module):
    """A bottleneck block: 1x1, 3x3 and 1x1 convolutions, and a shortcut, with the attribute names of torchvision's."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        middle = channels_out // 2
        self.conv1: nn.Module = nn.Conv2d(channels_in, middle, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(middle)
        self.conv2: nn.Module = nn.Conv2d(middle, middle, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(middle)
        self.conv3 = nn.Conv2d(middle, channels_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels_out)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
            )

    def forward(self, frames: Tensor) -> Tensor:
        maps = F.relu(self.bn1(self.conv1(frames)))
        maps = F.relu(self.bn2(self.conv2(maps)))
        return F.relu(self.bn3(self.conv3(maps)) + self.downsample(frames))
