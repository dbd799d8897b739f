"""Settings of encoding: what presets contain, what is refused, and which encoders there are."""

from __future__ import annotations

from dataclasses import replace

import av
import pytest
from av.video.frame import PictureType

from mgdali.errors import DatasetError
from mgdali.packing import encoding as module
from mgdali.packing.encoding import ENCODERS, Encoding

I, P, B = PictureType.I, PictureType.P, PictureType.B  # noqa: E741


def test_small_is_the_default_with_groups_of_eight() -> None:
    encoding = Encoding()
    assert encoding == Encoding(preset="small", codec="h264", gop=8, short_side=256)
    assert encoding.encoder == "libx264"
    assert (Encoding(preset="fast").gop, Encoding(preset="archive").gop) == (1, 250)


def test_options_override_the_preset() -> None:
    encoding = Encoding(preset="archive", codec="hevc", gop=12, quality=30, short_side=128)
    assert (encoding.codec, encoding.gop, encoding.quality, encoding.short_side) == ("hevc", 12, 30, 128)
    assert encoding.options["crf"] == "30"
    assert "keyint=12:" in encoding.options["x265-params"]
    assert replace(encoding, gop=5).gop == 5


def test_each_codec_has_its_own_quality_scale() -> None:
    assert Encoding(codec="av1").quality > Encoding(codec="h264").quality
    assert Encoding(codec="av1", quality=63).options["crf"] == "63"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"preset": "tiny"}, "preset must be one of small, fast, archive, got 'tiny'"),
        ({"codec": "vp9"}, "codec must be one of h264, hevc, av1, got 'vp9'"),
        ({"gop": 0}, "gop must be an integer >= 1, got 0"),
        ({"gop": 2.5}, "gop must be an integer >= 1, got 2.5"),
        ({"quality": 52}, "quality must be an integer from 1 to 51, got 52"),
        ({"quality": 0}, "quality must be an integer from 1 to 51, got 0"),
        ({"codec": "av1", "quality": 64}, "quality must be an integer from 1 to 63, got 64"),
        ({"short_side": 1}, "short_side must be an integer >= 2, got 1"),
    ],
)
def test_invalid_values_are_refused_by_name(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Encoding(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("gop", "types"),
    [
        (1, [I, I, I, I]),
        (2, [I, P, I, P]),
        (4, [I, B, B, P, I, P]),
        (8, [I, B, B, B, B, B, B, P, I, B, P]),
        (20, [I, *[B] * 16, P, B, P, I]),
    ],
)
def test_a_group_is_a_key_frame_b_frames_and_a_p_frame_also_at_the_end(gop: int, types: list[PictureType]) -> None:
    encoding = Encoding(gop=gop)
    last = len(types) - 1
    assert [encoding.frame_type(t, last=t == last) for t in range(len(types))] == types


def test_the_encoder_chooses_the_types_of_archives_and_of_av1() -> None:
    for encoding in (Encoding(preset="archive"), Encoding(codec="av1")):
        assert {encoding.frame_type(t, last=False) for t in range(20)} == {PictureType.NONE}


def test_an_encoder_that_ffmpeg_lacks_is_reported_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    for codec in ENCODERS:
        Encoding(codec=codec).check_encoder()
    monkeypatch.setitem(module.ENCODERS, "hevc", "libmissing")
    message = f"'hevc' needs the encoder libmissing, .* PyAV {av.__version__}: choose another codec: h264, av1"
    with pytest.raises(DatasetError, match=message):
        Encoding(codec="hevc").check_encoder()
