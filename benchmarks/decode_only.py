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

import numpy as np

# Measure the package of this checkout.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from command import write_report
from lines import Line
from route_variants import DecodingGraph

from mgdali.bench import machine
from mgdali.gpu import caps_cache

EPOCHS = 5


def epoch(graphs: Sequence[DecodingGraph]) -> tuple[float, int]:
    """Decode the files of all graphs at once, and return the seconds and the number of frames."""
    frames = [0] * len(graphs)

    def work(number: int) -> None:
        frames[number] = graphs[number].run()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(graphs))]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - start, sum(frames)


def measure(paths: Sequence[str], arguments: argparse.Namespace) -> Line:
    """Return the row of a run."""
    if arguments.caps_cache:
        caps_cache.use_caps_cache()
    shares = [paths[number :: arguments.graphs] for number in range(arguments.graphs)]
    graphs = [DecodingGraph(share, arguments.threads, arguments.batch_size) for share in shares]
    epoch(graphs)
    found = [epoch(graphs) for _ in range(EPOCHS)]
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
    add("files", nargs="+", metavar="FILE", help="videos that DALI decodes")
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
