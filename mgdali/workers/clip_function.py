"""The user's function of a clip: its random numbers, checks of its result, and its errors."""

from __future__ import annotations

import functools
import inspect
import pickle
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import cloudpickle
import numpy as np
import torch
from numpy.typing import NDArray

from mgdali.errors import TransformError

__all__ = ["ClipFunction"]


@dataclass(frozen=True)
class ClipFunction:
    """A user's function of a clip, in the form in which workers call it.

    The function gets a tensor, uint8 ``[T, 3, H, W]``, which it may change, and returns one of the same type with the
    same T and 3. If one of its parameters is called ``generator``, it gets a separate ``torch.Generator`` there.
    Otherwise torch's global generator is seeded for the call and restored afterwards. Torch uses one thread during the
    call, so that sums have the same order in every process.

    Args:
        function: A function, or a callable object such as a ``torch.nn.Module``.

    Raises:
        ValueError: If it cannot be called; when it is pickled, if that is not possible.
    """

    function: Callable[..., Any]

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise ValueError(f"transform must be a function of a clip, got {self.function!r}")

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickled here, so that the error names the argument.
        try:
            return _unpickled, (cloudpickle.dumps(self.function),)
        except Exception as error:
            raise ValueError(
                f"transform={self.name} cannot be sent to workers ({error}): create what it needs when it is called, "
                "or pass num_workers=0"
            ) from error

    @property
    def name(self) -> str:
        """Name of the function, for messages."""
        function = self.function
        while isinstance(function, functools.partial):
            function = function.func
        return str(getattr(function, "__qualname__", type(function).__qualname__))

    @functools.cached_property
    def takes_generator(self) -> bool:
        """Whether the function has a parameter called ``generator``."""
        # A module's __call__ takes any arguments and passes them on.
        called = self.function.forward if isinstance(self.function, torch.nn.Module) else self.function
        try:
            parameter = inspect.signature(called).parameters.get("generator")
        except (TypeError, ValueError):
            # Some functions that are written in C have no signature.
            return False
        return parameter is not None and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)

    def __call__(self, clip: NDArray[np.uint8], seed: int, path: str) -> NDArray[np.uint8]:
        """Return what the function makes of a clip.

        Args:
            clip: The clip, uint8 ``[T, 3, H, W]``. The function may change it and keep it.
            seed: Seed of the function's random numbers, in ``[0, 2**63)``.
            path: Path of the clip's video, for messages.

        Returns:
            Uint8 ``[T, 3, H', W']``.

        Raises:
            TransformError: If the function fails, or returns anything else.
        """
        with _one_thread():
            changed: NDArray[np.uint8] = self.change(torch.from_numpy(clip), seed, path).numpy()
        return changed

    def change(self, clip: torch.Tensor, seed: int, path: str) -> torch.Tensor:
        """Do the same with a tensor on any device. On a GPU, the function must take a generator."""
        num_frames, device = len(clip), clip.device
        try:
            with torch.no_grad():
                result = self._called(clip, seed)
        except Exception as error:
            reason = "".join(traceback.format_exception(error)).rstrip()
            raise TransformError(path, self.name, f"it failed:\n{reason}") from error
        wrong = _what_is_wrong(result, num_frames, device)
        if wrong is not None:
            wanted = f"a uint8 tensor [T, 3, H, W] with T={num_frames} on {device}"
            raise TransformError(path, self.name, f"it must return {wanted}, got {wrong}")
        changed: torch.Tensor = result
        return changed

    def sizes_differ(self, path: str, size: tuple[int, ...], first: str, first_size: tuple[int, ...]) -> TransformError:
        """Return the error about clips of two sizes, which cannot form a batch.

        Args:
            path: Path of a video.
            size: Height and width of what the function returned for it.
            first: Path of an earlier video.
            first_size: Height and width of what it returned for that.
        """
        (high, wide), (first_high, first_wide) = size, first_size
        reason = f"it returned {high} by {wide} pixels, but {first_high} by {first_wide} for {first}"
        return TransformError(path, self.name, f"{reason}: return one size for all videos")

    def _called(self, clip: torch.Tensor, seed: int) -> Any:
        if self.takes_generator:
            return self.function(clip, generator=torch.Generator(clip.device).manual_seed(seed))
        with _global_seed(seed):
            return self.function(clip)


def _unpickled(function: bytes) -> ClipFunction:
    return ClipFunction(pickle.loads(function))


@contextmanager
def _global_seed(seed: int) -> Iterator[None]:
    """Seed torch's global generator of the CPU, and restore it afterwards.

    torch.manual_seed() would also seed the generators of GPUs, which a training in this process uses.
    """
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(state)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch compute in one thread, and restore the number of its threads afterwards."""
    threads = torch.get_num_threads()
    if threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _what_is_wrong(result: Any, num_frames: int, device: torch.device) -> str | None:
    """Describe a result that is not a clip; return None if it is one."""
    if not isinstance(result, torch.Tensor):
        return f"{type(result).__name__}" if result is not None else "None: does it return its result?"
    fine = result.dtype == torch.uint8 and result.ndim == 4 and result.shape[:2] == (num_frames, 3)
    if fine and result.numel() and result.device == device:
        return None
    return f"{str(result.dtype).removeprefix('torch.')} {list(result.shape)} on {result.device}"
