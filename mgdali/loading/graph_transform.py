"""The user's function in the graph that decodes: called with clips on the graph's device."""

from __future__ import annotations

from collections.abc import Callable

import torch

from mgdali.errors import TransformError
from mgdali.workers.clip_function import ClipFunction

__all__ = ["GraphTransform"]


class GraphTransform:
    """Calls the user's function in DALI's thread, and raises nothing.

    After an error, no clip is changed any more, and the caller of the graph must look at ``error`` after each batch.
    An exception that reached DALI would count as a failure of the decoder.

    Args:
        function: The function. It must take a generator: torch's global one belongs to the threads of the training,
            which run at the same time.
        path_of: Returns the path of the video at an index of the data set, for messages.

    Attributes:
        error: The first exception, or None.
    """

    def __init__(self, function: ClipFunction, path_of: Callable[[int], str]) -> None:
        assert function.takes_generator
        self._function = function
        self._path_of = path_of
        # Index of the first video, and height and width of what was returned for it.
        self._first: tuple[int, torch.Size] | None = None
        self.error: BaseException | None = None

    def __call__(self, clip: torch.Tensor, seed_and_index: torch.Tensor) -> torch.Tensor:
        """Return what the function makes of a clip; after an error, a clip of the same size without meaning.

        Args:
            clip: The clip, uint8 ``[T, 3, H, W]``. It is not changed.
            seed_and_index: Seed of the function's random numbers and index of the video in the data set, int64 ``[2]``.
        """
        if self.error is None:
            seed, index = seed_and_index.tolist()
            try:
                return self._changed(clip, seed, index)
            except BaseException as error:  # Ctrl-C too: nothing may reach DALI.
                self.error = error
        # All clips of a batch must have the same size.
        return clip if self._first is None else clip.new_zeros((*clip.shape[:2], *self._first[1]))

    def _changed(self, clip: torch.Tensor, seed: int, index: int) -> torch.Tensor:
        try:
            # A copy, because the function may change and keep it.
            result = self._function.change(clip.clone(), seed, "")
        except TransformError as error:
            raise TransformError(self._path_of(index), error.function, error.reason) from error.__cause__
        if self._first is None:
            self._first = index, result.shape[2:]
        first, size = self._first
        if result.shape[2:] != size:
            raise self._function.sizes_differ(
                self._path_of(index), tuple(result.shape[2:]), self._path_of(first), tuple(size)
            )
        return result.contiguous()
