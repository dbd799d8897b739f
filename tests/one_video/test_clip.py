"""The picked frames of one video as images and as a figure."""

from __future__ import annotations

import sys
from dataclasses import replace

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
