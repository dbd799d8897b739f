"""The loader: epochs of motion-guided clips, in place of a torch ``DataLoader``."""

from __future__ import annotations

import os
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import torch

from mgdali.datasets.video_dataset import VideoDataset
from mgdali.loading.batch import label_input
from mgdali.loading.batch_format import Batch, BatchFormat
from mgdali.loading.chosen_videos import OrderFunction, Weights, choose_videos
from mgdali.loading.feed import Feed
from mgdali.loading.order import EpochOrder
from mgdali.loading.progress import EpochSetter, Progress
from mgdali.loading.ranks import default_workers, find_share, given_share, warn_if_ranks_are_unknown
from mgdali.loading.reports import LoaderReports
from mgdali.loading.route import Decode, Route, choose_route, gpu_budget, usable_route
from mgdali.loading.settings import LoaderSettings, OnError
from mgdali.loading.source import ClipSource
from mgdali.loading.stats import EpochMeter
from mgdali.loading.tally import Tally
from mgdali.loading.torch_arguments import check_torch_arguments
from mgdali.samplers import Sampler
from mgdali.transforms import Crop, CropPosition, DType, Layout, OutputFormat, SpatialTransform
from mgdali.video.decoder import MEMORY_BUDGET
from mgdali.views import Views
from mgdali.workers.clip_function import ClipFunction

if TYPE_CHECKING:
    from mgdali.index.growing import GrowingIndex
    from mgdali.index.loader_index import LoaderIndex
    from mgdali.index.reader import MotionIndex

__all__ = ["MGDaliIterator"]


class MGDaliIterator(LoaderReports):
    """Batches of clips whose frames are picked by motion.

    Each epoch yields tuples ``(clips, labels)``: clips ``[N, T, 3, H, W]`` of height and width ``crop_size`` in
    ``dtype`` and ``layout``, labels ``[N]`` or ``[N, C]`` as in the data set (:attr:`VideoDataset.labels`), with N
    videos per batch and T frames per clip. With ``return_meta=True`` a dict follows: ``path`` (list of str, ``[N]``),
    ``frames`` (the picks, as indices of frames of the file, int64 ``[N, T]``), ``num_frames`` (of each video or
    segment, int64 ``[N]``), and the data set's columns: tensors ``[N]`` of numbers, or lists ``[N]``.

    Every random choice is a function of ``(seed, epoch, video)``: any number of workers gives the same batches. If an
    epoch contains a video several times, each occurrence has its own choices.

    The loader starts nothing before the first batch is requested. A loader cannot be pickled or copied, because it owns
    processes; frameworks that start processes by pickling (``ddp_spawn``) must create it in each process.

    Args:
        dataset: Labelled videos, or segments of videos.
        sampler: Sampling strategy: :class:`~mgdali.MotionGuided`, :class:`~mgdali.Segment`, :class:`~mgdali.Stride`,
            :class:`~mgdali.TopMotion`, or any object with the members of :class:`~mgdali.samplers.Sampler`.
        batch_size: Number of videos per batch, >= 1.
        shuffle: Whether each epoch has a new random order.
        drop_last: Whether to drop the last batch if it is incomplete.
        weights: One number >= 0 per video, ``[M]``: each epoch draws videos with replacement, with probabilities in
            proportion to them, as torch's ``WeightedRandomSampler`` does. The order is then random, with or without
            ``shuffle``. :func:`~mgdali.mixing_weights` returns weights for data sets that were joined.
        samples_per_epoch: With ``weights``, the number of videos that all ranks together load per epoch, >= 1; by
            default the number of videos in the data set.
        order: A function of the epoch that returns the indices of its videos over all ranks, in order: a list, an array
            or a tensor of any length >= 1, with repetitions or without. The ranks share them as they share a shuffled
            order. Each rank calls it once per epoch, when the epoch begins or its length is needed. It must return the
            same on each rank and in a resumed run.
        training: Whether to draw random offsets, a crop and a flip. Otherwise the loader picks the middle of each part,
            takes one crop of each frame and does not flip.
        seed: Seed of all random choices, >= 0.
        device: Device of the clips: ``"cpu"`` or ``"cuda"``. None uses the GPU if it can decode and pick, otherwise the
            CPU; if the GPU lacks something, one warning names it.
        decode: Decoder on a GPU: ``"nvdec"``, ``"cpu"`` (PyAV), or ``"auto"``, which uses NVDEC if possible.
        num_workers: Number of decoding processes; 0 decodes in this process. By default the number of CPU cores that
            this process may use, divided by the number of ranks on this machine.
        prefetch_factor: Number of batches that are prepared ahead, >= 1.
        timeout: Longest time that a worker may take for a video, in seconds, as on a network drive that does not
            answer; 0 for no limit. A video that takes longer is tried once more, and then treated as one that cannot be
            decoded.
        rank, world_size: This process's share of the data set. By default ``torch.distributed``'s, if it is
            initialized when an epoch begins.
        crop_size: Height and width of the clips, in pixels: an integer for a square, or ``(height, width)``.
        resize: In testing, the size of the shorter side before the clip is cropped, in pixels. ``"auto"`` is 256, or
            the shorter side of ``crop_size`` if that is larger. With None, frames are not resized in testing: the crop
            is taken from frames in their own size, and a video with smaller frames counts as one that cannot be
            decoded.
        crop_position: In testing, the position of that crop along the frame's longer side: ``"start"`` (left of a
            wide frame, top of a tall one), ``"center"`` or ``"end"``. Several crops of each video: ``views``; with
            ``crop_size=resize``, three crops cover the whole frame.
        crop: In training, the kind of crop: ``"multiscale"`` (of the paper), or ``"random_resized"`` (torchvision's
            ``RandomResizedCrop``, with one window for all frames of a clip);
            :class:`~mgdali.transforms.SpatialTransform` describes both.
        scales: For ``"multiscale"``, sizes of the crop window relative to the largest window of the clip's shape (for
            squares: the frame's shorter side), each in (0, 1].
        crop_scale: For ``"random_resized"``, the least and the largest share of the frame's area, in (0, 1].
        crop_ratio: For ``"random_resized"``, the least and the largest width / height of the window, > 0.
        flip_prob: In training, probability that a clip is mirrored, in [0, 1]. Use 0 if labels mention left or right.
        transform: A function of a clip, a torch tensor uint8 ``[T, 3, H, W]``, which returns one of the same type, T
            and 3, and of one height and width for all videos. Workers call it after cropping, before the flip and the
            normalization, in training and in testing. If it has a parameter ``generator``, it gets a
            ``torch.Generator`` there; otherwise torch's global generator is seeded for the call and restored. The seed
            follows from ``(seed, epoch, video)``. If NVDEC decodes, it is called with clips on the GPU, and must have
            that parameter; for another function PyAV decodes.
        views: Several views of each video from one decoding, :class:`~mgdali.Views`: clips ``[N, V, T, 3, H, W]``, and
            ``frames`` of the metadata ``[N, V, T]``.
        repeats: In training, the number of rows of each video in a batch, R >= 1, from one decoding, each with its own
            picks, crop and flip: batches have R times ``batch_size`` rows, and repetitions follow each other.
        dtype: Data type of the clips: ``"float32"``, ``"float16"``, ``"uint8"``, or torch's.
        layout: Order of the axes: ``"NTCHW"``, ``"NCTHW"`` or ``"NTHWC"``.
        mean, std: Normalization of R, G and B in units of [0, 1]. By default ImageNet's; with uint8 none.
        return_meta: Whether to yield the dict described above.
        batch_keys: Names of clips and labels, such as ``("pixel_values", "labels")``: each batch is then a dict with
            these keys, as Hugging Face's ``Trainer`` needs it, and with ``return_meta=True`` with the keys of that
            dict. By default batches are tuples.
        on_error: What to do with a video that cannot be decoded: ``"raise"`` a :class:`~mgdali.VideoDecodeError`, or
            ``"replace"`` it by another video of this rank, warn once per video and list it in :attr:`bad_videos`.
            ``"keep"`` uses a damaged video as if it ended before the damage, warns and lists it. A video with fewer
            frames before the damage than picks, or one that cannot be opened, is replaced. In all three cases, a video
            that ends its worker, or takes longer than ``timeout``, is tried once more first.
        memory_budget: Number of bytes of decoded frames that a worker may hold while a video's picks are not known. A
            video that needs more is decoded twice.
        gpu_memory_budget: Number of bytes of decoded frames that the GPU may hold at a time; by default a quarter of
            its free memory. A batch that needs more is decoded in parts. A single video that needs more is decoded by
            PyAV. The decoder's buffers and NVDEC's sessions count as well.
        decoder_threads: On a GPU that decodes, the number of threads that drive NVDEC, in each graph, >= 1; by default
            three per NVDEC engine. It does not depend on ``num_workers``. If PyAV decodes, it has no effect.
        num_graphs: On a GPU that decodes, the number of DALI graphs that take turns, >= 1. Each has its own decoders
            and takes memory. The batches stay the same. If PyAV decodes, it has no effect.
        index: Measurements of the videos, so that only the picked frames are decoded: the path or URL of a file that
            ``mgdali index build`` wrote, or a :class:`~mgdali.MotionIndex`. An index does not change the clips. Videos
            that are missing in the index, or have changed, are measured while loading; the first of them is reported
            by a warning, and all of them in :attr:`unindexed`. ``"auto"`` builds the index during the first epoch, in a
            file next to the videos' folder, and uses it from then on. A packed data set has its own index, which is
            always used.
        cache_dir: Folder of the index for ``index="auto"``.
        **torch_arguments: Further arguments of torch's ``DataLoader``. Values that describe what this loader does
            anyway, such as ``persistent_workers=True``, are accepted; others are refused with what replaces them.

    Raises:
        ValueError: If an argument is out of range.
        TypeError: If an argument does not exist.
        DatasetError: If the index cannot be read, or with ``"auto"`` not written; if a packed data set lacks the motion
            that the sampler needs.
        VideoDecodeError: While iterating, with ``on_error="raise"``, if a video cannot be decoded.
        TransformError: While iterating, if ``transform`` fails or returns something else, whatever ``on_error`` is; it
            names the video and contains the traceback. (:mod:`mgdali.errors`)
        WorkerError: While iterating, if a worker ends before its first video, or if three workers die within a minute
            on videos that can be decoded.
        RuntimeError: While iterating, if the GPU's decoder fails and PyAV cannot decode the batch within 60 seconds.

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
        weights: Weights | None = None,
        samples_per_epoch: int | None = None,
        order: OrderFunction | None = None,
        training: bool = False,
        seed: int = 0,
        device: str | torch.device | None = None,
        decode: Decode = "auto",
        num_workers: int | None = None,
        prefetch_factor: int = 2,
        timeout: float = 0.0,
        rank: int | None = None,
        world_size: int | None = None,
        crop_size: int | tuple[int, int] = 224,
        resize: int | Literal["auto"] | None = "auto",
        crop_position: CropPosition = "center",
        crop: Crop = "multiscale",
        scales: tuple[float, ...] = (1.0, 0.875, 0.75, 0.66),
        crop_scale: tuple[float, float] = (0.08, 1.0),
        crop_ratio: tuple[float, float] = (3 / 4, 4 / 3),
        flip_prob: float = 0.5,
        transform: Callable[..., torch.Tensor] | None = None,
        views: Views | None = None,
        repeats: int = 1,
        dtype: DType | torch.dtype = "float32",
        layout: Layout = "NTCHW",
        mean: tuple[float, float, float] | None = None,
        std: tuple[float, float, float] | None = None,
        return_meta: bool = False,
        batch_keys: tuple[str, str] | None = None,
        on_error: OnError = "raise",
        memory_budget: int = MEMORY_BUDGET,
        gpu_memory_budget: int | None = None,
        decoder_threads: int | None = None,
        num_graphs: int = 3,
        index: str | os.PathLike[str] | MotionIndex | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        **torch_arguments: Any,
    ) -> None:
        check_torch_arguments(torch_arguments, MGDaliIterator)
        if not isinstance(dataset, VideoDataset):
            raise ValueError(f"dataset must be a VideoDataset, such as VideoDataset.from_folder(…), got {dataset!r}")
        share = given_share(rank, world_size)
        function = None if transform is None else ClipFunction(transform)
        route = usable_route(choose_route(device, decode), decode, function)

        def find_route() -> Route:
            return usable_route(choose_route(device, decode), decode, function)

        epoch_order = EpochOrder(
            num_videos=len(dataset),
            batch_size=batch_size,
            # The same draws with and without it, so that a state does not depend on it.
            shuffle=shuffle and weights is None,
            drop_last=drop_last,
            seed=seed,
            chosen=choose_videos(
                len(dataset), weights=weights, order=order, samples_per_epoch=samples_per_epoch, shuffle=shuffle
            ),
        )
        spatial = SpatialTransform(
            training=training,
            crop=crop,
            crop_size=crop_size,
            resize=resize,
            crop_position=crop_position,
            scales=scales,
            crop_scale=crop_scale,
            crop_ratio=crop_ratio,
            flip_prob=flip_prob,
        )
        self._settings = LoaderSettings(
            sampler=sampler,
            order=epoch_order,
            transform=spatial,
            function=function,
            output=OutputFormat(dtype=dtype, layout=layout, mean=mean, std=std),  # type: ignore[arg-type]
            route=route,
            num_workers=default_workers() if num_workers is None else num_workers,
            prefetch_factor=prefetch_factor,
            timeout=timeout,
            on_error=on_error,
            memory_budget=memory_budget,
            gpu_memory_budget=gpu_budget(route, gpu_memory_budget),
            decoder_threads=decoder_threads,
            num_graphs=num_graphs,
            make_records=index == "auto" and dataset.pack is None,
            views=views,
            repeats=repeats,
            label=label_input(dataset.labels),
        )
        # There is no attribute `sampler`: Lightning would take the loader for a torch DataLoader.
        self.dataset = dataset
        self._format = BatchFormat(
            return_meta=return_meta,
            keys=batch_keys,
            paths=dataset.paths,
            columns=dataset.columns,
            views=None if views is None else views.count,
            repeats=repeats,
        )
        self._index = index
        self._tally = Tally()
        self._meter = EpochMeter(self._tally)
        self._find_share = find_share if share is None else lambda: share
        self._progress = Progress(epoch_order, self._find_share)
        found, self._growing = _open_index(index, cache_dir, dataset, sampler)
        make_source = partial(
            ClipSource,
            dataset,
            tally=self._tally,
            index=self._growing or found,
            on_record=None if self._growing is None else self._growing.add,
        )
        self._feed = Feed(self._settings, make_source, meter=self._meter)
        self._finalizer = weakref.finalize(self, _end, self._feed, self._growing)
        # What is looked up again when the workers start: a framework may set the ranks and the GPU in between.
        self._default_workers = num_workers is None
        self._find_route = find_route
        # The process whose workers the feed uses.
        self._owner: int | None = None
        self._warned = False
        if order is None:
            self._warn_if_empty(stacklevel=3)

    @property
    def epoch(self) -> int:
        """The current epoch; between epochs, and in a resumed run, the one that the next iteration yields.

        To train or to resume: ``for epoch in range(loader.epoch, epochs): loader.set_epoch(epoch); …``.
        """
        return self._progress.epoch

    def __len__(self) -> int:
        """Return the number of batches per epoch on this rank; with ``order=``, those of the epoch :attr:`epoch`."""
        return self._settings.order.num_batches(self.epoch, self._find_share())

    def __iter__(self) -> Iterator[Batch]:
        """Return an iterator over an epoch, which begins when its first batch is requested.

        It is the epoch set by :meth:`set_epoch`, the rest of the one of :meth:`load_state_dict`, or the next one.

        A loader runs one epoch at a time: when an epoch begins, an earlier iterator of this loader ends.

        Raises:
            RuntimeError: If the loader is closed, or was iterated in the process from which this one was forked.
        """
        self._check_usable()
        return _EpochIterator(self)

    def __next__(self) -> Batch:
        """Return the next batch of the running epoch; begin an epoch if none is running.

        Raises:
            StopIteration: After the last batch of the epoch. The next call begins the next epoch.
            RuntimeError: As :meth:`__iter__`.
        """
        return self._next(self._progress.running or self._begin())

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration yields.

        After :meth:`load_state_dict`, the epoch of the state continues at the batch of the state; any other epoch
        starts at its first batch. If all batches of the state's epoch were yielded before, choosing it yields no batch,
        and a warning says so: loop over ``range(loader.epoch, epochs)`` instead.

        Args:
            epoch: The epoch, >= 0. All of its random choices depend on it.

        Raises:
            ValueError: If ``epoch`` is not an integer >= 0.
        """
        self._progress.set_epoch(epoch)

    def skip(self, n: int) -> None:
        """Let the next iteration begin ``n`` batches later. The skipped videos are not decoded.

        Args:
            n: Number of batches on this rank, >= 0. With all remaining batches skipped, the next iteration yields the
                next epoch.

        Raises:
            ValueError: If fewer batches remain in the epoch.
        """
        self._progress.skip(n)

    @property
    def batch_sampler(self) -> EpochSetter:
        """The object through which Lightning calls :meth:`set_epoch`. It samples nothing."""
        return EpochSetter(self.set_epoch, self.batch_size)

    def state_dict(self) -> dict[str, Any]:
        """Return the loader's position after the batches that it has yielded; batches prepared ahead do not count.

        A state can be loaded with another number of ranks or another batch size. It contains what chance has decided:
        the videos of this rank that were replaced because a worker died or took too long, and those that PyAV decodes
        because the GPU's decoder failed on their batch.

        Returns:
            Numbers, strings and lists: ``version``; ``epoch``; ``videos``, the number of videos of this epoch that all
            ranks together have loaded; ``crashed`` and ``failed_on_gpu``, pairs of index and reason; and the settings
            that must match on resume.
        """
        chance = {"crashed": self._tally.crashes(), "failed_on_gpu": self._tally.failures()}
        return {**self._progress.state(), **chance}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a state: the next iteration yields the remaining batches of its epoch, or the next epoch.

        With the same number of ranks and the same batch size, these are exactly the batches that the interrupted run
        would have yielded. Otherwise each remaining video is loaded once, with the same picks, crops and flips, in
        other batches; up to ``world_size - 1`` videos of the epoch are repeated at its end.

        Args:
            state: A state from :meth:`state_dict`, of this version or of version 0.1.

        Raises:
            ValueError: If the state belongs to a loader with another order of videos than this one: other ``weights``,
                or an ``order`` that returns other indices in the epoch of the state.
        """
        self._progress.load(state)
        self._tally.restore_crashes(state.get("crashed", ()), self.dataset.paths)
        self._tally.restore_failures(state.get("failed_on_gpu", ()))

    def close(self) -> None:
        """End the workers and free the graph. The loader cannot be iterated afterwards."""
        self._progress.stop()
        self._finalizer()

    def __enter__(self) -> MGDaliIterator:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(
            "an MGDaliIterator cannot be pickled or copied, because it owns worker processes and a DALI graph: create "
            "it in the process that iterates it. In place of Lightning's ddp_spawn use strategy='ddp', or create it in "
            "train_dataloader()"
        )

    def _check_usable(self) -> None:
        if not self._finalizer.alive:
            raise RuntimeError("this MGDaliIterator is closed: create a new one")
        if self._owner not in (None, os.getpid()):
            raise RuntimeError(
                "this MGDaliIterator was iterated in the process from which this one was forked, and its workers "
                "belong to that process: create a new one here"
            )

    def _begin(self) -> object:
        """Begin an epoch and return its token."""
        self._check_usable()
        warn_if_ranks_are_unknown()
        start = self._progress.next_start()
        self._warn_if_empty(stacklevel=4)
        if self._growing is not None:
            # Workers may still measure videos of an epoch that was not finished.
            self._feed.stop()
            self._growing.refresh()
        if not self._feed.started:
            self._owner = os.getpid()
            self._look_up_settings()
        self._feed.start(*start)
        return self._progress.begin(start)

    def _look_up_settings(self) -> None:
        """Look up the number of workers and the GPU, unless the user chose them."""
        settings = self._settings
        if self._default_workers:
            settings = replace(settings, num_workers=default_workers())
        on_gpu = settings.route.device.type == "cuda"
        if on_gpu and settings.route.device.index != torch.cuda.current_device():
            settings = replace(settings, route=self._find_route())
        self._settings = settings
        self._feed.use(settings)

    def _warn_if_empty(self, *, stacklevel: int) -> None:
        order = self._settings.order
        if len(self) == 0 and not self._warned:
            self._warned = True
            warnings.warn(
                f"drop_last=True leaves no batch: this rank has fewer videos than batch_size={order.batch_size} "
                f"({order.num_samples(self.epoch)} videos in the epoch); reduce batch_size or set drop_last=False",
                RuntimeWarning,
                stacklevel=stacklevel,
            )

    def _next(self, running: object) -> Batch:
        if running is not self._progress.running:
            raise RuntimeError("this iterator has ended: its loader was closed, set to an epoch, or iterated again")
        try:
            batch = self._feed.next()
        except BaseException:
            self._progress.stop()
            raise
        if batch is None:
            self._progress.end()
            if self._growing is not None:
                self._growing.refresh()
            raise StopIteration
        self._progress.count_batch()
        return self._format(*batch)


class _EpochIterator(Iterator[Batch]):
    """The batches of one epoch, or the remaining ones. The epoch begins when the first one is requested."""

    def __init__(self, loader: MGDaliIterator) -> None:
        self._loader: MGDaliIterator | None = loader
        self._running: object | None = None

    def __next__(self) -> Batch:
        if self._loader is None:
            raise StopIteration
        if self._running is None:
            self._running = self._loader._begin()
        try:
            return self._loader._next(self._running)
        except BaseException:
            self._loader = None
            raise


def _open_index(
    index: str | os.PathLike[str] | MotionIndex | None,
    cache_dir: str | os.PathLike[str] | None,
    dataset: VideoDataset,
    sampler: Sampler,
) -> LoaderIndex:
    """Return the index of the data set or of the argument."""
    if cache_dir is not None and index != "auto":
        raise ValueError(f'cache_dir can only be given with index="auto", got index={index!r}')
    if index is None and dataset.pack is None:
        return None, None
    # Imported here because it imports pyarrow, which a loader without an index does not need.
    from mgdali.index.loader_index import open_index

    return open_index(index, cache_dir, dataset, sampler.representation)


def _end(feed: Feed, growing: GrowingIndex | None) -> None:
    feed.close()
    if growing is not None:
        growing.close()
