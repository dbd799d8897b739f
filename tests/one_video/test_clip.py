"""The picked frames of one video as images and as a figure."""

from __future__ import annotations

import base64
import re
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest

from mgdali.one_video.clip import PickedClip
from mgdali.samplers import MotionGuided


@pytest.fixture
def clip() -> PickedClip:
    frames = np.random.default_rng(0).integers(0, 256, (3, 20, 30, 3), np.uint8)
    motion = np.array([0.0, 4, 1, 1, 4, 2])
    return PickedClip(frames, np.array([11, 12, 14]), np.array([1.1, 1.2, 1.4]), motion, 10, MotionGuided(3), "a", 10.0)


def test_images_are_the_frames(clip: PickedClip) -> None:
    image = pytest.importorskip("PIL.Image")
    images = clip.images()
    assert all(isinstance(each, image.Image) and each.mode == "RGB" for each in images)
    np.testing.assert_array_equal(np.stack([np.asarray(each) for each in images]), clip.frames)


def test_without_pillow_the_error_names_what_to_install(clip: PickedClip, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"pip install 'mgdali\[plot\]'"):
        clip.images()


def test_a_clip_shows_its_values_but_no_pixels(clip: PickedClip) -> None:
    assert len(clip) == 3
    text = repr(clip)
    assert "indices=array([11, 12, 14])" in text
    assert len(text) < 400


@pytest.mark.parametrize(
    "wrong", [{"frames": np.zeros((3, 20, 30), np.uint8)}, {"frames": np.zeros((3, 2, 2, 3))}, {"seconds": np.zeros(2)}]
)
def test_arrays_that_do_not_belong_together_are_refused(clip: PickedClip, wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must"):
        replace(clip, **wrong)  # type: ignore[arg-type]


def test_notebooks_show_small_pictures_with_their_indices_and_times(clip: PickedClip) -> None:
    named = replace(clip, name="<a>.mp4", seconds=np.array([1.1, np.nan, 1.4]))
    text = named._repr_html_()
    assert "&lt;a&gt;.mp4: 3 of 6 frames" in text
    assert re.findall(r"center\">([^<]*)<", text) == ["11 · 1.10 s", "12", "14 · 1.40 s"]
    images = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', text)
    shown = cv2.imdecode(np.frombuffer(base64.b64decode(images[0]), np.uint8), cv2.IMREAD_COLOR)
    assert shown is not None
    assert np.abs(shown[:, :, ::-1].mean((0, 1)) - clip.frames[0].mean((0, 1))).max() < 8
    many = replace(
        clip, frames=clip.frames[[0] * 60], indices=clip.indices[[0] * 60], seconds=clip.seconds[[0] * 60]
    )._repr_html_()
    assert many.count("<img") == 48
    assert "and 12 more" in many
