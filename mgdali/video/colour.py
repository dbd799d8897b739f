"""Correction of the colours of frames that were converted to RGB with the coefficients of another standard."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["MATRICES", "colour_correction"]

_LUMA = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}
"""Weights of R and B in luma (Kr, Kb) of ITU-R BT.601, BT.709 and BT.2020 (non-constant luminance)."""

MATRICES = tuple(_LUMA)
"""Names of the standards: ``"bt601"``, ``"bt709"`` and ``"bt2020"``."""


def colour_correction(matrix: str) -> NDArray[np.float32]:
    """Return the matrix that corrects RGB which was converted from YCbCr by BT.601 although another standard applies.

    DALI's decoder always converts by BT.601 and honours the range of the values. Conversions are linear, so that a
    matrix converts back to YCbCr and from there by the standard that applies. Only pixels that DALI clipped to [0, 255]
    cannot be corrected.

    Args:
        matrix: The standard that applies, one of :data:`MATRICES`.

    Returns:
        float32 ``[9]``, a matrix in row order for ``(R, G, B)``. For ``"bt601"`` it is exactly the identity.

    Raises:
        ValueError: If ``matrix`` is not one of :data:`MATRICES`.
    """
    if matrix not in _LUMA:
        raise ValueError(f"matrix must be one of {MATRICES}, got {matrix!r}")
    if matrix == "bt601":
        return np.eye(3, dtype=np.float32).ravel()
    return (_to_rgb(matrix) @ np.linalg.inv(_to_rgb("bt601"))).astype(np.float32).ravel()


def _to_rgb(matrix: str) -> NDArray[np.float64]:
    """Return the conversion from (Y, Cb, Cr), with Cb and Cr in [-0.5, 0.5] for Y in [0, 1], to (R, G, B)."""
    red, blue = _LUMA[matrix]
    green = 1 - red - blue
    return np.array(
        [
            [1, 0, 2 * (1 - red)],
            [1, -2 * (1 - blue) * blue / green, -2 * (1 - red) * red / green],
            [1, 2 * (1 - blue), 0],
        ]
    )
