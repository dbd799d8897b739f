"""How busy NVDEC is, as ``nvidia-smi`` reports it."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import threading
import time

__all__ = ["DecoderUtilization"]


class DecoderUtilization:
    """NVDEC's utilization in percent, sampled by nvidia-smi in the background. No samples without nvidia-smi."""

    def __init__(self) -> None:
        self._samples: list[tuple[float, float]] = []
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> DecoderUtilization:
        if shutil.which("nvidia-smi") is not None:
            command = ["nvidia-smi", "--query-gpu=utilization.decoder", "--format=csv,noheader,nounits", "-lms", "100"]
            self._process = subprocess.Popen(
                [*command, "-i", _gpu_name()], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            threading.Thread(target=self._read, args=(self._process,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def during(self, start: float, end: float) -> float | None:
        """Return the mean between two times of ``time.perf_counter()``; None if there is no sample."""
        values = [value for moment, value in list(self._samples) if start <= moment <= end]
        return statistics.fmean(values) if values else None

    @property
    def note(self) -> str:
        """A note on the figures for the report."""
        if self._samples:
            return "mean of nvidia-smi's utilization.decoder, sampled every 100 ms, over each epoch"
        return "none: nvidia-smi is missing or does not report it"

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip().isdigit():
                self._samples.append((time.perf_counter(), float(line)))


def _gpu_name() -> str:
    """Return nvidia-smi's name of the first GPU that CUDA lists."""
    import torch

    uuid = getattr(torch.cuda.get_device_properties(0), "uuid", None)
    return "0" if uuid is None else f"GPU-{str(uuid).removeprefix('GPU-')}"
