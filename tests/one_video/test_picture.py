"""The picture of one video's picks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mgdali.samplers import MotionGuided, Sampler, Segment, TopMotion
from mgdali.sampling import sample_motion_guided, sample_segment

pytest.importorskip("matplotlib")

from matplotlib.image import imread

from mgdali.one_video.clip import PickedClip
from mgdali.one_video.explanation import Explanation, explain
from mgdali.one_video.picture import PICTURE_DPI, PICTURE_WIDTH, draw_explanation, picks_figure, save_figure


def plain_frames(total: int, height: int = 60, width: int = 80) -> dict[int, NDArray[np.uint8]]:
    """Frames of one colour each, which nothing else in the picture has."""
    return {t: np.full((height, width, 3), (t, 255 - t, 128), np.uint8) for t in range(total)}


def bell(total: int, peak: int) -> NDArray[np.float64]:
    motion = 1e5 * np.exp(-(((np.arange(total) - peak) / 4) ** 2))
    motion[0] = 0
    return motion


def explained(motion: NDArray[np.float64], count: int, title: str = "a video") -> Explanation:
    picks = sample_motion_guided(motion, count)
    return explain(MotionGuided(count), picks, motion=motion, total=len(motion), title=title, compared_images=True)


def draw(
    path: Path, motion: NDArray[np.float64], count: int, *, title: str = "a video", **size: int
) -> NDArray[np.uint8]:
    """Draw the picks of ``count`` frames; the picture as uint8 [H, W, 3]."""
    save_figure(draw_explanation(explained(motion, count, title), plain_frames(len(motion), **size)), path)
    return pixels(path)


def pixels(path: Path) -> NDArray[np.uint8]:
    return np.asarray(imread(path)[..., :3] * 255 + 0.5, np.uint8)


def find(picture: NDArray[np.uint8], colour: tuple[int, int, int]) -> NDArray[np.int64]:
    """Rows and columns, [pixels, 2], of a colour."""
    return np.argwhere((picture == colour).all(axis=-1))


@pytest.mark.slow
def test_every_picked_frame_is_there_motion_guided_above_even_and_from_left_to_right(tmp_path: Path) -> None:
    motion = bell(101, 70)
    picture = draw(tmp_path / "new" / "picks.png", motion, 8)
    rows = [sample_motion_guided(motion, 8).tolist(), sample_segment(101, 8).tolist()]
    middle = None
    for picks, other in (rows, rows[::-1]):
        places = [find(picture, (t, 255 - t, 128)) for t in picks if t not in other]
        assert places
        assert all(len(place) > 1000 for place in places)
        columns = [place[:, 1].mean() for place in places]
        assert columns == sorted(columns)
        if middle is None:
            middle = max(place[:, 0].max() for place in places)
        else:
            assert min(place[:, 0].min() for place in places) > middle
    skipped = set(range(101)) - {*rows[0], *rows[1]}
    assert not any(len(find(picture, (t, 255 - t, 128))) > 100 for t in skipped)


@pytest.mark.slow
def test_the_size_follows_from_the_picks_and_the_frames_shape(tmp_path: Path) -> None:
    motion = bell(61, 20)
    wide = draw(tmp_path / "wide.png", motion, 8)
    tall = draw(tmp_path / "tall.png", motion, 8, height=120, width=80)
    many = draw(tmp_path / "many.png", motion, 16)
    assert {picture.shape[1] for picture in (wide, tall, many)} == {round(PICTURE_WIDTH * PICTURE_DPI)}
    assert 1000 < wide.shape[0] < tall.shape[0] < 2000
    assert wide.shape[0] < many.shape[0] < 2000


@pytest.mark.slow
def test_any_number_of_picks_stays_a_picture_that_can_be_opened(tmp_path: Path) -> None:
    assert draw(tmp_path / "one.png", bell(31, 9), 1).shape[0] < 1600
    assert draw(tmp_path / "hundreds.png", bell(31, 9), 200).shape[0] < 4000


@pytest.mark.slow
def test_a_still_video_and_a_single_frame_are_drawn(tmp_path: Path) -> None:
    for total in (1, 40):
        picture = draw(tmp_path / f"{total}.png", np.zeros(total), 4)
        assert len(find(picture, (0, 255, 128))) > 1000 or total > 1
    figure = draw_explanation(explained(np.zeros(1), 2), plain_frames(1))
    (axis,) = (axes.xaxis for axes in figure.axes if axes.get_xlabel() == "frame")
    assert [label.get_text() for label in axis.get_ticklabels()] == ["−1", "0", "1"]


def test_any_file_name_can_be_drawn_and_a_long_one_stays_within_the_picture(tmp_path: Path) -> None:
    # No formula; a byte that is not UTF-8; two lines.
    picture = draw(tmp_path / "picks.png", bell(31, 9), 4, title="a$b_$c\\frac{\udcff\n" + "/long" * 40)
    assert (picture[:, -20:] == 255).all()


@pytest.mark.slow
def test_the_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        draw(tmp_path / name, bell(31, 9), 4)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_picked_frame_that_is_not_given_is_an_error() -> None:
    with pytest.raises(KeyError):
        draw_explanation(explained(bell(9, 4), 2), plain_frames(3))


@pytest.mark.parametrize(
    "sampler",
    [
        pytest.param(MotionGuided(3, inverse="nearest", even=0.2), marks=pytest.mark.slow),
        pytest.param(TopMotion(3), marks=pytest.mark.slow),
        Segment(3),
    ],
)
def test_the_figure_of_a_clip_shows_its_frames_and_is_an_image_in_a_notebook(sampler: Sampler, tmp_path: Path) -> None:
    motion = bell(40, 20)
    indices = 100 + sampler.pick(motion, 40, np.full(3, 0.5))
    large = np.concatenate([np.full((1, 1200, 1600, 3), (t, 255 - t, 128), np.uint8) for t in indices])
    clip = PickedClip(large, indices, indices / 10, motion, 100, sampler, "a.mp4", 10.0)
    figure = picks_figure(clip)
    (tmp_path / "notebook.png").write_bytes(figure._repr_png_())
    save_figure(figure, tmp_path / "saved.png")
    picture = pixels(tmp_path / "saved.png")
    np.testing.assert_array_equal(pixels(tmp_path / "notebook.png"), picture)
    columns = [find(picture, (t, 255 - t, 128))[:, 1].mean() for t in indices.tolist()]
    assert columns == sorted(columns)
    below = [axes.get_xlabel() for axes in figure.axes]
    assert all(f"{t}  ({t / 10:.2f} s)" in below for t in indices.tolist())
