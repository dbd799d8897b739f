"""Print a SHA-256 digest of every batch that the loader makes from some folders of videos.

Run it before and after a change and compare the two outputs: equal lines mean equal bytes. It uses public names only,
so that it also runs against older versions of the package.

    python benchmarks/batch_digests.py mgdali-demo/videos ../shared/clips/labelled > before.txt
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import mgdali
from mgdali import DatasetError, MGDaliIterator, MotionGuided, Segment, Stride, TopMotion, VideoDataset

__all__ = ["batch_digests", "videos_in"]

_SAMPLERS = {
    "image": MotionGuided(num_frames=8),
    "image rgb": MotionGuided(num_frames=4, channels="rgb", inverse="nearest"),
    "feature": MotionGuided(num_frames=3, motion="feature"),
    "segment": Segment(num_frames=8),
    "stride": Stride(num_frames=8, stride=4),
    "top motion": TopMotion(num_frames=8),
}
_BATCH_SIZE = 8


def batch_digests(dataset: VideoDataset, *, feature: bool, num_workers: int) -> Iterator[str]:
    """Yield one line per batch: the settings, the batch's number and the digest of its content.

    Args:
        dataset: The videos.
        feature: Whether to measure motion also at the feature level, which takes most of the time.
        num_workers: Number of decoding processes.
    """
    for name, sampler in _SAMPLERS.items():
        if name == "feature" and not feature:
            continue
        for training in (False, True):
            yield from _digests(
                f"{name}, training={training}", dataset, num_workers, sampler=sampler, training=training
            )
    sampler = MotionGuided(num_frames=8)
    for layout, dtype in (("NCTHW", "float16"), ("NTHWC", "uint8"), ("NTCHW", "uint8")):
        settings: dict[str, Any] = {"sampler": sampler, "training": True, "layout": layout, "dtype": dtype}
        yield from _digests(f"{layout} {dtype}", dataset, num_workers, **settings)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index.parquet"
        mgdali.build_index(dataset, path)
        yield from _digests("with an index", dataset, num_workers, sampler=sampler, training=True, index=path)


def videos_in(folder: Path) -> VideoDataset:
    """Return the videos of ``folder``: by class, or all in one class if the folder has no class folders."""
    with contextlib.suppress(DatasetError):
        return VideoDataset.from_folder(folder)
    paths = sorted(folder.iterdir())
    return VideoDataset(paths, [0] * len(paths))


def _digests(title: str, dataset: VideoDataset, num_workers: int, **settings: Any) -> Iterator[str]:
    loader = MGDaliIterator(
        dataset,
        batch_size=_BATCH_SIZE,
        shuffle=True,
        seed=3,
        num_workers=num_workers,
        return_meta=True,
        on_error="replace",
        device="cpu",
        **settings,
    )
    with loader:
        loader.set_epoch(1)
        for number, (clips, labels, meta) in enumerate(loader):
            digest = hashlib.sha256()
            for tensor in (clips, labels, meta["frames"], meta["num_frames"]):
                array = np.ascontiguousarray(tensor.cpu().numpy())
                digest.update(f"{array.dtype} {array.shape}".encode())
                digest.update(array.tobytes())
            digest.update("\n".join(Path(path).name for path in meta["path"]).encode())
            yield f"{title}, batch {number}: {digest.hexdigest()}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Print a digest of every batch of some folders of videos.")
    parser.add_argument("folders", metavar="FOLDER", nargs="+", type=Path, help="Folder of videos.")
    parser.add_argument("--no-feature", action="store_true", help="Leave out the feature level, which is slow.")
    parser.add_argument("--num-workers", type=int, default=2, help="Number of decoding processes.")
    arguments = parser.parse_args()
    for folder in arguments.folders:
        dataset = videos_in(folder)
        for line in batch_digests(dataset, feature=not arguments.no_feature, num_workers=arguments.num_workers):
            print(f"{folder.name}: {line}", flush=True)


if __name__ == "__main__":
    main()
