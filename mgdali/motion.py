"""Measuring motion: the difference of each frame of a video from the previous one, in plain NumPy.

These functions are the reference: tests compare the CPU route and the CUDA kernels with them. They import neither DALI,
CuPy nor torch.

Reference: Zhi et al., "MGSampler: An Explainable Sampling Strategy for Video Action Recognition", ICCV 2021.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

Channels = Literal["luma", "rgb"]

NUM_FILTERS = 8
FILTER_SIZE = 7
LUMA_WEIGHTS = (77, 150, 29)
"""Weights of R, G and B in luma, in units of 1/256."""

__all__ = [
    "Channels",
    "check_filters",
    "default_filters",
    "feature_difference",
    "has_luma_weights",
    "image_difference",
    "luma_from_rgb",
]

_ROWS_AT_ONCE = 32
# Relative size of the errors that rounding a bank to float32 causes.
_ROUNDING = 1e-7


def luma_from_rgb(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the luma of RGB frames, computed in integers: ``(77 R + 150 G + 29 B) >> 8``.

    Args:
        frames: uint8 ``[..., 3]``.

    Returns:
        uint8 ``[...]``.
    """
    red, green, blue = (weight * frames[..., i].astype(np.uint16) for i, weight in enumerate(LUMA_WEIGHTS))
    return ((red + green + blue) >> 8).astype(np.uint8)


def image_difference(frames: NDArray[np.uint8], *, channels: Channels = "luma") -> NDArray[np.float64]:
    """Return the image-level motion ``S[t] = sum |Y[t] - Y[t-1]|`` (Eq. 1).

    Args:
        frames: uint8 ``[T, H, W, 3]`` RGB, or ``[T, H, W]`` luma planes with ``channels="luma"``.
        channels: ``"luma"`` sums over the luma plane (the paper's frames have one channel), ``"rgb"`` over R, G and B.

    Returns:
        float64 ``[T]``, integers in ``[0, 255 * H * W * C]``, with ``S[0] = 0``.

    Raises:
        ValueError: If the frames' shape or type, or ``channels``, is not one of the above.
    """
    if channels not in get_args(Channels):
        raise ValueError(f"channels must be one of {get_args(Channels)}, got {channels!r}")
    frames = _check_frames(frames, grey_too=channels == "luma")
    planes = luma_from_rgb(frames) if channels == "luma" and frames.ndim == 4 else frames
    motion = np.zeros(len(planes), np.float64)
    for t in range(1, len(planes)):
        difference = planes[t].astype(np.int16) - planes[t - 1]
        motion[t] = np.abs(difference).sum(dtype=np.int64)
    return motion


def feature_difference(frames: NDArray[np.uint8], weights: ArrayLike | None = None) -> NDArray[np.float64]:
    """Return the feature-level motion ``S[t] = sum_xy sqrt(sum_i (F_i[t] - F_i[t-1])^2)`` (Eq. 2 and 3).

    F is the response to eight 7x7 filters over RGB (cross-correlation, as in torch's ``conv2d``), stride 1, zero
    padding 3. Because convolution is linear and a bias cancels, one convolution of the frames' difference is enough.

    Luma planes are measured as frames whose R, G and B are equal to luma: each filter is summed over the colours.

    Args:
        frames: uint8 ``[T, H, W, 3]`` RGB, or ``[T, H, W]`` luma planes if the filters weight R, G and B as luma does
            (:func:`has_luma_weights`), in units of 0 to 255.
        weights: Filters, float ``[8, 3, 7, 7]``; by default :func:`default_filters`.

    Returns:
        float64 ``[T]``, not negative, with ``S[0] = 0``.

    Raises:
        ValueError: If the frames' or the filters' shape or type is not one of the above, or if the filters need RGB.
    """
    frames = _check_frames(frames, grey_too=True)
    filters = check_filters(default_filters() if weights is None else weights).astype(np.float64)
    if frames.ndim == 3:
        if not has_luma_weights(filters):
            raise ValueError(
                "filters that do not weight R, G and B as luma does need RGB frames [T, H, W, 3], got luma planes "
                f"{list(frames.shape)}"
            )
        frames, filters = frames[..., None], filters.sum(axis=1, keepdims=True)
    motion = np.zeros(len(frames), np.float64)
    for t in range(1, len(frames)):
        motion[t] = _response_norms(frames[t].astype(np.float64) - frames[t - 1], filters)
    return motion


def has_luma_weights(filters: NDArray[np.floating]) -> bool:
    """Return whether all filters weight R, G and B in the ratio of luma (:data:`LUMA_WEIGHTS`).

    Such filters respond to the luma of a picture. Differences that rounding a bank to float32 causes do not count.

    Args:
        filters: ``[..., 3, 7, 7]``, indexed channel, row, column at the end.
    """
    bank = np.asarray(filters, np.float64)
    luma = np.array(LUMA_WEIGHTS)[:, None, None]
    spatial = (bank * luma).sum(axis=-3, keepdims=True) / (luma**2).sum()
    return bool(np.linalg.norm(bank - spatial * luma) <= _ROUNDING * np.linalg.norm(bank))


def default_filters() -> NDArray[np.float32]:
    """Return the default filters: oriented derivatives of a Gaussian, which do not respond to uniform colour.

    Filters 0 to 3 are first derivatives along 0, 45, 90 and 135 degrees, which respond to boundaries. Filters 4 to 7
    are second derivatives along the same directions, which respond to texture (lines and bars). Sigma is 1.5 pixels.
    R, G and B are weighted as in luma. Each filter sums to 0, and its absolute values sum to 1.

    Returns:
        float32 ``[8, 3, 7, 7]``, indexed filter, channel (R, G, B), row, column.
    """
    sigma = 1.5
    y, x = np.mgrid[-3:4, -3:4].astype(np.float64)
    envelope = np.exp(-(x**2 + y**2) / (2 * sigma**2))
    bank = []
    for order in (1, 2):
        for angle in np.deg2rad((0, 45, 90, 135)):
            along = x * np.cos(angle) + y * np.sin(angle)
            profile = along if order == 1 else along**2 - sigma**2
            kernel = profile * envelope
            # The 7x7 window truncates the Gaussian and leaves a small mean: subtract it, weighted by the envelope.
            kernel -= kernel.sum() / envelope.sum() * envelope
            bank.append(kernel / np.abs(kernel).sum())
    colour = np.array(LUMA_WEIGHTS) / sum(LUMA_WEIGHTS)
    return (np.stack(bank)[:, None] * colour[None, :, None, None]).astype(np.float32)


def check_filters(weights: ArrayLike) -> NDArray[np.float32]:
    """Return a copy of ``weights`` as float32 ``[8, 3, 7, 7]``.

    Raises:
        ValueError: If ``weights`` has another shape or contains values that are not finite.
    """
    filters = np.array(weights, dtype=np.float32, order="C")
    expected = (NUM_FILTERS, 3, FILTER_SIZE, FILTER_SIZE)
    if filters.shape != expected:
        raise ValueError(f"weights must have shape {list(expected)}, got {list(filters.shape)}")
    if not np.isfinite(filters).all():
        raise ValueError("weights must be finite, got NaN or infinity")
    return filters


def _response_norms(difference: NDArray[np.float64], filters: NDArray[np.float64]) -> float:
    """Return the sum over pixels of the norm of the filters' responses; bands of rows limit the memory."""
    margin = FILTER_SIZE // 2
    padded = np.pad(difference, ((margin, margin), (margin, margin), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (FILTER_SIZE, FILTER_SIZE), axis=(0, 1))
    taps = filters.reshape(NUM_FILTERS, -1).T
    total = 0.0
    for row in range(0, len(windows), _ROWS_AT_ONCE):
        band = windows[row : row + _ROWS_AT_ONCE]
        responses = band.reshape(-1, len(taps)) @ taps
        total += float(np.sqrt((responses**2).sum(axis=1)).sum())
    return total


def _check_frames(frames: NDArray[np.uint8], *, grey_too: bool) -> NDArray[np.uint8]:
    frames = np.asarray(frames)
    if frames.dtype != np.uint8:
        raise ValueError(f"frames must be uint8, got {frames.dtype}")
    colour = frames.ndim == 4 and frames.shape[-1] == 3
    if not colour and not (grey_too and frames.ndim == 3):
        shapes = "[T, H, W, 3] or [T, H, W]" if grey_too else "[T, H, W, 3]"
        raise ValueError(f"frames must have shape {shapes}, got {list(frames.shape)}")
    if 0 in frames.shape:
        raise ValueError(f"frames must not be empty, got shape {list(frames.shape)}")
    return frames
