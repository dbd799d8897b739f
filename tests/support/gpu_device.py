"""Skip tests that need a GPU on machines without one."""

from __future__ import annotations

import pytest

from mgdali.gpu import driver


def skip_without_gpu() -> None:
    """Skip the test if the driver reports no GPU. torch and CuPy are not asked, so that a broken one fails."""
    try:
        found = driver.find_gpus()
    except driver.GPUError as error:
        pytest.skip(f"no CUDA device: {error}")
    if not found:
        pytest.skip("no CUDA device: the driver offers none")
