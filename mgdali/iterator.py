"""The loader: epochs of motion-guided clips, in place of a torch ``DataLoader``."""

from __future__ import annotations

import math
import os
import warnings
import weakref
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed

from mgdali.datasets.video_dataset import VideoDataset
from mgdali.errors import VideoDecodeError, check_integer
from mgdali.loading.feed import Feed
from mgdali.loading.order import EpochOrder
from mgdali.loading.route import Decode, Route, choose_route
from mgdali.loading.settings import LoaderSettings, OnError
from mgdali.loading.source import ClipSource
from mgdali.loading.tally import Tally
from mgdali.samplers import Sampler
from mgdali.transforms import CropPosition, DType, Layout, OutputFormat, SpatialTransform
from mgdali.video.decoder import MEMORY_BUDGET

if TYPE_CHECKING:
    from mgdali.index.growing import GrowingIndex
    from mgdali.index.reader import MotionIndex

Batch = tuple[Any, ...]

__all__ = ["MGDaliIterator"]


class MGDaliIterator:
    """Batches of clips whose frames are picked by motion.

    Each epoch yields tuples ``(clips, labels)``: clips ``[N, T, 3, crop_size, crop_size]`` in ``dtype`` and ``layout``,
    labels int64 ``[N]``, with N videos per batch and T frames per clip. With ``return_meta=True`` a dict follows:
    ``path`` (list of str, ``[N]``), ``frames`` (the picks, int64 ``[N, T]``) and ``num_frames`` (of each video, int64
    ``[N]``).

    Every random choice is a function of ``(seed, epoch, video)``: any number of workers gives the same batches.

    Args:
        dataset: Labelled videos.
        sampler: Sampling strategy: :class:`~mgdali.MotionGuided`, :class:`~mgdali.Segment`, :class:`~mgdali.Stride`,
            :class:`~mgdali.TopMotion`, or any object with the members of :class:`~mgdali.samplers.Sampler`.
        batch_size: Number of videos per batch, >= 1.
        shuffle: Whether each epoch has a new random order.
        drop_last: Whether to drop the last batch if it is incomplete.
        training: Whether to draw random offsets, a multi-scale corner crop and a flip. Otherwise the loader picks the
            middle of each part, crops one square and does not flip.
        seed: Seed of all random choices, >= 0.
        device: Device of the clips: ``"cpu"`` or ``"cuda"``. None uses the GPU if it can decode and pick, otherwise the
            CPU; if the GPU lacks something, one warning names it.
        decode: Decoder on a GPU: ``"nvdec"``, ``"cpu"`` (PyAV), or ``"auto"``, which uses NVDEC if possible.
        num_workers: Number of decoding processes; 0 decodes in this process. By default the number of CPU cores that
            this process may use, divided by the number of ranks on this machine.
        prefetch_factor: Number of batches that are prepared ahead, >= 1.
        rank, world_size: This process's share of the data set. By default ``torch.distributed``'s, if it is
            initialized.
        crop_size: Height and width of the clips, in pixels.
        resize: In testing, the size of the shorter side before a square is cropped, in pixels.
        crop_position: In testing, the position of that square along the frame's longer side: ``"start"`` (left of a
            wide frame, top of a tall one), ``"center"`` or ``"end"``. To take three crops of each video, use three
            loaders; with ``crop_size=resize`` the crops cover the whole frame.
        scales: In training, sizes of the crop window relative to the frame's shorter side, each in (0, 1].
        flip_prob: In training, probability that a clip is mirrored, in [0, 1]. Use 0 if labels mention left or right.
        dtype: Data type of the clips: ``"float32"``, ``"float16"``, ``"uint8"``, or torch's.
        layout: Order of the axes: ``"NTCHW"``, ``"NCTHW"`` or ``"NTHWC"``.
        mean, std: Normalization of R, G and B in units of [0, 1]. By default ImageNet's; with uint8 none.
        return_meta: Whether to yield the dict described above.
        on_error: What to do with a video that cannot be decoded: ``"raise"`` a :class:`~mgdali.VideoDecodeError`, or
            ``"replace"`` it by another video of this rank, warn once per video and list it in :attr:`bad_videos`.
        memory_budget: Number of bytes of decoded frames that a worker may hold while a video's picks are not known. A
            video that needs more is decoded twice.
        gpu_memory_budget: Number of bytes of decoded frames that the GPU may hold at a time; by default a quarter of
            its free memory. A batch that needs more is decoded in parts. A single video that needs more is decoded by
            PyAV.
        index: Measurements of the videos, so that only the picked frames are decoded: the path of a file that
            ``mgdali index build`` wrote, or a :class:`~mgdali.MotionIndex`. An index does not change the clips. Videos
            that are missing in the index, or have changed, are measured while loading; the first of them is reported
            by a warning, and all of them in :attr:`unindexed`. ``"auto"`` builds the index during the first epoch, in a
            file next to the videos' folder, and uses it from then on.
        cache_dir: Folder of the index for ``index="auto"``.

    Raises:
        ValueError: If an argument is out of range.
        DatasetError: If the index cannot be read, or with ``"auto"`` not written.
        VideoDecodeError: While iterating, with ``on_error="raise"``, if a video cannot be decoded.
        WorkerError: While iterating, if a worker process ended.

    Example:
        >>> loader = MGDaliIterator(dataset, sampler=MotionGuided(num_frames=8), batch_size=4, shuffle=True)
        >>> for epoch in range(2):
        ...     loader.set_epoch(epoch)
        ...     for clips, labels in loader:
        ...         print(epoch, list(clips.shape), list(labels.shape))
        0 [4, 8, 3, 224, 224] [4]
        0 [2, 8, 3, 224, 224] [2]
        1 [4, 8, 3, 224, 224] [4]
        1 [2, 8, 3, 224, 224] [2]
        >>> loader.close()
    """

    def __init__(
        self,
        dataset: VideoDataset,
        *,
        sampler: Sampler,
        batch_size: int = 1,
        shuffle: bool = False,
        drop_last: bool = False,
        training: bool = False,
        seed: int = 0,
        device: str | torch.device | None = None,
        decode: Decode = "auto",
        num_workers: int | None = None,
        prefetch_factor: int = 2,
        rank: int | None = None,
        world_size: int | None = None,
        crop_size: int = 224,
        resize: int = 256,
        crop_position: CropPosition = "center",
        scales: tuple[float, ...] = (1.0, 0.875, 0.75, 0.66),
        flip_prob: float = 0.5,
        dtype: DType | torch.dtype = "float32",
        layout: Layout = "NTCHW",
        mean: tuple[float, float, float] | None = None,
        std: tuple[float, float, float] | None = None,
        return_meta: bool = False,
        on_error: OnError = "raise",
        memory_budget: int = MEMORY_BUDGET,
        gpu_memory_budget: int | None = None,
        index: str | os.PathLike[str] | MotionIndex | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        if not isinstance(dataset, VideoDataset):
            raise ValueError(f"dataset must be a VideoDataset, such as VideoDataset.from_folder(…), got {dataset!r}")
        rank, world_size = _rank_and_world_size(rank, world_size)
        route = choose_route(device, decode)
        order = EpochOrder(
            num_videos=len(dataset),
            batch_size=batch_size,
            shuffle=shuffle,
            drop_last=drop_last,
            seed=seed,
            rank=rank,
            world_size=world_size,
        )
        transform = SpatialTransform(
            training=training,
            crop_size=crop_size,
            resize=resize,
            crop_position=crop_position,
            scales=scales,
            flip_prob=flip_prob,
        )
        self._settings = LoaderSettings(
            sampler=sampler,
            order=order,
            transform=transform,
            output=OutputFormat(dtype=dtype, layout=layout, mean=mean, std=std),  # type: ignore[arg-type]
            route=route,
            num_workers=_default_workers() if num_workers is None else num_workers,
            prefetch_factor=prefetch_factor,
            on_error=on_error,
            memory_budget=memory_budget,
            gpu_memory_budget=_gpu_budget(route, gpu_memory_budget),
            make_records=index == "auto",
        )
        # There is no attribute `sampler`: Lightning would take the loader for a torch DataLoader.
        self.dataset = dataset
        self._return_meta = return_meta
        self._tally = Tally()
        found, self._growing = _open_index(index, cache_dir, dataset)
        make_source = partial(
            ClipSource,
            dataset,
            settings=self._settings,
            tally=self._tally,
            index=self._growing or found,
            on_record=None if self._growing is None else self._growing.add,
        )
        self._feed = Feed(self._settings, make_source)
        self._finalizer = weakref.finalize(self, _end, self._feed, self._growing)
        self._epoch = 0
        self._batch = 0
        # A token that the running epoch's iterator holds too. Holding the iterator itself would keep the loader alive.
        self._running: object | None = None

    @property
    def device(self) -> torch.device:
        """Device of the clips."""
        return self._settings.route.device

    @property
    def num_workers(self) -> int:
        """Number of decoding processes; 0 means that this process decodes."""
        return self._settings.num_workers

    @property
    def batch_size(self) -> int:
        """Number of videos per batch."""
        return self._settings.order.batch_size

    @property
    def epoch(self) -> int:
        """The current epoch; between epochs the next one."""
        return self._epoch

    @property
    def bad_videos(self) -> dict[str, VideoDecodeError]:
        """Videos that were replaced so far because they could not be decoded: path to error."""
        return dict(self._tally.bad_videos)

    @property
    def unindexed(self) -> dict[str, str]:
        """Videos without a valid record in the index so far: path to reason. Empty with ``index="auto"``."""
        return dict(self._tally.unindexed)

    @property
    def frames_decoded(self) -> int:
        """Number of frames that decoders returned so far, including those of clips that are prepared ahead."""
        return self._tally.frames_decoded

    def __len__(self) -> int:
        """Return the number of batches per epoch on this rank."""
        return len(self._settings.order)

    def __iter__(self) -> Iterator[Batch]:
        """Begin an epoch: the one set by :meth:`set_epoch` or :meth:`load_state_dict`, otherwise the next one.

        A loader runs one epoch at a time: an earlier iterator of this loader ends.

        Raises:
            RuntimeError: If the loader is closed.
        """
        if not self._finalizer.alive:
            raise RuntimeError("this MGDaliIterator is closed: create a new one")
        if self._running is not None:
            self._epoch, self._batch = self._epoch + 1, 0
        if self._growing is not None:
            # Workers may still measure videos of an epoch that was not finished.
            self._feed.stop()
            self._growing.refresh()
        self._feed.start(self._epoch, self._batch)
        self._running = object()
        return _EpochIterator(self, self._running)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration yields.

        After :meth:`load_state_dict`, the epoch of the state continues at the batch of the state; any other epoch
        starts at its first batch.

        Args:
            epoch: The epoch, >= 0. All of its random choices depend on it.

        Raises:
            ValueError: If ``epoch`` is not an integer >= 0.
        """
        check_integer("epoch", epoch, least=0)
        if epoch != self._epoch or self._running is not None:
            self._epoch, self._batch = int(epoch), 0
        self._running = None

    def state_dict(self) -> dict[str, int | bool]:
        """Return the loader's position after the batches that it has yielded; batches prepared ahead do not count.

        Returns:
            ``epoch``, ``batch`` (the number of batches yielded in it), and the settings that must match on resume.
        """
        return {"epoch": self._epoch, "batch": self._batch, **self._settings.resume_identity()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a state: the next iteration yields the remaining batches of its epoch.

        Args:
            state: A state from :meth:`state_dict`.

        Raises:
            ValueError: If the state belongs to a loader that yields other batches than this one.
        """
        for name, own in self._settings.resume_identity().items():
            if state.get(name) != own:
                raise ValueError(
                    f"the state was taken with {name}={state.get(name)!r}, this loader has {name}={own!r}: "
                    "create the loader with the same value to resume"
                )
        self._epoch, self._batch = int(state["epoch"]), int(state["batch"])
        self._running = None

    def close(self) -> None:
        """End the workers and free the graph. The loader cannot be iterated afterwards."""
        self._running = None
        self._finalizer()

    def __enter__(self) -> MGDaliIterator:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _next(self, running: object) -> Batch:
        if running is not self._running:
            raise RuntimeError("this iterator has ended: its loader was closed, set to an epoch, or iterated again")
        batch = self._feed.next()
        if batch is None:
            self._epoch, self._batch, self._running = self._epoch + 1, 0, None
            if self._growing is not None:
                self._growing.refresh()
            raise StopIteration
        self._batch += 1
        outputs, paths = batch
        if not self._return_meta:
            return outputs["clips"], outputs["labels"]
        meta = {"path": paths, "frames": outputs["frames"], "num_frames": outputs["num_frames"]}
        return outputs["clips"], outputs["labels"], meta


class _EpochIterator(Iterator[Batch]):
    """The remaining batches of one epoch."""

    def __init__(self, loader: MGDaliIterator, running: object) -> None:
        self._loader: MGDaliIterator | None = loader
        self._running = running

    def __next__(self) -> Batch:
        if self._loader is None:
            raise StopIteration
        try:
            return self._loader._next(self._running)
        except StopIteration:
            self._loader = None
            raise


def _open_index(
    index: str | os.PathLike[str] | MotionIndex | None, cache_dir: str | os.PathLike[str] | None, dataset: VideoDataset
) -> tuple[MotionIndex | None, GrowingIndex | None]:
    """Return the index of the argument: one that is only read, or one that is built while training."""
    if cache_dir is not None and index != "auto":
        raise ValueError(f'cache_dir can only be given with index="auto", got index={index!r}')
    if index is None:
        return None, None
    # Imported here because they import pyarrow, which a loader without an index does not need.
    from mgdali.index.growing import GrowingIndex, automatic_path
    from mgdali.index.reader import MotionIndex

    if index == "auto":
        return None, GrowingIndex(automatic_path(dataset.paths, cache_dir))
    return index if isinstance(index, MotionIndex) else MotionIndex(index), None


def _end(feed: Feed, growing: GrowingIndex | None) -> None:
    feed.close()
    if growing is not None:
        growing.close()


def _default_workers() -> int:
    """Return the number of cores of this process, divided by the number of ranks that ``torchrun`` started here."""
    return max(1, len(os.sched_getaffinity(0)) // max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


def _gpu_budget(route: Route, given: int | None) -> float:
    """Return the number of bytes of decoded frames that the GPU may hold at a time."""
    if given is not None:
        check_integer("gpu_memory_budget", given, least=1)
        return given
    return math.inf if route.nvdec is None else torch.cuda.mem_get_info(route.device)[0] / 4


def _rank_and_world_size(rank: int | None, world_size: int | None) -> tuple[int, int]:
    """Return this process's rank and the number of ranks: the arguments, else torch.distributed's, else 0 and 1."""
    if (rank is None) != (world_size is None):
        raise ValueError(f"give both rank and world_size or neither, got rank={rank!r}, world_size={world_size!r}")
    if rank is not None and world_size is not None:
        return rank, world_size
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        warnings.warn(
            "WORLD_SIZE is set, but torch.distributed is not initialized: every rank will load the whole data set. "
            "Create the loader after init_process_group, or pass rank= and world_size=.",
            RuntimeWarning,
            stacklevel=3,
        )
    return 0, 1
