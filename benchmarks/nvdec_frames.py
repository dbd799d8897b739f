"""Compare the frames of the GPU route with those of the CPU route, for each file of some folders.

    python benchmarks/nvdec_frames.py FOLDER ... --out FILE.json

Each file is loaded by both routes: a run of consecutive frames without an index, and motion-guided picks that an index
gives, for which the GPU route decodes only the needed packets. The two decoders convert colours a little differently,
so pixels are near, not equal. A frame in the wrong place is found by comparing it with the other frames of its clip.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

# Measure the package of this checkout.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from command import say, write_report

from mgdali import MGDaliIterator, MotionGuided, MotionIndex, Stride, VideoDataset, build_index
from mgdali.bench import machine
from mgdali.samplers import Sampler

NEAR = 4.0
"""Largest mean difference of the pixels of a frame, of 255, that counts as near."""
DISTINCT = 1.0
"""Smallest mean difference of two frames of the CPU route, of 255, for which their order can be told."""
_SAMPLERS: dict[str, tuple[Sampler, bool]] = {
    "consecutive": (Stride(num_frames=24, stride=1), False),
    "known picks": (MotionGuided(num_frames=8), True),
    "measured picks": (MotionGuided(num_frames=8), False),
}

Clip = tuple[NDArray[np.uint8], list[int], int]
"""Pixels ``[N, H, W, 3]``, picks, and number of frames of the video."""


def clips(paths: list[str], sampler: Sampler, index: Path | None, route: dict[str, Any]) -> tuple[dict[str, Clip], Any]:
    """Return the clip of each video by its path, and what the loader reports."""
    found: dict[str, Clip] = {}
    with (
        warnings.catch_warnings(record=True) as caught,
        MGDaliIterator(
            VideoDataset(paths, [0] * len(paths)),
            sampler=sampler,
            index=index,
            batch_size=8,
            dtype="uint8",
            layout="NTHWC",
            resize=128,
            crop_size=112,
            on_error="replace",
            return_meta=True,
            **route,
        ) as loader,
    ):
        warnings.simplefilter("always")
        for pixels, _, meta in loader:
            for own, path, picks, total in zip(
                pixels.cpu().numpy(), meta["path"], meta["frames"].tolist(), meta["num_frames"].tolist(), strict=True
            ):
                found[path] = (own, picks, total)
        by_pyav = loader.decoded_by_pyav if route["device"] == "cuda" else {}
        bad = {path: str(why) for path, why in loader.bad_videos.items()}
    told = [f"{each.category.__name__}: {each.message}"[:300] for each in caught]
    return found, {"by_pyav": dict(by_pyav), "bad": bad, "warnings": told}


def compared(own: Clip, expected: Clip) -> dict[str, Any]:
    """Return how far two clips of a video are apart."""
    pixels, picks, total = own
    right, right_picks, right_total = expected
    same = picks == right_picks
    apart = np.abs(pixels[:, None].astype(np.int16) - right[None]).mean(axis=(2, 3, 4)) if same else None
    misplaced: list[int] = []
    if apart is not None:
        between = np.abs(right[:, None].astype(np.int16) - right[None]).mean(axis=(2, 3, 4))
        for i, row in enumerate(apart):
            best = int(row.argmin())
            if best != i and between[i, best] > DISTINCT and row[best] < row[i]:
                misplaced.append(picks[i])
    return {
        "num_frames": [total, right_total],
        "picks_apart": int(np.abs(np.subtract(picks, right_picks)).max()),
        "difference": None if apart is None else round(float(np.diagonal(apart).max()), 3),
        "misplaced": misplaced,
    }


def rows(folder: Path, scratch: Path) -> Iterator[dict[str, Any]]:
    """Yield a row for each file and kind of picks."""
    paths = sorted(str(path) for path in folder.rglob("*") if path.is_file() and path.suffix.lower() not in _NO_VIDEOS)
    index = scratch / f"{folder.name}.parquet"
    build_index([Path(path) for path in paths], index)
    known = MotionIndex(index)
    paths = [path for path in paths if (record := known.find(path)) is not None and record.error is None]
    for kind, (sampler, indexed) in _SAMPLERS.items():
        given = index if indexed else None
        expected, on_cpu = clips(paths, sampler, given, {"device": "cpu"})
        found, on_gpu = clips(paths, sampler, given, {"device": "cuda", "decode": "nvdec"})
        say(f"{folder.name}, {kind}: {len(found)} videos, {len(on_gpu['by_pyav'])} by PyAV")
        for path in paths:
            row: dict[str, Any] = {"file": Path(path).name, "kind": kind, "by_pyav": on_gpu["by_pyav"].get(path)}
            if path in found and path in expected:
                row |= compared(found[path], expected[path])
            else:
                row["error"] = [on_gpu["bad"].get(path), on_cpu["bad"].get(path)]
            yield row
        for message, count in Counter(on_gpu["warnings"]).items():
            yield {"kind": kind, "warning": message, "count": count}


_NO_VIDEOS = {".jpg", ".jpeg", ".tsv", ".txt", ".md", ".json", ".csv"}


def wrong(row: dict[str, Any]) -> bool:
    """Return whether a row shows a fault: frames that differ, are missing or in the wrong place, or only one error.

    Measured picks may differ, because the GPU route measures the luma of RGB frames.
    """
    if "warning" in row:
        return False
    if "error" in row:
        return (row["error"][0] is None) != (row["error"][1] is None)
    own, right = row["num_frames"]
    far = row["difference"] is not None and row["difference"] > NEAR
    other_picks = row["kind"] != "measured picks" and row["picks_apart"] > 0
    return bool(own != right or other_picks or far or row["misplaced"])


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="folders of files, of any kind")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="file to write the results to")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("nvdec_frames.py: torch finds no GPU")
    found: list[dict[str, Any]] = []
    try:
        with tempfile.TemporaryDirectory() as scratch:
            for folder in arguments.folders:
                found += rows(folder.resolve(), Path(scratch))
    finally:
        write_report({"benchmark": "nvdec_frames", "machine": machine.facts(), "rows": found}, arguments.out)
    for row in found:
        if wrong(row) or "warning" in row:
            print(row)
    videos = [row for row in found if "warning" not in row]
    by_gpu = [row for row in videos if row["by_pyav"] is None and "error" not in row]
    print(f"{len(videos)} rows, {len(by_gpu)} decoded by NVDEC, {sum(map(wrong, videos))} wrong")
    apart = Counter(row["picks_apart"] for row in by_gpu if row["kind"] == "measured picks")
    print(f"measured picks, largest difference in frames: {dict(sorted(apart.items()))}")


if __name__ == "__main__":
    main()
