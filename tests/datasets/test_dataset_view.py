from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from mgdali.datasets.video_dataset import VideoDataset
from mgdali.video.time_range import TimeRange


@pytest.mark.parametrize(
    ("labels", "options", "text"),
    [
        ([0, 1], {}, "2 videos, 2 classes"),
        ([0, None], {"columns": {"id": [1, 2]}}, "2 videos, 1 class, 1 without a label, columns id"),
        (None, {"time_ranges": [TimeRange(1), None]}, "2 segments, 0 classes, no labels"),
        ([0.5, None], {}, "2 videos, numbers as labels, 1 without a label"),
        (np.eye(2), {}, "2 videos, vectors of 2 as labels"),
        ([["run"], ["sit"]], {}, "2 videos, 2 classes"),
    ],
)
def test_a_data_set_is_described_in_one_line(labels: Any, options: dict[str, Any], text: str) -> None:
    assert repr(VideoDataset(["a", "b"], labels, **options)) == f"VideoDataset({text})"


@pytest.mark.parametrize(
    ("labels", "shown"),
    [
        ([0, None], ["0", "no label"]),
        ([0.5, None], ["0.5", "no label"]),
        ([["run", "sit"], []], ["run, sit", "no class"]),
        ([[0.0, 0.5], None], ["[0.  0.5]", "no label"]),
    ],
)
def test_a_notebook_shows_labels_of_every_kind(labels: Any, shown: list[str]) -> None:
    html = VideoDataset(["a", "b"], labels)._repr_html_()
    cells = [row[1].text for row in ElementTree.fromstring(html).iter("tr")]
    assert cells == ["label", *shown]


def test_a_notebook_shows_the_first_videos_in_valid_html() -> None:
    dataset = VideoDataset(
        [f"<b>{'x' * 200}&{i}.mp4" for i in range(1000)],
        ["<i>", None] * 500,
        columns={f"c{number}": [1.23456789] * 1000 for number in range(20)},
        time_ranges=[TimeRange(1, 2.5)] * 1000,
    )
    html = dataset._repr_html_()
    assert len(html) < 6000
    table = ElementTree.fromstring(html)
    rows = [["".join(cell.itertext()) for cell in row] for row in table.iter("tr")]
    assert rows[0][:4] == ["path", "time_range", "label", "c0"]
    assert len(rows) == 6
    assert rows[1][0].startswith("<b>xxx")
    assert len(rows[1][0]) <= 60
    assert rows[1][1:4] == ["seconds 1 to 2.5", "<i>", "1.23457"]
    assert rows[2][2] == "no label"
    text = "".join(table.itertext())
    for part in (
        "1000 segments, 1 class, 500 without a label",
        "Classes: <i>",
        "More columns: c8,",
        "5 of 1000 videos",
    ):
        assert part in text
