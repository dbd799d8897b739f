"""Whether a GPU is there for a test."""

from __future__ import annotations

import pytest

from mgdali.gpu import driver


def skip_without_gpu() -> None:
    """Skip where the driver offers no GPU: it is asked, not torch or CuPy, so that a broken package fails a test."""
    try:
        found = driver.find_gpus()
    except driver.GPUError as error:
        pytest.skip(f"no CUDA device: {error}")
    if not found:
        pytest.skip("no CUDA device: the driver offers none")
