"""Loaders, recorded batches and launched processes, for tests with training frameworks."""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import torch

from mgdali import MGDaliIterator, VideoDataset
from tests.support.loading import SCRIPT_ENVIRONMENT, load
from tests.support.videos import moving_square, write_video

VIDEOS = 10

Seen = list[Any]
"""A recorded batch, equal to itself after a round trip through JSON: the labels and a hash of the clips."""


def write_numbered_videos(folder: Path) -> Path:
    """Write ten short videos, each the only one of its class: the label is the number of the video."""
    for i in range(VIDEOS):
        path = folder / f"class{i}" / "video.mp4"
        path.parent.mkdir(parents=True)
        write_video(path, moving_square(5 + 2 * i, 36, 48, seed=i))
    return folder


def training_loader(folder: Path | str, **arguments: Any) -> MGDaliIterator:
    """Return a loader of the videos in random order, two per batch, that decodes in this process."""
    defaults: dict[str, Any] = {"batch_size": 2, "shuffle": True, "training": True, "num_workers": 0}
    return load(VideoDataset.from_folder(folder), **{**defaults, **arguments})


def seen(clips: torch.Tensor, labels: torch.Tensor) -> Seen:
    """Return what a test compares of a batch."""
    return [labels.tolist(), hashlib.sha256(clips.cpu().numpy().tobytes()).hexdigest()[:16]]


def seen_in_epochs(folder: Path, epochs: range, **arguments: Any) -> list[Seen]:
    """Return the batches of a plain loop over epochs."""
    with training_loader(folder, **arguments) as loader:
        batches = []
        for epoch in epochs:
            loader.set_epoch(epoch)
            batches += [seen(clips, labels) for clips, labels in loader]
    return batches


def run_ranks(
    folder: Path, text: str, *arguments: str, ranks: int = 0, torchrun: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run ``text`` as a script that is the same on each rank.

    Args:
        folder: Folder of the script, and its current folder.
        text: The script.
        arguments: Arguments of the script.
        ranks: Number of ranks; 0 runs the script once, without the environment variables of a rank.
        torchrun: Whether ``torchrun`` starts the ranks. It imports torch itself, which takes seconds.
    """
    script = folder / "script.py"
    script.write_text(textwrap.dedent(text))
    environment = {**SCRIPT_ENVIRONMENT, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"}
    command = [sys.executable, str(script), *arguments]
    if torchrun:
        command[1:1] = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    if torchrun or ranks == 0:
        return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=200)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        environment |= {"MASTER_PORT": str(free.getsockname()[1])}
    processes = []
    try:
        for rank in map(str, range(ranks)):
            own = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks)}
            with (folder / f"rank{rank}.out").open("w") as out, (folder / f"rank{rank}.err").open("w") as err:
                processes.append(
                    subprocess.Popen(command, env={**environment, **own}, cwd=folder, stdout=out, stderr=err)
                )
        codes = [process.wait(200) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    out, err = ("".join((folder / f"rank{rank}.{end}").read_text() for rank in range(ranks)) for end in ("out", "err"))
    return subprocess.CompletedProcess(command, max(map(abs, codes)), out, err)


def write_result(rank: int, result: Any) -> None:
    """Save what a rank has to report, in the script's current folder."""
    Path(f"rank{rank}.json").write_text(json.dumps(result))


def read_results(folder: Path, ranks: int) -> list[Any]:
    """Return what each rank has reported."""
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(ranks)]
