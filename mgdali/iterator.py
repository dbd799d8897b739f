"""The loader: an epoch of motion-guided clips, as a torch ``DataLoader`` would hand them out."""

from __future__ import annotations

import math
import os
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
import torch.distributed

from mgdali.datasets.video_dataset import VideoDataset
from mgdali.errors import VideoDecodeError, check_integer
from mgdali.gpu.picking import FramePicker
from mgdali.loading.feed import Feed
from mgdali.loading.graph import Pipeline, clips_pipeline, decoding_pipeline
from mgdali.loading.order import EpochOrder
from mgdali.loading.route import Decode, Route, choose_route
from mgdali.loading.source import HELD_BATCHES, ClipSource, Tally
from mgdali.samplers import Sampler
from mgdali.transforms import CropPosition, DType, Layout, OutputFormat, SpatialTransform
from mgdali.video.decoder import MEMORY_BUDGET
from mgdali.workers.clip_job import ClipConfig
from mgdali.workers.pool import LocalPool, WorkerPool

if TYPE_CHECKING:
    from mgdali.index.growing import GrowingIndex
    from mgdali.index.reader import MotionIndex

OnError = Literal["raise", "replace"]
Batch = tuple[Any, ...]

__all__ = ["MGDaliIterator"]


class MGDaliIterator:
    """Batches of clips whose frames are picked by motion.

    Each epoch yields ``(clips, labels)``: clips ``[N, T, 3, crop_size, crop_size]`` in ``dtype`` and ``layout``,
    labels int64 ``[N]``, with N the batch's videos and T the sampler's frames. With ``return_meta=True`` a dict
    follows: ``path`` (list of str, ``[N]``), ``frames`` (int64 ``[N, T]``, the picks), ``num_frames`` (int64 ``[N]``).

    Every random choice is a function of ``(seed, epoch, video)``: any number of workers gives the same batches.

    Args:
        dataset: the labelled videos.
        sampler: how frames are picked: :class:`~mgdali.MotionGuided`, :class:`~mgdali.Segment`,
            :class:`~mgdali.Stride`, :class:`~mgdali.TopMotion`, or an object with the members of
            :class:`~mgdali.samplers.Sampler`.
        batch_size: videos a batch.
        shuffle: a new order each epoch.
        drop_last: leave out the last batch where it is smaller.
        training: random offsets, multi-scale corner crop and flip; otherwise the middle of each part, one square of the
            frame and no flip.
        seed: of all random choices, >= 0.
        device: where clips are handed out: ``"cpu"`` or ``"cuda"``. None takes the GPU where it can decode and pick,
            otherwise the CPU; what a GPU lacks is said in one line.
        decode: on a GPU, what decodes: ``"nvdec"``, ``"cpu"`` (PyAV), or ``"auto"``: NVDEC where it can be used.
        num_workers: decoding processes; 0 decodes in this one. By default the CPU cores this process may use, shared
            among the ranks of this machine.
        prefetch_factor: batches made ahead of the one that is handed out, >= 1.
        rank, world_size: this process's share of the data set; by default ``torch.distributed``'s where it runs.
        crop_size: height and width of the clips, in pixels.
        resize: in testing, what the shorter side is resized to before a square is cropped.
        crop_position: in testing, where along the frame's longer side that square lies: ``"start"`` (left of a wide
            frame, top of a tall one), ``"center"`` or ``"end"``. Three crops of a video are three loaders, with
            ``crop_size=resize`` where they are to reach all of it.
        scales: in training, sides of the crop window as parts of the frame's shorter side.
        flip_prob: in training, how likely a clip is mirrored; 0 where labels name a side.
        dtype: ``"float32"``, ``"float16"`` or ``"uint8"``, or torch's.
        layout: ``"NTCHW"``, ``"NCTHW"`` or ``"NTHWC"``.
        mean, std: normalization of R, G and B in [0, 1] units; by default ImageNet's, with uint8 none.
        return_meta: yield a third element, as above.
        on_error: ``"raise"`` a :class:`~mgdali.VideoDecodeError` at a video that cannot be decoded, or ``"replace"``
            it by another video of this rank, warn once and list it in :attr:`bad_videos`.
        memory_budget: bytes of decoded frames a worker holds while a video's picks are not yet known; a video that
            needs more is decoded twice.
        gpu_memory_budget: bytes of decoded frames that the GPU holds at a time, by default a quarter of its free
            memory. Batches that need more are decoded in parts; a video that needs more goes through PyAV.
        index: what is known of the videos beforehand, so that only what the picks need is decoded: a file that
            ``mgdali index build`` made, or a :class:`~mgdali.MotionIndex`. Clips are the same with it; a video that it
            lacks, or that has changed, is measured as it loads, which is said once (:attr:`unindexed`). ``"auto"``
            has the first epoch make the index, beside the folder that holds the videos, and later epochs use it.
        cache_dir: with ``index="auto"``, the folder for the index.

    Raises:
        ValueError: an argument is out of range.
        DatasetError: the index cannot be read, or with ``"auto"`` written.
        VideoDecodeError: while iterating, with ``on_error="raise"``.
        WorkerError: while iterating, where a worker process ended.

    Example:
        >>> loader = MGDaliIterator(dataset, sampler=MotionGuided(num_frames=8), batch_size=16, shuffle=True)
        >>> for epoch in range(50):
        ...     loader.set_epoch(epoch)
        ...     for clips, labels in loader:
        ...         ...
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
            raise ValueError(f"dataset must be a VideoDataset (its from_folder or from_list make one), got {dataset!r}")
        if not isinstance(sampler, Sampler):
            raise ValueError(f"sampler must have num_frames, representation and pick(), got {sampler!r}")
        if on_error not in get_args(OnError):
            raise ValueError(f"on_error must be one of {get_args(OnError)}, got {on_error!r}")
        check_integer("prefetch_factor", prefetch_factor, least=1)
        check_integer("memory_budget", memory_budget, least=0)
        workers = _default_workers() if num_workers is None else num_workers
        check_integer("num_workers", workers, least=0)
        rank, world_size = _share(rank, world_size)
        transform = SpatialTransform(
            training=training,
            crop_size=crop_size,
            resize=resize,
            crop_position=crop_position,
            scales=scales,
            flip_prob=flip_prob,
        )
        output = OutputFormat(dtype=dtype, layout=layout, mean=mean, std=std)  # type: ignore[arg-type]
        # Not the sampler: Lightning takes what has an attribute of that name for a torch DataLoader.
        self.dataset = dataset
        self.num_workers = workers
        route = choose_route(device, decode)
        self.device = route.device
        self._order = EpochOrder(
            num_videos=len(dataset),
            batch_size=batch_size,
            shuffle=shuffle,
            drop_last=drop_last,
            seed=seed,
            rank=rank,
            world_size=world_size,
        )
        self._return_meta = return_meta
        self._tally = Tally()
        found, self._growing = _open_index(index, cache_dir, dataset)
        config = ClipConfig(
            sampler,
            transform,
            memory_budget,
            route.nvdec,
            _gpu_budget(route, gpu_memory_budget),
            survey=self._growing is not None,
        )
        make_source = partial(
            ClipSource,
            dataset,
            self._order,
            tally=self._tally,
            replace=on_error == "replace",
            index=self._growing or found,
            learn=None if self._growing is None else self._growing.add,
        )
        self._feed = _make_feed(make_source, config, route, output, batch_size, workers, prefetch_factor)
        self._finalizer = weakref.finalize(self, _end, self._feed, self._growing)
        self._epoch = 0
        self._batch = 0
        # What the running iterator holds too: not the iterator itself, which holds the loader.
        self._running: object | None = None

    @property
    def batch_size(self) -> int:
        """Videos a batch."""
        return self._order.batch_size

    @property
    def epoch(self) -> int:
        """The epoch that is under way, or the next one where none is."""
        return self._epoch

    @property
    def bad_videos(self) -> dict[str, VideoDecodeError]:
        """Videos that could not be decoded so far, path to reason, with ``on_error="replace"``."""
        return dict(self._tally.bad_videos)

    @property
    def unindexed(self) -> dict[str, str]:
        """Videos that the index was of no use for so far, path to reason; with ``index="auto"`` none."""
        return dict(self._tally.unindexed)

    @property
    def frames_decoded(self) -> int:
        """Frames that decoders put out so far, for clips handed out or made ahead."""
        return self._tally.frames_decoded

    def __len__(self) -> int:
        """Batches an epoch on this rank."""
        return len(self._order)

    def __iter__(self) -> Iterator[Batch]:
        """Begin an epoch: the one set by :meth:`set_epoch` or :meth:`load_state_dict`, else the next.

        One epoch at a time: an earlier iterator of this loader ends here.

        Raises:
            RuntimeError: the loader is closed.
        """
        if not self._finalizer.alive:
            raise RuntimeError("this MGDaliIterator is closed; make a new one")
        if self._running is not None:
            self._epoch, self._batch = self._epoch + 1, 0
        if self._growing is not None:
            # What an epoch that was broken off still measures comes in the background.
            self._feed.stop()
            self._growing.refresh()
        self._feed.start(self._epoch, self._batch)
        self._running = object()
        return _EpochIterator(self, self._running)

    def set_epoch(self, epoch: int) -> None:
        """Choose the next epoch to iterate, from which all of its random choices follow.

        After :meth:`load_state_dict`, the epoch that was loaded goes on where it was; any other begins anew.

        Raises:
            ValueError: ``epoch`` is not an integer >= 0.
        """
        check_integer("epoch", epoch, least=0)
        if epoch != self._epoch or self._running is not None:
            self._epoch, self._batch = int(epoch), 0
        self._running = None

    def state_dict(self) -> dict[str, int | bool]:
        """Where the loader stands, after the batches handed out so far; those made ahead don't count."""
        return {"epoch": self._epoch, "batch": self._batch, **self._identity()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state: the next iteration yields the rest of that epoch.

        Raises:
            ValueError: the state is of a loader whose batches differ from this one's.
        """
        for name, own in self._identity().items():
            if state.get(name) != own:
                raise ValueError(
                    f"the state was taken with {name}={state.get(name)!r}, this loader has {name}={own!r}: "
                    "its batches would not be the rest of that epoch"
                )
        self._epoch, self._batch = int(state["epoch"]), int(state["batch"])
        self._running = None

    def close(self) -> None:
        """End the workers and free the graph. The loader cannot be iterated again."""
        self._running = None
        self._finalizer()

    def __enter__(self) -> MGDaliIterator:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _identity(self) -> dict[str, int | bool]:
        """What batches hang on beside the epoch and the batch's number."""
        order = self._order
        return {
            "num_videos": order.num_videos,
            "batch_size": order.batch_size,
            "shuffle": order.shuffle,
            "drop_last": order.drop_last,
            "seed": order.seed,
            "world_size": order.world_size,
        }

    def _next(self, running: object) -> Batch:
        if running is not self._running:
            raise RuntimeError("this iterator has ended: its loader was closed, moved, or iterated anew")
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
    """The rest of one epoch."""

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
    """The index that an argument asks for, as one that is only read or as one that grows."""
    if cache_dir is not None and index != "auto":
        raise ValueError(f'cache_dir belongs to index="auto", got index={index!r}')
    if index is None:
        return None, None
    # Not above: they import pyarrow, which a loader without an index can do without.
    from mgdali.index.growing import GrowingIndex, automatic_path
    from mgdali.index.reader import MotionIndex

    if index == "auto":
        return None, GrowingIndex(automatic_path(dataset.paths, cache_dir))
    return index if isinstance(index, MotionIndex) else MotionIndex(index), None


def _end(feed: Feed, growing: GrowingIndex | None) -> None:
    feed.close()
    if growing is not None:
        growing.close()


def _make_feed(
    make_source: Callable[..., ClipSource],
    config: ClipConfig,
    route: Route,
    output: OutputFormat,
    batch_size: int,
    workers: int,
    prefetch_factor: int,
) -> Feed:
    """The pool, source and graph of a route."""
    slots = batch_size * (HELD_BATCHES + prefetch_factor)
    if route.nvdec is None:
        make_pipeline: Callable[..., Pipeline] = clips_pipeline
    else:
        picker, crop_size = FramePicker(config.sampler), config.transform.crop_size
        make_pipeline = partial(decoding_pipeline, picker=picker, crop_size=crop_size)
    return Feed(
        partial(WorkerPool, workers, slots, config) if workers else partial(LocalPool, config),
        partial(
            make_source,
            slots=slots,
            num_frames=config.sampler.num_frames,
            training=config.transform.training,
            encoded=route.nvdec is not None,
            decoded_budget=config.decoded_budget,
        ),
        partial(
            make_pipeline,
            batch_size=batch_size,
            num_threads=max(workers, route.engines),
            output=output,
            device_id=route.device_id,
        ),
    )


def _default_workers() -> int:
    """The cores this process may use, shared with the other ranks that ``torchrun`` started on this machine."""
    return max(1, len(os.sched_getaffinity(0)) // max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


def _gpu_budget(route: Route, given: int | None) -> float:
    """Bytes of decoded frames that the GPU may hold at a time."""
    if given is not None:
        check_integer("gpu_memory_budget", given, least=1)
        return given
    return math.inf if route.nvdec is None else torch.cuda.mem_get_info(route.device)[0] / 4


def _share(rank: int | None, world_size: int | None) -> tuple[int, int]:
    """This process's rank and the number of ranks: as given, else torch.distributed's, else alone."""
    if (rank is None) != (world_size is None):
        raise ValueError(f"give both rank and world_size or neither, got rank={rank!r}, world_size={world_size!r}")
    if rank is not None and world_size is not None:
        return rank, world_size
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        warnings.warn(
            "WORLD_SIZE is set but torch.distributed is not initialized: every rank will load the whole data set. "
            "Make the loader after init_process_group, or give rank= and world_size=.",
            RuntimeWarning,
            stacklevel=3,
        )
    return 0, 1
