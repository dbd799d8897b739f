"""The models of the examples: their temporal modules compute what they should, and each fits every backbone."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

# Nothing of the package is tested here.
pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = ("none", "tsm", "tea", "gsm")


@pytest.fixture(scope="module")
def models() -> Any:
    """Import the module as a script in the same folder does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))
        return importlib.import_module("action_models")


def small(models: Any, name: str, *, num_frames: int = 8, num_classes: int = 5) -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = models.make_model(name, num_classes=num_classes, num_frames=num_frames, backbone="small")
    # GSM starts with closed gates, which shift nothing. Random weights open them, as training would.
    for part in model.modules():
        if isinstance(part, models.GateShift):
            nn.init.normal_(part.gate.weight, std=0.3)
    return model


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("num_frames", "side"), [(8, 56), (16, 40), (1, 32)])
def test_clips_become_logits(models: Any, name: str, num_frames: int, side: int) -> None:
    clips = torch.randn(2, num_frames, 3, side, side)
    assert small(models, name, num_frames=num_frames)(clips).shape == (2, 5)


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_is_trained(models: Any, name: str) -> None:
    model = small(models, name)
    model(torch.randn(2, 8, 3, 40, 40)).square().sum().backward()
    without = [key for key, value in model.named_parameters() if value.grad is None or not value.grad.abs().sum()]
    assert without == []


@pytest.mark.parametrize("name", NAMES)
def test_only_temporal_modules_know_the_order_of_frames(models: Any, name: str) -> None:
    model = small(models, name).eval()
    # Statistics of random weights: without them features shrink from layer to layer until differences are lost.
    for part in model.modules():
        if isinstance(part, (nn.BatchNorm2d, nn.BatchNorm3d)):
            part.momentum = None
    clips = torch.randn(4, 8, 3, 40, 40)
    with torch.no_grad():
        model.train()(clips)
        model.eval()
        change = (model(clips) - model(clips.flip(1))).abs().max()
    assert (change < 1e-5) if name == "none" else (change > 1e-3)


def test_shifting_takes_an_eighth_from_each_neighbour(models: Any) -> None:
    clips = torch.randn(2, 4, 16, 3, 3)
    shifted = models.TemporalShift(4)(clips.flatten(0, 1)).view_as(clips)
    assert torch.equal(shifted[:, :-1, :2], clips[:, 1:, :2])
    assert torch.equal(shifted[:, 1:, 2:4], clips[:, :-1, 2:4])
    assert torch.equal(shifted[:, :, 4:], clips[:, :, 4:])
    assert not shifted[:, -1, :2].any()
    assert not shifted[:, 0, 2:4].any()


def test_the_shortcut_is_not_shifted(models: Any) -> None:
    block: Any = small(models, "tsm", num_frames=4).get_submodule("features.layer1.1")
    # With the branch set to zero, the output is the shortcut's value.
    nn.init.zeros_(block.bn3.weight)
    frames = torch.rand(8, 16, 5, 5)
    assert torch.equal(block(frames), frames)
    nn.init.ones_(block.bn3.weight)
    assert not torch.equal(block(frames), frames)


def test_a_closed_gate_shifts_nothing_and_an_open_one_all(models: Any) -> None:
    gate = models.GateShift(4, num_frames=3)
    clips = torch.randn(2, 3, 4, 5, 5)
    assert torch.equal(gate(clips.flatten(0, 1)).view_as(clips), clips)
    nn.init.constant_(gate.gate.bias, 50.0)
    moved = gate(clips.flatten(0, 1)).view_as(clips)
    assert torch.allclose(moved[:, 1:, :2], clips[:, :-1, :2], atol=1e-6)
    assert torch.allclose(moved[:, :-1, 2:], clips[:, 1:, 2:], atol=1e-6)


def test_excitation_treats_every_frame_of_a_still_clip_alike(models: Any) -> None:
    excitation = models.MotionExcitation(32, num_frames=4).eval()
    # The transform is set to the identity, because only then does a still clip have no motion.
    nn.init.dirac_(excitation.transform.weight, groups=excitation.transform.groups)
    still = torch.rand(2, 1, 32, 6, 6).expand(2, 4, 32, 6, 6).flatten(0, 1)
    assert torch.allclose(excitation(still), still)
    moving = torch.rand(8, 32, 6, 6)
    assert not torch.allclose(excitation(moving), moving)


def test_aggregation_reaches_three_frames_in_both_directions(models: Any) -> None:
    torch.manual_seed(0)
    aggregation = models.MultipleTemporalAggregation(nn.Conv2d(16, 16, 3, padding=1), num_frames=9)
    for temporal in aggregation.temporal:
        nn.init.ones_(temporal.weight)
    base = torch.zeros(9, 16, 4, 4)
    touched = base.clone()
    touched[4] = torch.rand(16, 4, 4)
    with torch.no_grad():
        changed = (aggregation(touched) - aggregation(base)).abs().sum(dim=(2, 3)) > 0
    quarters = [changed[:, start : start + 4].any(dim=1).nonzero().flatten().tolist() for start in (0, 4, 8, 12)]
    assert quarters == [[4], [3, 4, 5], [2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6, 7]]


def test_the_small_backbone_is_small_and_temporal_modules_add_little(models: Any) -> None:
    counts = {name: sum(value.numel() for value in small(models, name).parameters()) for name in NAMES}
    assert 50_000 < counts["none"] < 300_000
    assert counts["tsm"] == counts["none"], "a shift has no parameters"
    assert counts["none"] < counts["gsm"] < 1.1 * counts["none"]
    assert counts["tea"] < counts["none"], "three quarters of a convolution, in groups"


def stand_in_torchvision(calls: list[tuple[str, str | None]]) -> ModuleType:
    """The parts of torchvision that the models use: a small ResNet of bottleneck blocks with torchvision's names."""
    example = importlib.import_module("action_models")

    def get_model(name: str, weights: str | None) -> nn.Module:
        calls.append((name, weights))
        network = example.SmallResNet()
        forward = network.forward
        network.fc = nn.Linear(128, 1000)
        network.forward = lambda frames: network.fc(forward(frames))
        return network

    module = ModuleType("torchvision.models")
    module.get_model = get_model  # type: ignore[attr-defined]
    return module


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("pretrained", "weights"), [(True, "IMAGENET1K_V1"), (False, None)])
def test_torchvisions_networks_get_a_new_last_layer(
    models: Any, monkeypatch: pytest.MonkeyPatch, name: str, pretrained: bool, weights: str | None
) -> None:
    calls: list[tuple[str, str | None]] = []
    monkeypatch.setitem(sys.modules, "torchvision.models", stand_in_torchvision(calls))
    monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))
    model = models.make_model(name, num_classes=7, num_frames=2, backbone="resnet101", pretrained=pretrained)
    assert model(torch.randn(1, 2, 3, 32, 32)).shape == (1, 7)
    assert calls == [("resnet101", weights)]


@pytest.mark.parametrize("backbone", ["small", "resnet50"])
def test_a_file_of_weights_is_loaded_without_its_last_layer_and_without_a_download(
    models: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, backbone: str
) -> None:
    calls: list[tuple[str, str | None]] = []
    monkeypatch.setitem(sys.modules, "torchvision.models", stand_in_torchvision(calls))
    monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))
    torch.manual_seed(1)
    state = models.SmallResNet().state_dict()
    torch.save({**state, "fc.weight": torch.zeros(1000, 128), "fc.bias": torch.zeros(1000)}, tmp_path / "weights.pth")
    model = models.make_model("none", num_classes=7, num_frames=2, backbone=backbone, weights=tmp_path / "weights.pth")
    loaded = model.features.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in state.items())
    assert model.classifier.weight.shape == (7, 128)
    assert calls == ([] if backbone == "small" else [("resnet50", None)])


@pytest.mark.parametrize("content", [b"", b"garbage" * 99, "list", "other network"])
def test_a_file_without_the_weights_of_the_backbone_is_named(models: Any, tmp_path: Path, content: bytes | str) -> None:
    path = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save([1, 2] if content == "list" else nn.Linear(2, 2).state_dict(), path)
    with pytest.raises(ValueError, match="weights.pth does not contain the weights of small .*: pass a state_dict"):
        models.make_model("tsm", num_classes=7, num_frames=2, weights=path)


def test_in_a_resnet_101_every_second_block_shifts(models: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def deep(name: str, weights: str | None) -> nn.Module:
        network = stand_in_torchvision([]).get_model(name, weights)
        network.layer3 = nn.Sequential(*[models._Bottleneck(32 if i == 0 else 64, 64, 1) for i in range(23)])
        return network

    module = ModuleType("torchvision.models")
    module.get_model = deep  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchvision.models", module)
    monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))
    model = models.make_model("tsm", num_classes=7, num_frames=2, backbone="resnet101")
    shifts = [name for name, part in model.named_modules() if isinstance(part, models.TemporalShift)]
    assert sum("layer3" in name for name in shifts) == 12


def test_without_torchvision_the_error_names_the_remedy(models: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    with pytest.raises(ImportError, match='torchvision that matches .* backbone="small"'):
        models.make_model("tsm", num_classes=3, num_frames=8, backbone="resnet50")


def test_a_bad_argument_is_echoed(models: Any) -> None:
    with pytest.raises(ValueError, match="model must be one of .*, got 'i3d'"):
        models.make_model("i3d", num_classes=3, num_frames=8)
    with pytest.raises(ValueError, match="backbone must be one of .*, got 'vgg'"):
        models.make_model("tsm", num_classes=3, num_frames=8, backbone="vgg")
    with pytest.raises(ValueError, match=r"clips must be \[N, 8, 3, H, W\], got \[2, 4, 3, 32, 32\]"):
        small(models, "tsm")(torch.randn(2, 4, 3, 32, 32))
