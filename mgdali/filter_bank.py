"""Splitting a filter bank into separable filters of one plane, in plain NumPy.

The feature-level motion of frames is ``S = sum_xy |F d|``: at each pixel, the norm of the responses of all filters to
the difference ``d`` of two frames (Eq. 3). Only the norm counts, so the filters may be replaced by any others with the
same norm. If all filters weight R, G and B in the same ratio, they respond to one plane. If they also are sums of few
outer products of a column filter and a row filter, the norm costs a fraction of the multiply-adds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_SEPARABLE", "SeparableBank", "separate"]

MAX_SEPARABLE = 8
"""The largest number of separable filters that :func:`separate` returns."""

_TOLERANCE = 1e-7
# Angle in radians below which two row filters are the same one, and relative size below which a tap is 0. Rounding of
# the bank to float32 causes about 1e-7.
_SAME = 1e-6

Taps = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SeparableBank:
    """A filter bank as k separable filters of one plane.

    With the plane ``p = plane[0] R + plane[1] G + plane[2] B`` of the difference of two frames, and ``s_j`` the
    response of p to the filter ``columns[j][:, None] * rows[j]`` (cross-correlation with zero padding), the norm of the
    bank's responses is ``|mixing @ s|``.

    Attributes:
        plane: Weights of R, G and B, float64 ``[3]``. The largest absolute value is 1.
        rows: Horizontal taps of each separable filter, float64 ``[k, 7]``. Equal ones are adjacent.
        columns: Vertical taps of each separable filter, float64 ``[k, 7]``.
        mixing: float64 ``[r, k]`` with r <= k, in row echelon form. The first value of each row that is not 0 is 1.
    """

    plane: Taps
    rows: Taps
    columns: Taps
    mixing: Taps

    def __post_init__(self) -> None:
        k, size = self.rows.shape
        if self.columns.shape != (k, size) or self.mixing.shape[1:] != (k,) or self.plane.shape != (3,):
            shapes = [list(array.shape) for array in (self.plane, self.rows, self.columns, self.mixing)]
            raise ValueError(f"shapes must be [3], [k, taps], [k, taps] and [r, k], got {shapes}")

    @property
    def row_of(self) -> NDArray[np.int64]:
        """The number of each separable filter's row filter among the different ones, int64 ``[k]``, not descending."""
        new = np.any(self.rows[1:] != self.rows[:-1], axis=1)
        return np.concatenate([[0], np.cumsum(new)]).astype(np.int64)

    @property
    def multiply_adds(self) -> int:
        """Taps per pixel of the different row filters and of all column filters."""
        return int(self.rows.shape[1] * (self.row_of[-1] + 1 + len(self.columns)))


def separate(filters: NDArray[np.floating]) -> SeparableBank | None:
    """Return a bank as few separable filters of one plane, or None if it does not have this form.

    The plane is the first singular vector of the bank over colours. Two sets of separable filters are tried, and the
    one with fewer taps is returned:

    - A greedy set: the filter with the fewest outer products (the rank of its matrix) is taken as these outer products.
      What they explain is subtracted from the other filters, and so on until nothing is left.
    - The outer products of an orthogonal basis of all columns and one of all rows. Unused products are left out.

    The result differs from the bank by at most 1e-7 of the bank's Frobenius norm. This is the rounding of a bank in
    float32. S then differs by less than 1e-6 of S, unless nearly all of the frames' difference cancels in the bank.

    Args:
        filters: ``[filters, 3, 7, 7]``, indexed filter, channel, row, column, finite.

    Returns:
        The separable bank, with at most :data:`MAX_SEPARABLE` filters. A bank of zeros has one separable filter, of
        zeros.

    Raises:
        ValueError: If the filters' shape is not the one above.
    """
    bank = np.asarray(filters, np.float64)
    if bank.ndim != 4 or bank.shape[1] != 3 or bank.shape[2] != bank.shape[3] or bank.shape[0] == 0:
        raise ValueError(f"filters must have shape [filters, 3, 7, 7], got {list(bank.shape)}")
    size = bank.shape[-1]
    largest = float(np.abs(bank).max())
    if largest == 0:
        zeros = np.zeros((1, size))
        return SeparableBank(np.ones(3), zeros, zeros, np.ones((1, 1)))
    bank = bank / largest
    plane = _plane(bank)
    spatial = np.tensordot(bank, plane, axes=(1, 0)) / (plane @ plane)
    found = [
        made
        for terms in (_greedy_terms(spatial), _basis_terms(spatial))
        if terms is not None and (made := _assembled(bank, spatial, plane, terms)) is not None
    ]
    if not found:
        return None
    best = min(found, key=lambda made: made.multiply_adds)
    return SeparableBank(best.plane, best.rows, best.columns * largest, best.mixing)


# --- Sets of separable filters ----------------------------------------------------------------------------------------

Terms = Sequence[tuple[Taps, Taps]]
"""Column filter and row filter of each separable filter."""


def _plane(bank: Taps) -> Taps:
    """Return the weights of the channels that explain most of a bank, with the largest weight 1."""
    weights = np.linalg.svd(bank.transpose(1, 0, 2, 3).reshape(3, -1), full_matrices=False)[0][:, 0]
    return _without_rounding(weights / weights[np.abs(weights).argmax()])


def _greedy_terms(spatial: Taps) -> Terms | None:
    """Return the terms of the simplest filters first, then those of what the other filters have beyond them."""
    limit = _TOLERANCE * np.linalg.norm(spatial)
    terms: list[tuple[Taps, Taps]] = []
    while True:
        residuals = _unexplained(spatial, terms)
        open_ones = np.flatnonzero(np.linalg.norm(residuals, axis=(1, 2)) > limit)
        if not len(open_ones):
            return terms
        # The subtraction may also make a filter more complicated: then its own outer products are fewer.
        left = [matrices[i] for matrices in (spatial, residuals) for i in open_ones]
        parts = [_outer_products(matrix, limit) for matrix in left]
        # Of equally simple filters the strongest, because rounding disturbs it least.
        simplest = min(range(len(left)), key=lambda i: (len(parts[i]), -np.linalg.norm(left[i])))
        terms += parts[simplest]
        if len(terms) > MAX_SEPARABLE:
            return None


def _basis_terms(spatial: Taps) -> Terms | None:
    """Return the outer products that occur of orthogonal bases of all columns and of all rows."""
    limit = _TOLERANCE * np.linalg.norm(spatial)
    size = spatial.shape[-1]
    columns, weights, _ = np.linalg.svd(spatial.transpose(1, 0, 2).reshape(size, -1), full_matrices=False)
    columns = columns[:, weights > limit].T
    _, weights, rows = np.linalg.svd(spatial.reshape(-1, size), full_matrices=False)
    rows = rows[weights > limit]
    strengths = np.linalg.norm(np.einsum("ay,fyx,bx->fab", columns, spatial, rows), axis=0)
    terms = [(columns[a], rows[b]) for a, b in np.argwhere(strengths > limit)]
    return terms if 0 < len(terms) <= MAX_SEPARABLE else None


def _outer_products(matrix: Taps, limit: float | np.floating) -> list[tuple[Taps, Taps]]:
    columns, weights, rows = np.linalg.svd(matrix)
    return [(columns[:, i], rows[i]) for i in np.flatnonzero(weights > limit)] or [(columns[:, 0], rows[0])]


def _unexplained(spatial: Taps, terms: Terms) -> Taps:
    """Return what is left of each filter after the best approximation by a sum of terms."""
    if not terms:
        return spatial
    flat = spatial.reshape(len(spatial), -1)
    basis = np.linalg.qr(_as_matrices(terms).reshape(len(terms), -1).T)[0]
    return np.asarray((flat - flat @ basis @ basis.T).reshape(spatial.shape))


def _as_matrices(terms: Terms) -> Taps:
    return np.stack([np.outer(column, row) for column, row in terms])


# --- Taps and mixing matrix -------------------------------------------------------------------------------------------


def _assembled(bank: Taps, spatial: Taps, plane: Taps, terms: Terms) -> SeparableBank | None:
    """Return the separable bank of a set of terms; None if it does not give the bank back."""
    terms = _with_shared_rows([(_without_rounding(column), _without_rounding(row)) for column, row in terms])
    kernels = _as_matrices(terms).reshape(len(terms), -1)
    shares = np.asarray(np.linalg.lstsq(kernels.T, spatial.reshape(len(spatial), -1).T, rcond=None)[0].T, np.float64)
    again = np.einsum("fs,c->fcs", shares @ kernels, plane).reshape(bank.shape)
    if np.linalg.norm(again - bank) > _TOLERANCE * np.linalg.norm(bank):
        return None
    mixing, scales = _echelon(shares)
    rows = np.stack([row for _, row in terms])
    columns = np.stack([column for column, _ in terms]) * scales[:, None]
    return SeparableBank(plane, rows, columns, mixing)


def _with_shared_rows(terms: Terms) -> Terms:
    """Return terms whose row filters are equal to the bit if they were parallel, sorted by row filter."""
    rows: list[Taps] = []
    groups: list[list[tuple[Taps, Taps]]] = []
    for column, row in terms:
        for own, group in zip(rows, groups, strict=True):
            if np.linalg.norm(row - (row @ own) / (own @ own) * own) < _SAME * np.linalg.norm(row):
                group.append((column, own))
                break
        else:
            rows.append(row)
            groups.append([(column, row)])
    # The row filter with the most column filters first.
    return [term for group in sorted(groups, key=len, reverse=True) for term in group]


def _without_rounding(taps: Taps) -> Taps:
    """Return taps that are exactly symmetric, antisymmetric or 0 if they nearly are, with the largest value 1."""
    taps = taps / taps[np.abs(taps).argmax()]
    taps = np.where(np.abs(taps) < _SAME, 0.0, taps)
    for sign in (1, -1):
        if np.abs(taps - sign * taps[::-1]).max() < _SAME:
            taps = (taps + sign * taps[::-1]) / 2
    return taps


def _echelon(shares: Taps) -> tuple[Taps, Taps]:
    """Return the mixing matrix, and the factors that the separable filters are multiplied by.

    The norm of ``shares @ s`` depends only on the triangular factor of ``shares = Q R``. Each column in turn adds a row
    to R if it is independent of the columns before it.
    """
    basis = np.zeros((len(shares), 0))
    scales = np.ones(shares.shape[1])
    pivots = []
    limit = _TOLERANCE * np.linalg.norm(shares)
    for j, column in enumerate(shares.T):
        rest = column.copy()
        # Twice, because the first subtraction leaves rounding.
        for _ in range(2):
            rest -= basis @ (basis.T @ rest)
        length = float(np.linalg.norm(rest))
        if length > limit:
            basis = np.column_stack([basis, rest / length])
            scales[j] = length
            pivots.append(j)
    mixing = basis.T @ shares
    mixing[np.abs(mixing) < limit] = 0
    mixing /= scales
    mixing[range(len(pivots)), pivots] = 1
    return mixing, scales
