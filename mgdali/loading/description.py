"""A loader as text: what it will load, and how."""

from __future__ import annotations

import os
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from mgdali.loading.chosen_videos import WeightedVideos
from mgdali.loading.order import EpochOrder
from mgdali.loading.settings import LoaderSettings
from mgdali.quantities import counted

if TYPE_CHECKING:
    from mgdali.datasets.video_dataset import VideoDataset
    from mgdali.loading.order import Share

__all__ = ["describe_loader"]


def describe_loader(
    settings: LoaderSettings, dataset: VideoDataset, *, batches: int, share: Share, index: object
) -> str:
    """Return what a loader will do, as in its ``repr``.

    Args:
        settings: Settings of the loader.
        dataset: Its data set.
        batches: Number of batches per epoch on this rank.
        share: This process's share of the videos.
        index: The loader's argument ``index``.
    """
    order, transform, output, route = settings.order, settings.transform, settings.output, settings.route
    rank = f" on rank {share.rank} of {share.world_size}" if share.world_size > 1 else ""
    height, width = transform.size
    decoder = "" if route.nvdec is None else ", decoded by NVDEC"
    facts = [
        counted(len(dataset), "segment" if dataset.has_segments else "video", separator=","),
        f"{counted(batches, 'batch', 'batches', separator=',')} of {order.batch_size}{rank}",
        _sampler(settings.sampler),
        "training" if transform.training else "testing",
        *_order(order),
        f"{height}x{width} {output.dtype} {output.layout} on {route.device}{decoder}",
        counted(settings.num_workers, "worker", separator=","),
        f"index={_index(index)}" if dataset.pack is None else "index of the pack",
        f"seed={order.seed}",
    ]
    return f"MGDaliIterator({', '.join(facts)})"


def _order(order: EpochOrder) -> list[str]:
    if order.chosen is not None:
        return ["drawn by weights" if isinstance(order.chosen, WeightedVideos) else "in the order of a function"]
    return ["shuffled"] if order.shuffle else []


def _sampler(sampler: Any) -> str:
    """Return a strategy in short: its number of frames, and the fields that differ from their defaults."""
    changed: list[str] = []
    if is_dataclass(sampler):
        shown = [each for each in fields(sampler) if each.repr and each.name != "num_frames"]
        values = [(each.name, getattr(sampler, each.name), each.default) for each in shown]
        changed = [f"{name}={value!r}" for name, value, default in values if value != default]
    return f"{type(sampler).__name__}({', '.join([str(sampler.num_frames), *changed])})"


def _index(index: object) -> str:
    return repr(os.fspath(index) if isinstance(index, os.PathLike) else index)
