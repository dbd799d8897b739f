"""The job of a worker where a GPU decodes: the encoded file for the GPU, or the clip."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from mgdali import MotionGuided, Segment, VideoDataset
from mgdali.choices import draw
from mgdali.errors import VideoDecodeError
from mgdali.gpu.decoder_memory import decoding_bytes
from mgdali.gpu.nvdec import ANY_GPU
from mgdali.index.measure import measure_video
from mgdali.packing.encode import encode_video
from mgdali.packing.encoding import Codec, Encoding, Preset
from mgdali.samplers import Representation, Sampler
from mgdali.transforms import SpatialTransform
from mgdali.video.colour import colour_correction
from mgdali.video.frames import read_frames
from mgdali.video.media import Media
from mgdali.video.packet_bytes import parts_of_runs
from mgdali.video.picked_frames import frames_needed, needed_packets
from mgdali.video.record import VideoRecord
from mgdali.workers.clip_job import ClipJob, ClipLoader, ClipResult
from mgdali.workers.encoded_job import GRAPH_FAILED, EncodedConfig, EncodedLoader, EncodedResult
from tests.support.coded_videos import CODED
from tests.support.videos import moving_square, write_video
from tests.video.test_colour import TAGS, planes, write_tagged
from tests.video.test_packet_bytes import without_container

TRANSFORM = SpatialTransform(crop_size=16, resize=20)


def config_of(sampler: Sampler, **settings: Any) -> EncodedConfig:
    return EncodedConfig(sampler=sampler, transform=TRANSFORM, memory_budget=1 << 30, nvdec=ANY_GPU, **settings)


def numpy_memory(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    return np.zeros(shape, np.uint8)


class Memory:
    """Memory that can be looked at after a job."""

    def __call__(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        self.content = numpy_memory(shape)
        return self.content


@pytest.mark.parametrize("sampler", [MotionGuided(num_frames=5), Segment(num_frames=5)])
def test_with_a_record_the_graph_gets_the_picks_and_decodes_only_these(dataset: VideoDataset, sampler: Any) -> None:
    config = config_of(sampler)
    for index, video in enumerate(dataset):
        choices = draw(0, 0, index, 5, training=True)
        record = measure_video(video.media, video.path, (Representation(),))
        clip = ClipLoader(config).load(ClipJob(video.media, choices), numpy_memory)
        known = EncodedLoader(config).load(ClipJob(video.media, choices, record), numpy_memory)
        whole = EncodedLoader(config).load(ClipJob(video.media, choices), numpy_memory)
        assert isinstance(known, EncodedResult)
        assert isinstance(whole, EncodedResult)
        assert known.picks is not None
        assert whole.picks is None
        assert known.picks.tolist() == clip.picks.tolist()
        assert (known.num_frames, known.window, known.flip) == (clip.num_frames, whole.window, whole.flip)
        assert known.gpu_bytes == decoding_bytes(known.frames_decoded, 5, known.frame_bytes)
        assert whole.frames_decoded == clip.num_frames
        needed = frames_needed(record, sorted(set(known.picks.tolist())))
        assert known.frames_decoded == needed
        assert known.unindexed is None


def test_for_a_growing_index_the_gpus_videos_are_measured_once_by_pyav(dataset: VideoDataset) -> None:
    sampler = MotionGuided(num_frames=5)
    config = config_of(sampler, make_records=True)
    loader = EncodedLoader(config)
    video, choices = dataset[3], draw(0, 0, 3, 5, training=True)
    first = loader.load(ClipJob(video.media, choices), numpy_memory)
    assert isinstance(first, ClipResult)
    assert first.record is not None
    later = loader.load(ClipJob(video.media, choices, first.record), numpy_memory)
    assert isinstance(later, EncodedResult)
    assert later.picks is not None
    assert later.picks.tolist() == first.picks.tolist()


def test_pyav_uses_the_record_of_a_video_that_the_gpu_cannot_decode(tmp_path: Path) -> None:
    path = write_video(tmp_path / "444.mp4", moving_square(20, 48, 64), pixel_format="yuv444p")
    media, choices = Media(str(path)), draw(0, 0, 0, 5, training=False)
    config = config_of(Segment(num_frames=5))
    result = EncodedLoader(config).load(ClipJob(media, choices, measure_video(media, str(path), ())), numpy_memory)
    assert isinstance(result, ClipResult)
    assert result.frames_decoded < 20


def test_a_file_that_falls_back_to_pyav_is_read_and_probed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(tmp_path / "444.mp4", moving_square(9, 48, 64), pixel_format="yuv444p")
    config = config_of(MotionGuided(num_frames=5))
    job = ClipJob(Media(str(path)), draw(0, 0, 0, 5, training=True))
    memory: list[NDArray[np.uint8]] = []

    def allocate(shape: tuple[int, ...]) -> NDArray[np.uint8]:
        memory.append(numpy_memory(shape))
        return memory[-1]

    expected = ClipLoader(config).load(job, allocate)
    read = Media.read

    def read_and_remove(media: Media) -> bytes:
        content = read(media)
        path.unlink(missing_ok=True)
        return content

    # A second read of the file would fail.
    monkeypatch.setattr(Media, "read", read_and_remove)
    result = EncodedLoader(config).load(job, allocate)
    assert isinstance(result, ClipResult)
    assert not path.exists()
    assert result.picks.tolist() == expected.picks.tolist()
    assert (memory[0] == memory[1]).all()


def test_pyav_makes_the_clip_of_a_video_that_the_graph_failed_on(dataset: VideoDataset) -> None:
    config = config_of(Segment(num_frames=3))
    video = dataset[0]
    choices = draw(0, 0, 0, 3, training=False)
    again = EncodedLoader(config).load(ClipJob(video.media, choices, on_gpu=False), numpy_memory)
    clip = ClipLoader(config).load(ClipJob(video.media, choices), numpy_memory)
    assert isinstance(again, ClipResult)
    assert again.not_on_gpu == GRAPH_FAILED
    assert clip.not_on_gpu is None
    assert (again.picks.tolist(), again.num_frames) == (clip.picks.tolist(), clip.num_frames)


def test_frames_of_jpeg_files_are_decoded_by_pyav(real_videos: Path) -> None:
    media = Media(str(real_videos / "frames" / "00001"))
    job = ClipJob(media, draw(0, 0, 0, 3, training=False))
    result = EncodedLoader(config_of(Segment(num_frames=3))).load(job, numpy_memory)
    assert isinstance(result, ClipResult)
    assert result.not_on_gpu == "DALI does not decode JPEG frames on a GPU"


def avi_with_b_frames(tmp_path: Path) -> Media:
    return Media(str(write_video(tmp_path / "a.avi", moving_square(20, 48, 64), options={"bf": "2", "preset": "fast"})))


def frames_of(content: NDArray[np.uint8], tmp_path: Path) -> list[NDArray[np.uint8]]:
    (tmp_path / "copy.mkv").write_bytes(content)
    return [frame.to_ndarray() for frame in read_frames(tmp_path / "copy.mkv")]


def test_a_file_without_reliable_times_is_decoded_by_pyav_if_it_has_no_record(tmp_path: Path) -> None:
    job = ClipJob(avi_with_b_frames(tmp_path), draw(0, 0, 0, 3, training=False))
    result = EncodedLoader(config_of(MotionGuided(num_frames=3))).load(job, numpy_memory)
    assert isinstance(result, ClipResult)
    assert "its container avi does not have reliable presentation times" in str(result.not_on_gpu)


def test_a_file_without_reliable_times_is_copied_as_far_as_known_picks_need_it(tmp_path: Path) -> None:
    media, memory = avi_with_b_frames(tmp_path), Memory()
    job = ClipJob(media, draw(0, 0, 0, 3, training=False), measure_video(media, media.path, ()))
    result = EncodedLoader(config_of(Segment(num_frames=3))).load(job, memory)
    assert isinstance(result, EncodedResult)
    assert result.places is not None
    assert result.picks is not None
    copied, whole = frames_of(memory.content, tmp_path), [frame.to_ndarray() for frame in read_frames(media)]
    assert len(copied) == result.frames_decoded < len(whole)
    for place, pick in zip(result.places.tolist(), result.picks.tolist(), strict=True):
        assert (copied[place] == whole[pick]).all()


def test_a_record_without_the_samplers_motion_still_has_the_order_of_the_frames(tmp_path: Path) -> None:
    media, memory = avi_with_b_frames(tmp_path), Memory()
    record = measure_video(media, media.path, (Representation(channels="rgb"),))
    job = ClipJob(media, draw(0, 0, 0, 3, training=False), record)
    result = EncodedLoader(config_of(MotionGuided(num_frames=3))).load(job, memory)
    assert isinstance(result, EncodedResult)
    assert result.picks is result.places is None
    assert result.unindexed is not None
    copied, whole = frames_of(memory.content, tmp_path), [frame.to_ndarray() for frame in read_frames(media)]
    assert len(copied) == len(whole) == result.num_frames == result.frames_decoded
    assert all((own == other).all() for own, other in zip(copied, whole, strict=True))


def test_a_video_with_a_crop_is_decoded_in_its_coded_size_and_its_visible_part_is_told(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", moving_square(12, 60, 84))
    job, memory = ClipJob(Media(str(path)), draw(0, 0, 0, 3, training=False)), Memory()
    result = EncodedLoader(config_of(MotionGuided(num_frames=3))).load(job, memory)
    assert isinstance(result, EncodedResult)
    assert (result.visible, result.frame_bytes) == ((0, 0, 60, 84), 3 * 64 * 96)
    assert result.window == TRANSFORM.window(60, 84, job.choices)
    (tmp_path / "copy.mkv").write_bytes(memory.content)
    frames = list(read_frames(tmp_path / "copy.mkv"))
    assert {(frame.width, frame.height) for frame in frames} == {(96, 64)}
    for own, frame in zip(frames, read_frames(path), strict=True):
        assert (own.to_ndarray(format="gray")[:60, :84] == frame.to_ndarray(format="gray")).all()


@pytest.mark.parametrize("tag", TAGS)
def test_the_matrix_of_the_stream_chooses_the_correction(tmp_path: Path, tag: str) -> None:
    path = write_tagged(tmp_path / "a.mp4", planes(seed=0), matrix=TAGS[tag], full=False)
    job = ClipJob(Media(str(path)), draw(0, 0, 0, 3, training=False))
    result = EncodedLoader(config_of(Segment(num_frames=3))).load(job, numpy_memory)
    assert isinstance(result, EncodedResult)
    assert (result.colours == colour_correction("bt601" if tag == "untagged" else tag)).all()


def test_a_stream_whose_packets_cannot_be_copied_is_decoded_by_pyav(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    media = Media(str(write_video(tmp_path / "a.mp4", moving_square(12, 48, 64))))

    def refuse(*args: Any, **settings: Any) -> None:
        raise VideoDecodeError(media.path, 0, "its parameter sets change in packet 5")

    monkeypatch.setattr("mgdali.workers.encoded_job.remux_picked", refuse)
    job = ClipJob(media, draw(0, 0, 0, 3, training=False), measure_video(media, media.path, ()))
    result = EncodedLoader(config_of(Segment(num_frames=3))).load(job, numpy_memory)
    assert isinstance(result, ClipResult)
    assert result.not_on_gpu == "its parameter sets change in packet 5"


def test_a_video_beyond_the_gpus_memory_is_decoded_by_pyav(tmp_path: Path) -> None:
    media = Media(str(write_video(tmp_path / "a.mp4", moving_square(12, 48, 64))))
    job = ClipJob(media, draw(0, 0, 0, 3, training=False))
    needed = (12 + 3 + 8) * 3 * 48 * 64
    loader = EncodedLoader(config_of(MotionGuided(num_frames=3), gpu_memory_budget=needed))
    assert isinstance(loader.load(job, numpy_memory), EncodedResult)
    loader = EncodedLoader(config_of(MotionGuided(num_frames=3), gpu_memory_budget=needed - 1))
    result = loader.load(job, numpy_memory)
    assert isinstance(result, ClipResult)
    assert result.not_on_gpu == f"its {needed} bytes of frames exceed gpu_memory_budget={needed - 1}"


PACKED = [("small", "h264"), ("fast", "h264"), ("archive", "h264"), ("small", "hevc"), ("archive", "hevc")]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A function that returns a packed video of 60 frames, 84 by 60 pixels, and its record."""
    folder = tmp_path_factory.mktemp("packed")

    def make(preset: Preset, codec: Codec) -> tuple[Media, VideoRecord]:
        source = write_video(folder / f"{preset}-{codec}.avi", moving_square(60, 60, 84), codec="mpeg4")
        copy = encode_video(Media(str(source)), Encoding(preset=preset, codec=codec), (Representation(),))
        path = folder / f"{preset}-{codec}.mp4"
        path.write_bytes(copy.content)
        fingerprint = Media(str(path)).fingerprint()
        return Media(str(path)), replace(copy.record, path=str(path), fingerprint=fingerprint)

    return cache(make)


@contextmanager
def only_parts_are_read() -> Iterator[list[tuple[int, int]]]:
    """Yield the parts of videos that are read in the block, where no whole file can be read."""
    spans: list[tuple[int, int]] = []
    read = Media.read_parts

    def noted(media: Media, parts: list[tuple[int, int]]) -> list[bytes]:
        spans.extend(parts)
        return read(media, parts)

    def refuse(media: Media) -> bytes:
        raise AssertionError("the whole file is read")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Media, "read_parts", noted)
        patch.setattr(Media, "read", refuse)
        patch.setattr(Media, "open", refuse)
        yield spans


@pytest.mark.parametrize(("preset", "codec"), PACKED)
@pytest.mark.parametrize("sampler", [MotionGuided(num_frames=5), Segment(num_frames=5)], ids=["guided", "segment"])
def test_a_packed_videos_needed_packets_are_read_alone_and_joined(
    preset: Preset, codec: Codec, sampler: Any, packed: Any
) -> None:
    media, record = packed(preset, codec)
    whole, memory = [frame.to_ndarray(format="gray") for frame in read_frames(media)], Memory()
    config = config_of(sampler)
    choices = draw(0, 0, 0, 5, training=True)
    unplaced = replace(record, packet_offsets=None, packet_sizes=None)
    by_file = EncodedLoader(config).load(ClipJob(media, choices, unplaced), numpy_memory)
    with only_parts_are_read() as spans:
        result = EncodedLoader(config).load(ClipJob(media, choices, record), memory)
    assert isinstance(result, EncodedResult)
    assert isinstance(by_file, EncodedResult)
    assert result.picks is not None
    assert result.places is not None
    picks = sorted(set(result.picks.tolist()))
    assert spans == [span for span, _ in parts_of_runs(record, needed_packets(record, picks))]
    assert result.frames_decoded == frames_needed(record, picks)
    if preset == "small":
        assert result.frames_decoded <= 3 * len(picks)
    copied = [frame.to_ndarray(format="gray")[:60, :84] for frame in read_in_memory(memory.content)]
    assert len(copied) == result.frames_decoded
    for place, pick in zip(result.places.tolist(), result.picks.tolist(), strict=True):
        assert (copied[place] == whole[pick]).all()
    # Nothing but the bytes differs from what the job returns that reads the file.
    for name in ("window", "flip", "num_frames", "frames_decoded", "frame_bytes", "visible", "unindexed"):
        assert getattr(result, name) == getattr(by_file, name), name
    for name in ("offsets", "colours", "picks", "places"):
        assert (getattr(result, name) == getattr(by_file, name)).all(), name


def read_in_memory(content: NDArray[np.uint8]) -> list[av.VideoFrame]:
    return list(read_frames(Media("copy.mkv", content=content.tobytes())))


def test_a_packed_video_of_a_codec_that_the_gpu_lacks_is_not_read_before_pyav_decodes_it(packed: Any) -> None:
    media, record = packed("small", "hevc")
    table = {codec: caps for codec, caps in ANY_GPU.items() if codec != "hevc"}
    config = replace(config_of(Segment(num_frames=3)), nvdec=table)
    job = ClipJob(media, draw(0, 0, 0, 3, training=False), record)
    with only_parts_are_read() as spans:
        result = EncodedLoader(config).load(job, numpy_memory)
    assert isinstance(result, ClipResult)
    assert result.not_on_gpu == "NVDEC of this GPU does not decode hevc"
    assert len(spans) == len(set(spans)) > 0
    assert result.frames_decoded <= 9


@pytest.mark.parametrize(
    ("preset", "codec", "reason"),
    [
        # SVT-AV1 writes frames that are not displayed.
        ("small", "av1", "coded frames in 60 packets"),
        ("fast", "av1", "its coded size 88x64 differs from its displayed size 84x60"),
        # x265 declares a profile of the range extensions for streams of key frames only.
        ("fast", "hevc", "NVDEC does not decode profile 4 of hevc"),
    ],
)
def test_a_packed_video_that_nvdec_does_not_decode_is_decoded_by_pyav_with_the_reason(
    preset: Preset, codec: Codec, reason: str, packed: Any
) -> None:
    media, record = packed(preset, codec)
    job, memories = ClipJob(media, draw(0, 0, 0, 3, training=False), record), (Memory(), Memory())
    config = config_of(Segment(num_frames=3))
    with only_parts_are_read() as spans:
        result = EncodedLoader(config).load(job, memories[0])
    assert len(spans) == len(set(spans)) > 0
    expected = ClipLoader(config).load(job, memories[1])
    assert isinstance(result, ClipResult)
    assert reason in str(result.not_on_gpu)
    assert (memories[0].content == memories[1].content).all()
    assert result.frames_decoded == expected.frames_decoded


def test_packets_of_open_groups_are_joined_from_the_first_one(tmp_path: Path) -> None:
    source, path = CODED["h264-mp4"].write(tmp_path), tmp_path / "packets"
    record = without_container(source, path)
    media, memory = Media(str(path)), Memory()
    record = replace(record, path=str(path), fingerprint=media.fingerprint())
    job = ClipJob(media, draw(0, 0, 0, 3, training=False), record)
    result = EncodedLoader(config_of(Segment(num_frames=3))).load(job, memory)
    assert isinstance(result, EncodedResult)
    assert result.places is not None
    assert result.picks is not None
    copied, whole = read_in_memory(memory.content), list(read_frames(source))
    assert len(copied) == result.frames_decoded > frames_needed(record, sorted(set(result.picks.tolist())))
    for place, pick in zip(result.places.tolist(), result.picks.tolist(), strict=True):
        assert (copied[place].to_ndarray() == whole[pick].to_ndarray()).all()


def test_a_packed_video_that_was_cut_off_is_an_error_of_the_video(packed: Any, tmp_path: Path) -> None:
    media, record = packed("small", "h264")
    path = tmp_path / "cut.mp4"
    path.write_bytes(media.read()[:-100])
    # The record is of a file of this size, as if the end had been lost after the record was compared with the file.
    record = replace(record, fingerprint=Media(str(path)).fingerprint())
    job = ClipJob(Media(str(path)), draw(0, 0, 0, 60, training=False), record)
    with pytest.raises(VideoDecodeError, match=r"cut\.mp4"):
        EncodedLoader(config_of(Segment(num_frames=60))).load(job, numpy_memory)


@pytest.mark.parametrize("tag", [tag for tag in TAGS if tag != "untagged"])
def test_the_matrix_in_the_headers_of_a_packed_video_chooses_the_correction(tmp_path: Path, tag: str) -> None:
    source = write_tagged(tmp_path / "a.mp4", planes(seed=0), matrix=TAGS[tag], full=False)
    copy = encode_video(Media(str(source)), Encoding(), (Representation(),))
    path = tmp_path / "packed.mp4"
    path.write_bytes(copy.content)
    job = ClipJob(
        Media(str(path)),
        draw(0, 0, 0, 3, training=False),
        replace(copy.record, path=str(path), fingerprint=Media(str(path)).fingerprint()),
    )
    result = EncodedLoader(config_of(Segment(num_frames=3))).load(job, numpy_memory)
    assert isinstance(result, EncodedResult)
    assert (result.colours == colour_correction(tag)).all()
