"""Small videos, one for each kind of coding that decoders treat differently."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tests.support.videos import moving_square, write_video

_GOP = "keyint=12:min-keyint=12:scenecut=0:open-gop=1:b-adapt=0"


@dataclass(frozen=True)
class Coded:
    """Encoder, container and length of a video.

    Attributes:
        codec: FFmpeg's name of the encoder.
        file: Name of the file; its suffix selects the container.
        options: Options of the encoder.
        pixel_format: Pixel format that is encoded.
        num_frames: Number of frames.
        times: Presentation times in 1/1000 s; None for 30 frames per second.
        height, width: Size of the frames, in pixels.
        skips: Whether the stream marks some frames as not referenced by others, so that a decoder may skip them.
    """

    codec: str
    file: str
    options: dict[str, str] = field(default_factory=dict)
    pixel_format: str = "yuv420p"
    num_frames: int = 50
    times: tuple[int, ...] | None = None
    skips: bool = False
    height: int = 64
    width: int = 96

    def write(self, folder: Path) -> Path:
        frames = moving_square(self.num_frames, self.height, self.width, seed=3)
        return write_video(
            folder / self.file,
            frames,
            codec=self.codec,
            pixel_format=self.pixel_format,
            options=dict(self.options),
            times=self.times,
        )


X264 = {"x264-params": f"{_GOP}:bframes=3:b-pyramid=normal"}
X265 = {"x265-params": f"{_GOP}:bframes=4:b-pyramid=1:log-level=none"}
_UNEVEN = tuple(33 * t + 400 * (t // 7) + t % 5 for t in range(50))

CODED = {
    "h264-mp4": Coded("libx264", "h264.mp4", X264, skips=True),
    "h264-mkv": Coded("libx264", "h264.mkv", X264, skips=True),
    "h264-ts": Coded("libx264", "h264.ts", X264, skips=True),
    "h264-no-b-frames": Coded("libx264", "plain.mp4", {"bf": "0", "g": "12"}),
    "h264-one-key-frame": Coded("libx264", "long.mp4", {"x264-params": "keyint=infinite:scenecut=0"}, skips=True),
    "h264-uneven-times": Coded("libx264", "uneven.mp4", X264, times=_UNEVEN, skips=True),
    "h264-one-frame": Coded("libx264", "one.mp4", {"bf": "0"}, num_frames=1),
    "hevc-mp4": Coded("libx265", "hevc.mp4", X265, skips=True),
    "hevc-ts": Coded("libx265", "hevc.ts", X265, skips=True),
    "hevc-layers": Coded("libx265", "layers.mkv", {"x265-params": X265["x265-params"] + ":temporal-layers=3"}),
    "mpeg4-avi": Coded("mpeg4", "mpeg4.avi", {"bf": "2", "g": "12"}, skips=True),
    "mpeg2-mpg": Coded("mpeg2video", "mpeg2.mpg", {"bf": "2", "g": "12"}, skips=True),
    "mpeg2-ts": Coded("mpeg2video", "mpeg2.ts", {"bf": "2", "g": "12"}, skips=True),
    "mjpeg-avi": Coded("mjpeg", "mjpeg.avi", pixel_format="yuvj420p"),
    # On busy cores, several threads of this encoder can wait for each other for minutes.
    "vp8": Coded("libvpx", "vp8.webm", {"g": "12", "threads": "1"}),
    "vp9": Coded("libvpx-vp9", "vp9.webm", {"g": "12"}),
    "vp9-hidden-frames": Coded("libvpx-vp9", "hidden.webm", {"g": "30", "auto-alt-ref": "1", "lag-in-frames": "16"}),
    "av1": Coded("libsvtav1", "av1.mp4", {"g": "12", "svtav1-params": "lookahead=0"}),
}
