"""The route of a loader, chosen from its arguments and the hardware of the machine."""

from __future__ import annotations

import sys
import types
import warnings
from contextlib import nullcontext
from typing import Any

import pytest
import torch

from mgdali.gpu import driver
from mgdali.gpu.driver import DecoderCaps, GPUError, LibraryError
from mgdali.loading.route import choose_route, nvdec_table

H264 = DecoderCaps("h264", "4:2:0", 8, 7, 48, 16, 4096, 4096, 65536)


@pytest.fixture
def gpu_machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A simulated machine whose driver reports one GPU, which decodes H.264."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setitem(sys.modules, "cupy", types.ModuleType("cupy"))
    monkeypatch.setattr(driver, "load_library", lambda name: None)
    monkeypatch.setattr(driver, "primary_context", lambda device: nullcontext())
    monkeypatch.setattr(driver, "decoder_caps", lambda device, codec: H264 if codec == "h264" else None)
    return monkeypatch


def no_library(name: str) -> None:
    raise LibraryError(f"{name}: cannot open shared object file")


@pytest.mark.parametrize(("device", "decode"), [("cpu", "auto"), (torch.device("cpu"), "cpu"), (None, "cpu")])
def test_with_device_cpu_pyav_decodes(device: Any, decode: Any, gpu_machine: pytest.MonkeyPatch) -> None:
    route = choose_route(device, decode)
    assert (route.device, route.device_id, route.nvdec, route.engines) == (torch.device("cpu"), None, None, 1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize("decode", ["auto", "nvdec", "cpu"])
def test_a_missing_gpu_is_an_error(decode: Any) -> None:
    with pytest.raises(ValueError, match="device='cuda': torch finds no usable GPU.*mgdali doctor"):
        choose_route("cuda", decode)


def test_a_gpu_with_nvdec_decodes_the_codecs_of_its_chip(gpu_machine: pytest.MonkeyPatch) -> None:
    for decode in ("auto", "nvdec"):
        route = choose_route("cuda", decode)  # type: ignore[arg-type]
        assert (route.device, route.device_id, route.nvdec) == (torch.device("cuda:1"), 1, {"h264": H264})
        assert route.engines == 7
    assert choose_route("cuda:0", "auto").device_id == 0


def test_without_a_device_argument_a_complete_gpu_machine_uses_its_gpu(gpu_machine: pytest.MonkeyPatch) -> None:
    for decode in ("auto", "nvdec"):
        assert choose_route(None, decode) == choose_route("cuda", decode)  # type: ignore[arg-type]


def test_without_a_device_argument_a_machine_without_a_driver_uses_the_cpu_silently(
    gpu_machine: pytest.MonkeyPatch,
) -> None:
    gpu_machine.setattr(driver, "load_library", no_library)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert choose_route(None, "auto").device.type == "cpu"
    with pytest.raises(ValueError, match='decode="nvdec".*libcuda.so.1: cannot open'):
        choose_route(None, "nvdec")


@pytest.mark.parametrize(
    ("lacks", "says"),
    [
        ("torch", r"torch finds no usable GPU .*built for .*mgdali doctor"),
        ("nvdec", "NVDEC's library is missing .*NVIDIA_DRIVER_CAPABILITIES"),
        ("cupy", r"CuPy cannot be imported .*pip install 'mgdali\[cuda12\]'"),
    ],
)
def test_without_a_device_argument_one_warning_gives_the_reason_for_not_using_the_gpu(
    gpu_machine: pytest.MonkeyPatch, lacks: str, says: str
) -> None:
    if lacks == "torch":
        gpu_machine.setattr(torch.cuda, "is_available", lambda: False)
    elif lacks == "cupy":
        gpu_machine.setitem(sys.modules, "cupy", None)
    else:
        gpu_machine.setattr(driver, "load_library", lambda name: no_library(name) if name == driver.NVDEC else None)
    with pytest.warns(RuntimeWarning, match=f"CPU instead of the GPU: {says}.*") as caught:
        assert choose_route(None, "auto").device.type == "cpu"
    assert len(caught) == 1
    assert "\n" not in str(caught[0].message)
    with pytest.raises(ValueError, match='decode="nvdec"'):
        choose_route(None, "nvdec")


def test_a_gpu_can_process_frames_that_pyav_decoded(gpu_machine: pytest.MonkeyPatch) -> None:
    route = choose_route("cuda", "cpu")
    assert (route.device_id, route.nvdec) == (1, None)


def test_without_the_nvdec_library_pyav_decodes_and_one_line_names_it(gpu_machine: pytest.MonkeyPatch) -> None:
    gpu_machine.setattr(driver, "load_library", no_library)
    with pytest.warns(RuntimeWarning, match="PyAV decodes.*library is missing.*NVIDIA_DRIVER_CAPABILITIES") as caught:
        route = choose_route("cuda", "auto")
    assert len(caught) == 1
    assert (route.device_id, route.nvdec) == (1, None)
    with pytest.raises(ValueError, match='decode="nvdec".*NVDEC\'s library is missing'):
        choose_route("cuda", "nvdec")


def test_without_cupy_one_line_names_the_package_to_install(gpu_machine: pytest.MonkeyPatch) -> None:
    gpu_machine.setitem(sys.modules, "cupy", None)
    with pytest.warns(RuntimeWarning, match=r"CuPy cannot be imported.*pip install 'mgdali\[cuda12\]'"):
        assert choose_route("cuda", "auto").nvdec is None


def test_a_chip_without_a_video_decoder_is_an_error(gpu_machine: pytest.MonkeyPatch) -> None:
    gpu_machine.setattr(driver, "decoder_caps", lambda device, codec: None)
    with pytest.raises(GPUError, match="GPU 0 has no video decoder"):
        nvdec_table(0)


@pytest.mark.parametrize(
    ("device", "decode", "message"),
    [
        ("cpu", "nvdec", 'decode="nvdec" needs device="cuda", got device=\'cpu\''),
        ("mps", "auto", 'device must be None, "cpu" or "cuda", got \'mps\''),
        ("gpu", "auto", 'device must be None, "cpu" or "cuda", got \'gpu\''),
        (None, "gpu", "decode must be one of .*, got 'gpu'"),
    ],
)
def test_contradicting_arguments_are_echoed(device: Any, decode: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        choose_route(device, decode)
