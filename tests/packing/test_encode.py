"""The copy of one video: its frames, its times, its record, and S of the original."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mgdali.index.measure import measure_video
from mgdali.packing.encode import EncodedVideo, encode_video
from mgdali.packing.encoding import Encoding
from mgdali.samplers import Representation
from mgdali.video.frames import read_frames
from mgdali.video.media import Media
from mgdali.video.packets import StreamLog
from mgdali.video.picked_frames import read_picked
from tests.support.coded_videos import CODED

IMAGE, FEATURE = Representation(), Representation(motion="feature")
FIELDS = ("container", "codec", "pixel_format", "rate", "width", "height", "rotation", "num_frames")


def copy_of(path: Path, encoding: Encoding | None = None) -> EncodedVideo:
    return encode_video(Media(str(path)), encoding or Encoding(), (IMAGE,))


def media_of(copy: EncodedVideo) -> Media:
    return Media("copy.tar::copy.mp4", (0, len(copy.content)), content=copy.content)


def assert_record_is_that_of_the_file(copy: EncodedVideo) -> None:
    """Compare the record with a log of decoding the whole copy, and each frame with that of decoding it alone."""
    log, record = StreamLog(), copy.record
    whole = [frame.to_ndarray() for frame in read_frames(media_of(copy), log=log)]
    assert {name: getattr(record, name) for name in FIELDS} == {name: getattr(log, name) for name in FIELDS}
    assert record.time_base == (log.time_base.numerator, log.time_base.denominator)
    for name in ("times", "packets", "referenced", "key_frames"):
        np.testing.assert_array_equal(getattr(record, name), getattr(log, name), err_msg=name)
    for t in range(record.num_frames):
        ((_, frame),) = read_picked(media_of(copy), record, [t])
        np.testing.assert_array_equal(frame.to_ndarray(), whole[t])


def test_the_record_describes_the_file_that_was_written(tmp_path: Path) -> None:
    path = CODED["h264-mp4"].write(tmp_path)
    copy = copy_of(path)
    assert_record_is_that_of_the_file(copy)
    assert copy.record.num_frames == 50
    original = measure_video(Media(str(path)), str(path), (IMAGE,))
    np.testing.assert_array_equal(copy.record.motion["image"], original.motion["image"])
    np.testing.assert_array_equal(copy.record.times, original.times)
    assert copy.record.time_base == original.time_base
    assert copy.origin == original.fingerprint
