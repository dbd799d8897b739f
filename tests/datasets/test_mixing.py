"""Weights with which data sets have given shares of the draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mgdali import VideoDataset, mixing_weights

FEW = VideoDataset(["a.mp4", "b.mp4"], ["run", "run"])
MANY = VideoDataset([f"{number}.mp4" for number in range(30)], ["jump"] * 30)


def test_each_data_set_has_its_share_whatever_its_size() -> None:
    weights = mixing_weights([FEW, MANY], [3, 1])
    assert weights.shape == (len(FEW.concat(MANY)),)
    assert weights[:2].sum() == pytest.approx(0.75)
    assert weights[2:].sum() == pytest.approx(0.25)
    assert len(set(weights[2:].tolist())) == 1
    assert mixing_weights([FEW, MANY], np.array([1e308, 1e308]))[:2].tolist() == [0.25, 0.25]
    assert mixing_weights([FEW, MANY], [0, 2])[:2].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("datasets", "shares", "message"),
    [
        ([FEW, MANY], [1], "shares must have one number per data set, got 1 for 2 data sets"),
        ([FEW, MANY], [0.5, -0.5], "shares must be finite numbers >= 0, got -0.5"),
        ([FEW, MANY], [0.5, float("nan")], "shares must be finite numbers >= 0, got nan"),
        ([FEW, MANY], [0.5, "1"], "shares must be finite numbers >= 0, got '1'"),
        ([FEW, MANY], [0, 0.0], "shares must not all be 0"),
        ([], [], "shares must not all be 0"),
        (FEW, [1, 1], "datasets contains a Video: give a list of data sets"),
        ([FEW, MANY], 0.5, "shares must be a list, got 0.5"),
    ],
)
def test_wrong_arguments_are_named(datasets: Any, shares: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mixing_weights(datasets, shares)
