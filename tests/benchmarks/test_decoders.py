"""The decoders that the GPU route is compared with: what needs no GPU, and the calls of the libraries' interfaces."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mgdali.video.frames import read_frames
from tests.support.benchmark_modules import script
from tests.support.videos import moving_square, write_video

# Nothing of the package is tested here.
pytestmark = pytest.mark.slow

decoders, decoder_process = script("decoders"), script("decoder_process")
decoder_session = script("decoder_session")


def video(path: str = "some.mp4", **changes: Any) -> Any:
    """A video of 40 frames of 8 by 4 pixels, with a key frame every 10 frames."""
    facts: dict[str, Any] = {
        "path": path,
        "codec": "h264",
        "width": 8,
        "height": 4,
        "num_frames": 40,
        "picks": (3, 17, 17, 21),
        "from_key_frames": 4 + 8 + 2,
        "bt709": False,
        "full_range": False,
    }
    return decoders.Video(**{**facts, **changes})


# --- Arithmetic ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("picks", "key_frames", "expected"),
    [
        ([0], [0], 1),
        ([9], [0], 10),
        ([3, 9], [0], 10),
        ([3, 3, 9], [0, 5], 4 + 5),
        ([5], [0, 5], 1),
        ([4, 6, 29], [0, 5, 20], 5 + 2 + 10),
        ([2], [], 3),
    ],
)
def test_frames_are_counted_from_the_key_frame_before_each_pick(
    picks: list[int], key_frames: list[int], expected: int
) -> None:
    assert decoders.frames_from_key_frames(picks, key_frames) == expected


def test_repeated_picks_find_their_place_among_the_distinct_ones() -> None:
    assert decoders.restored([3, 17, 21], (3, 17, 17, 21)) == [0, 1, 1, 2]


@pytest.mark.parametrize("bt709", [False, True])
@pytest.mark.parametrize("full_range", [False, True])
def test_nv12_becomes_the_rgb_that_ffmpeg_made_it_of(bt709: bool, full_range: bool) -> None:
    # Blocks of one colour, so that the resolution of chroma loses nothing. Dark and bright ones are not clipped.
    colours = np.random.default_rng(0).integers(30, 226, (3, 16, 24, 3), np.uint8)
    frames = colours.repeat(8, 1).repeat(8, 2)
    planes = [
        av.VideoFrame.from_ndarray(frame, "rgb24")
        .reformat(
            format="nv12",
            dst_colorspace="ITU709" if bt709 else "ITU601",
            dst_color_range="JPEG" if full_range else "MPEG",
        )
        .to_ndarray()
        for frame in frames
    ]
    rgb = decoders.nv12_to_rgb(torch.from_numpy(np.stack(planes)), bt709=bt709, full_range=full_range)
    assert rgb.shape == (3, 3, 128, 192)
    assert rgb.dtype == torch.uint8
    # In the middle of a block FFmpeg's interpolation does not mix colours.
    found = rgb.permute(0, 2, 3, 1).numpy()[:, 4::8, 4::8].astype(int)
    difference = np.abs(found - colours)
    assert difference.mean() < 1.5
    assert difference.max() <= 5


# --- The calls of the libraries --------------------------------------------------------------------------------------
# The libraries need a GPU. The fakes have the part of their interface that is used, and frames that show their number.


def nv12_frames(numbers: range) -> torch.Tensor:
    """Frames of 8 by 4 pixels whose luma, 16 + the number, becomes grey."""
    frames = torch.full((len(numbers), 6, 8), 128, dtype=torch.uint8)
    frames[:, :4] = torch.tensor([16 + number for number in numbers], dtype=torch.uint8)[:, None, None]
    return frames


def rgb_frame(number: int) -> torch.Tensor:
    return torch.full((4, 8, 3), number, dtype=torch.uint8)


def numbers_of(picked: Any, scale: float = 1.0) -> list[int]:
    assert picked.frames.shape == (4, 3, 4, 8)
    assert picked.frames.dtype == torch.uint8
    return [round(float(frame[:, 0, 0].float().mean()) / scale) for frame in picked.frames]


@pytest.fixture(autouse=True)
def stream(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """torch's current CUDA stream, which notes that it was waited for."""
    notes: list[str] = []
    own = SimpleNamespace(cuda_stream=77, synchronize=lambda: notes.append("synchronize"))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: own)
    return notes


@pytest.fixture
def spdl(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A fake of ``spdl.io``, as notes of its calls."""
    notes: dict[str, Any] = {"streams": 0}
    packets = SimpleNamespace(codec="the codec", annex_b=False)

    def cuda_config(*, device_index: int, stream: int, allocator: tuple[Any, Any]) -> str:
        notes["config"] = (device_index, stream, [function.__name__ for function in allocator])
        return "the config"

    def apply_bsf(given: Any, name: str) -> Any:
        assert given is packets
        return SimpleNamespace(annex_b=name == "h264_mp4toannexb")

    def nvdec_decoder(config: str, codec: str) -> Any:
        assert (config, codec) == ("the config", "the codec")

        def decode_packets(given: Any) -> torch.Tensor:
            assert given.annex_b
            return nv12_frames(range(40))

        return SimpleNamespace(decode_packets=decode_packets)

    def streaming(path: str, config: str, *, num_frames: int) -> Iterator[torch.Tensor]:
        assert config == "the config"
        try:
            for start in range(0, 40, num_frames):
                yield nv12_frames(range(start, min(40, start + num_frames)))
            notes["streams"] += 100
        finally:
            notes["streams"] += 1

    io = ModuleType("spdl.io")
    functions = (cuda_config, apply_bsf, nvdec_decoder)
    io.__dict__.update({function.__name__: function for function in functions})
    io.__dict__.update(demux_video=lambda path: packets, to_torch=lambda buffer: buffer)
    io.__dict__["streaming_load_video_nvdec"] = streaming
    package = ModuleType("spdl")
    package.__dict__["io"] = io
    monkeypatch.setitem(sys.modules, "spdl", package)
    monkeypatch.setitem(sys.modules, "spdl.io", io)
    return notes


SCALE = 255 / 219
"""A step of luma in the narrow range, in steps of RGB."""


def test_spdl_decodes_all_frames_and_converts_the_picked_ones(spdl: dict[str, Any]) -> None:
    picked = decoders.Spdl(8, 4).every(video())
    assert numbers_of(picked, SCALE) == [3, 17, 17, 21]
    assert picked.decoded == 40
    # Its memory comes from torch's pool, on the thread's stream.
    assert spdl["config"] == (0, 77, ["caching_allocator_alloc", "caching_allocator_delete"])


def test_spdl_stops_after_the_last_pick(spdl: dict[str, Any]) -> None:
    decoder = decoders.Spdl(8, 4)
    picked = decoder.needed(video())
    assert numbers_of(picked, SCALE) == [3, 17, 17, 21]
    # Two batches of 16 frames; the stream was closed before its end.
    assert picked.decoded == 32
    assert spdl["streams"] == 1
    assert decoder.needed(video(picks=(0, 1, 2, 39))).decoded == 40


def test_frames_of_another_size_are_an_error(spdl: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"SPDL returned frames of the shape \(4, 6, 8\), not \(4, 6, 16\)"):
        decoders.Spdl(8, 4).every(video(width=16))


class SimpleDecoder:
    """The part of PyNvVideoCodec's class that is used. Its frames are overwritten by the next call."""

    def __init__(self, path: str, **arguments: Any) -> None:
        self.path, self.arguments = path, arguments
        self.position = 0
        self.shown: list[torch.Tensor] = []

    def reconfigure_decoder(self, path: str) -> None:
        self.path, self.position = path, 0

    def get_batch_frames(self, count: int) -> list[torch.Tensor]:
        numbers = range(self.position, min(40, self.position + count))
        self.position = numbers.stop
        return self._show(list(numbers))

    def get_batch_frames_by_index(self, indices: list[int]) -> list[torch.Tensor]:
        assert indices == sorted(set(indices))
        return self._show(indices)

    def _show(self, numbers: list[int]) -> list[torch.Tensor]:
        for frame in self.shown:
            frame.fill_(255)
        self.shown = [rgb_frame(number) for number in numbers]
        return self.shown


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[SimpleDecoder]:
    """The decoders that are made of a fake PyNvVideoCodec."""
    found: list[SimpleDecoder] = []

    def make(path: str, **arguments: Any) -> SimpleDecoder:
        found.append(SimpleDecoder(path, **arguments))
        return found[-1]

    library = ModuleType("PyNvVideoCodec")
    library.__dict__.update(SimpleDecoder=make, OutputColorType=SimpleNamespace(RGB="rgb"))
    monkeypatch.setitem(sys.modules, "PyNvVideoCodec", library)
    return found


def test_pynvvideocodec_decodes_all_frames_with_one_decoder_for_all_files(
    made: list[SimpleDecoder], stream: list[str]
) -> None:
    decoder = decoders.PyNvVideoCodec(640, 360)
    for path in ("a.mp4", "b.mp4"):
        picked = decoder.every(video(path))
        assert numbers_of(picked) == [3, 17, 17, 21]
        assert picked.decoded == 40
    (own,) = made
    assert own.path == "b.mp4"
    expected = {"gpu_id": 0, "cuda_stream": 77, "use_device_memory": True, "max_width": 640, "max_height": 360}
    assert own.arguments == {**expected, "output_color_type": "rgb"}
    assert stream == ["synchronize"]


def test_pynvvideocodec_is_asked_for_each_picked_frame_once(made: list[SimpleDecoder]) -> None:
    picked = decoders.PyNvVideoCodec(640, 360).needed(video())
    assert numbers_of(picked) == [3, 17, 17, 21]
    assert picked.decoded is None


def test_missing_frames_are_an_error(made: list[SimpleDecoder]) -> None:
    with pytest.raises(ValueError, match="PyNvVideoCodec returned 1 of 2 frames"):
        decoders.PyNvVideoCodec(640, 360).every(video(picks=(3, 3, 3, 41)))


class VideoDecoder:
    """The part of torchcodec's class that is used."""

    fallback = ""

    def __init__(self, source: str, *, device: str, seek_mode: str) -> None:
        assert (source, device, seek_mode) == ("some.mp4", "cuda", "exact")
        self.cpu_fallback = self.fallback

    def get_all_frames(self) -> Any:
        return self.get_frames_at(indices=list(range(40)))

    def get_frames_at(self, *, indices: list[int]) -> Any:
        return SimpleNamespace(data=torch.stack([rgb_frame(index) for index in indices]).permute(0, 3, 1, 2))


@pytest.fixture
def torchcodec(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A fake of ``torchcodec.decoders``, as its names."""
    module, package = ModuleType("torchcodec.decoders"), ModuleType("torchcodec")
    module.__dict__["VideoDecoder"] = VideoDecoder
    package.__dict__["decoders"] = module
    monkeypatch.setitem(sys.modules, "torchcodec", package)
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", module)
    return module.__dict__


def test_torchcodec_decodes_all_frames_or_those_that_are_asked_for(torchcodec: dict[str, Any]) -> None:
    capacities: list[int] = []
    torchcodec["set_nvdec_cache_capacity"] = capacities.append
    decoder = decoders.TorchCodec(8, 4)
    assert capacities == [64]
    every, needed = decoder.every(video()), decoder.needed(video())
    assert numbers_of(every) == numbers_of(needed) == [3, 17, 17, 21]
    assert (every.decoded, needed.decoded) == (40, 14)


@pytest.mark.usefixtures("torchcodec")
def test_torchcodec_must_not_decode_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VideoDecoder, "fallback", "Falling back due to: NVcuvid unavailable")
    with pytest.raises(ValueError, match="torchcodec does not decode on the GPU: Falling back"):
        decoders.TorchCodec(8, 4).every(video())


# --- The process -----------------------------------------------------------------------------------------------------


class PyAVDecoder:
    """A decoder of one thread that decodes real files on the CPU."""

    def __init__(self, max_width: int, max_height: int) -> None:
        # The videos are up to 160 wide and 176 high.
        assert (max_width, max_height) == (192, 192)

    def every(self, own: Any) -> Any:
        frames = [frame.to_ndarray(format="rgb24") for frame in read_frames(own.path)]
        return decoders.Picked(self._stacked([frames[i] for i in own.picks]), len(frames))

    def needed(self, own: Any) -> Any:
        return decoders.Picked(self.every(own).frames, None if own.codec == "unknown" else own.picks[-1] + 1)

    @staticmethod
    def _stacked(frames: list[NDArray[np.uint8]]) -> torch.Tensor:
        return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """Three videos, the first twice, with the clips that torch makes of PyAV's frames as references."""
    folder = tmp_path_factory.mktemp("videos")
    found = []
    for number, (height, width) in enumerate([(120, 160), (96, 96), (176, 144)]):
        path = write_video(folder / f"{number}.mp4", moving_square(12, height, width, seed=number))
        facts = {"path": str(path), "width": width, "height": height, "num_frames": 12, "picks": (1, 4, 4, 9)}
        own = video(**facts)
        clip = decoder_session.clip_of(PyAVDecoder(192, 192).every(own).frames)
        np.save(folder / f"{number}.npy", clip.numpy())
        found.append(video(**facts, reference=str(folder / f"{number}.npy")))
    return [*found, found[0]]


def session(videos: list[Any]) -> Any:
    baseline = decoders.Baseline(module="av", make=PyAVDecoder, every="", needed="")
    return decoder_session.Session(baseline, videos, device="cpu")


def test_an_epoch_decodes_each_video_and_counts_frames(videos: list[Any]) -> None:
    own = session(videos)
    assert own.prepare() == {"version": av.__version__}
    assert own.epoch(threads=2, every=True)["frames_decoded"] == 4 * 12
    answer = own.epoch(threads=3, every=False)
    assert answer["frames_decoded"] == 4 * 10
    assert answer["seconds"] > 0
    unknown = [*videos, video(path=videos[2].path, codec="unknown", picks=(1, 4, 4, 9))]
    assert session(unknown).epoch(threads=2, every=False)["frames_decoded"] is None


def test_clips_are_compared_with_the_references(videos: list[Any]) -> None:
    answer = session(videos).check(threads=2, every=True)
    assert (answer["frames_decoded"], answer["difference"]["median"], answer["difference"]["most"]) == (48, 0, 0)
    # The reference of another video.
    wrong = [videos[0], video(**{**vars(videos[1]), "reference": videos[2].reference}), videos[2]]
    answer = session(wrong).check(threads=1, every=True)
    assert answer["difference"]["most"] > 5
    assert answer["difference"]["of"] == "1.mp4"


def test_a_video_that_fails_is_named(videos: list[Any]) -> None:
    with pytest.raises(decoder_session.SessionError, match=r"missing\.mp4: "):
        session([video("missing.mp4", width=160, height=176)]).epoch(threads=1, every=True)


@pytest.fixture
def process(videos: list[Any], tmp_path: Path) -> Iterator[Any]:
    """The process of a library that is not installed here."""
    if importlib.util.find_spec("PyNvVideoCodec") is not None:
        pytest.skip("PyNvVideoCodec is installed")
    own = decoder_process.DecoderProcess("pynvvideocodec", videos, tmp_path)
    yield own
    own.close()


def test_a_missing_library_is_reported_in_one_line(process: Any) -> None:
    for _ in range(2):
        with pytest.raises(decoder_process.DecoderError, match="^ModuleNotFoundError: No module named"):
            process.ask("prepare", 60)


def test_a_process_that_does_not_answer_in_time_is_killed(process: Any) -> None:
    with pytest.raises(decoder_process.DecoderError, match="did not answer within 0 s"):
        process.ask("prepare", 0.01)
    with pytest.raises(decoder_process.DecoderError, match="its process ended with status -9"):
        process.ask("prepare", 60)


def test_nvdecs_library_is_linked_under_the_name_without_a_version(tmp_path: Path) -> None:
    library = tmp_path / "libnvcuvid.so.580.1"
    library.touch()
    (tmp_path / "links").mkdir()
    decoder_process.link_driver_library(tmp_path / "links", str(library))
    assert (tmp_path / "links" / "libnvcuvid.so").resolve() == library
    decoder_process.link_driver_library(tmp_path, None)
    assert not (tmp_path / "libnvcuvid.so").exists()
