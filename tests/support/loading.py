"""Small loaders and user scripts, for tests of the loader."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

from mgdali import MGDaliIterator, MotionGuided, VideoDataset

SAMPLER = MotionGuided(num_frames=4)
# A user's script can import the same modules as this process.
SCRIPT_ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def load(dataset: VideoDataset, **arguments: Any) -> MGDaliIterator:
    """Return a loader of small clips on the CPU, in testing order by default.

    It decodes in the calling process: starting a worker takes longer than most tests. Tests of what workers do, or of
    batches that are prepared ahead, set ``num_workers``.
    """
    defaults = {"sampler": SAMPLER, "device": "cpu", "num_workers": 0, "crop_size": 32, "resize": 40}
    return MGDaliIterator(dataset, **{**defaults, **arguments})


def digest(batch: tuple[Any, ...]) -> str:
    """Return a hash of a batch's bytes and its meta."""
    clips, labels, meta = batch
    parts = [clips, labels, meta["frames"], meta["num_frames"]]
    content = b"".join(part.numpy().tobytes() for part in parts) + "\n".join(meta["path"]).encode()
    return hashlib.sha256(content).hexdigest()


def run_script(folder: Path, text: str, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run ``text`` as a user's script without ``if __name__ == "__main__"``."""
    script = folder / "script.py"
    script.write_text(textwrap.dedent(text))
    return subprocess.run(
        [sys.executable, str(script), *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=SCRIPT_ENVIRONMENT,
        cwd=folder,
    )
