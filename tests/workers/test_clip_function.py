"""The user's function of a clip: its random numbers depend on the seed alone, and its errors name the video."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mgdali.errors import TransformError
from mgdali.workers.clip_function import ClipFunction


def clip() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (4, 3, 8, 10), np.uint8)


def own_noise(clip: torch.Tensor, *, generator: torch.Generator) -> torch.Tensor:
    """Add noise, in place, from the generator that is given."""
    return clip.add_(torch.randint(0, 9, clip.shape, generator=generator, dtype=torch.uint8))


def global_noise(clip: torch.Tensor, **options: Any) -> torch.Tensor:
    """Add noise from torch's global generator, and half the width. Further options are not a generator."""
    assert not options
    return (clip + torch.randint(0, 9, clip.shape, dtype=torch.uint8))[..., ::2]


class Noise(torch.nn.Module):
    """Noise whose scale is a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(9.0))

    def forward(self, clip: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        assert generator is not None
        return (clip + self.scale * torch.rand(clip.shape, generator=generator)).clamp(0, 255).to(torch.uint8)


@pytest.mark.parametrize(
    ("function", "takes"),
    [
        (own_noise, True),
        (partial(own_noise), True),
        (Noise(), True),
        (lambda clip, generator: own_noise(clip, generator=generator), True),
        (global_noise, False),
        (torch.nn.Sequential(torch.nn.Dropout()), False),
        (lambda generator, /: generator, False),
        (torch.flip, False),
    ],
)
def test_a_function_gets_a_generator_if_one_of_its_parameters_has_that_name(
    function: Callable[..., Any], takes: bool
) -> None:
    assert ClipFunction(function).takes_generator == takes


@pytest.mark.parametrize("function", [own_noise, global_noise, Noise()])
def test_results_depend_on_the_seed_alone_and_random_numbers_of_the_process_stay_as_they_were(function: Any) -> None:
    call = ClipFunction(function)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    results = [call(clip(), seed, "a.mp4") for seed in (7, 8, 7)]
    assert torch.equal(torch.rand(3), expected)
    assert (results[0] == results[2]).all()
    assert (results[0] != results[1]).any()
    assert (results[0] != clip()[..., : results[0].shape[3]]).any()


def test_torch_uses_one_thread_during_the_call_and_as_many_as_before_afterwards() -> None:
    threads: list[int] = []

    def fails(clip: torch.Tensor) -> torch.Tensor:
        threads.append(torch.get_num_threads())
        torch.rand(1)
        raise ValueError

    before, state = torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(2)
    try:
        with pytest.raises(TransformError):
            ClipFunction(fails)(clip(), 0, "a.mp4")
        assert (threads, torch.get_num_threads()) == ([1], 2)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda clip: clip.nonsense(), "(?s)it failed:\nTraceback.*AttributeError.*nonsense"),
        (lambda clip: None, r"must return a uint8 tensor \[T, 3, H, W\] with T=4 on cpu, got None"),
        (lambda clip: clip.numpy(), "got ndarray"),
        (lambda clip: clip / 255, r"got float32 \[4, 3, 8, 10\] on cpu"),
        (lambda clip: clip[:2], r"got uint8 \[2, 3, 8, 10\] on cpu"),
        (lambda clip: clip.permute(0, 2, 3, 1), r"got uint8 \[4, 8, 10, 3\] on cpu"),
        (lambda clip: clip[..., :0], r"got uint8 \[4, 3, 8, 0\] on cpu"),
        (lambda clip: clip.to("meta"), "on meta"),
    ],
)
def test_errors_name_the_video_and_the_function_and_can_be_pickled(function: Any, message: str) -> None:
    with pytest.raises(TransformError, match=message) as caught:
        ClipFunction(function)(clip(), 0, "folder/a.mp4")
    assert "<lambda> on the clip of folder/a.mp4: it " in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_function_that_cannot_be_sent_to_workers_is_named() -> None:
    lock = threading.Lock()

    def locked(clip: torch.Tensor) -> torch.Tensor:
        with lock:
            return clip

    with pytest.raises(ValueError, match=r"transform=.*locked cannot be sent to workers \(.*lock.*num_workers=0"):
        pickle.dumps(ClipFunction(locked))
    sent = pickle.loads(pickle.dumps(ClipFunction(lambda clip: clip // 2)))
    assert (sent(clip(), 0, "a.mp4") == clip() // 2).all()


def test_something_that_cannot_be_called_is_refused() -> None:
    with pytest.raises(ValueError, match="transform must be a function of a clip, got 'flip'"):
        ClipFunction("flip")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["RandAugment", "ColorJitter", "Compose"])
def test_torchvision_transforms_are_seeded(name: str) -> None:
    v2 = pytest.importorskip("torchvision.transforms.v2")
    jitter = v2.ColorJitter(brightness=0.5, hue=0.2)
    function = {"RandAugment": v2.RandAugment(), "ColorJitter": jitter, "Compose": v2.Compose([jitter])}[name]
    call = ClipFunction(function)
    results = [call(clip(), seed, "a.mp4").tobytes() for seed in (1, 2, 3, 4, 1, 2, 3, 4)]
    assert call.name == name
    assert results[:4] == results[4:]
    assert len(set(results)) > 1
