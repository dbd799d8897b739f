"""Speed of DALI's decoder alone on a GPU: ``python benchmarks/decode_only.py FILE ... --batch-size 16 --threads 21``.

A plain graph decodes whole files to RGB, and the frames are discarded. ``--no-caps-cache`` leaves out
``mgdali.gpu.caps_cache``, to measure what it changes on this machine.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Measure the package of this checkout.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from command import write_report
from lines import Line

from mgdali.bench import machine
from mgdali.gpu import caps_cache

EPOCHS = 5


class Graph:
    """A plain DALI graph that decodes files.

    Args:
        batch_size: Number of files per batch.
        threads: Number of DALI's threads.
    """

    def __init__(self, batch_size: int, threads: int) -> None:
        from nvidia.dali import fn, pipeline_def

        self._batch_size = batch_size
        self._files: Sequence[NDArray[np.uint8]] = ()
        self._next = 0

        def graph() -> Any:
            files = fn.external_source(source=self._batch, batch=True)
            return fn.decoders.video(files, device="mixed", affine=False)

        options = {"batch_size": batch_size, "num_threads": threads, "device_id": 0, "exec_dynamic": True}
        self._pipeline = pipeline_def(**options)(graph)()
        self._pipeline.build()

    def run(self, files: Sequence[NDArray[np.uint8]]) -> int:
        """Decode files, and return the number of their frames."""
        self._files, self._next = files, 0
        frames = 0
        while True:
            try:
                (videos,) = self._pipeline.run()
            except StopIteration:
                self._pipeline.reset()
                return frames
            frames += sum(shape[0] for shape in videos.shape())
            del videos

    def _batch(self) -> Sequence[NDArray[np.uint8]]:
        batch = self._files[self._next : self._next + self._batch_size]
        if not batch:
            raise StopIteration
        self._next += len(batch)
        return batch


def epoch(graphs: Sequence[Graph], files: Sequence[NDArray[np.uint8]]) -> tuple[float, int]:
    """Decode the files with all graphs at once, and return the seconds and the number of frames."""
    frames = [0] * len(graphs)

    def work(number: int) -> None:
        frames[number] = graphs[number].run(files[number :: len(graphs)])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(graphs))]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - start, sum(frames)


def measure(paths: Sequence[Path], arguments: argparse.Namespace) -> Line:
    """Return the row of a run."""
    contents = {path: np.fromfile(path, np.uint8) for path in set(paths)}
    files = [contents[path] for path in paths]
    if arguments.caps_cache:
        caps_cache.use_caps_cache()
    graphs = [Graph(arguments.batch_size, arguments.threads) for _ in range(arguments.graphs)]
    epoch(graphs, files)
    found = [epoch(graphs, files) for _ in range(EPOCHS)]
    seconds = float(np.median([own for own, _ in found]))
    return {
        "files": len(paths),
        "batch_size": arguments.batch_size,
        "threads": arguments.threads,
        "graphs": arguments.graphs,
        "caps_cache": arguments.caps_cache,
        "clips_per_second": len(paths) / seconds,
        "frames_per_second": found[0][1] / seconds,
        "epoch_seconds": [own for own, _ in found],
    }


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("files", nargs="+", type=Path, metavar="FILE", help="videos that DALI decodes")
    add("--repeat", type=int, default=1, help="how often each file is in an epoch")
    add("--batch-size", type=int, default=16)
    add("--threads", type=int, default=21, help="DALI's threads, in each graph")
    add("--graphs", type=int, default=1, help="graphs that decode at once")
    add("--caps-cache", action=argparse.BooleanOptionalAction, default=True)
    add("--out", type=Path, metavar="FILE.json", help="file to write the results to")
    arguments = parser.parse_args()
    row = measure(arguments.files * arguments.repeat, arguments)
    write_report({"benchmark": "decode_only", "machine": machine.facts(), "rows": [row]}, arguments.out)
    print(row)


if __name__ == "__main__":
    main()
