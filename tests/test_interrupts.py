"""Tests of Ctrl-C in the callbacks of a library, which drops the exception."""

from __future__ import annotations

import io
import os
import signal
from pathlib import Path

import pytest

from mgdali.interrupts import ctrl_c_after
from mgdali.video.frames import read_frames
from mgdali.video.media import Media
from tests.support.videos import moving_square, write_video


class _Pressing(io.BytesIO):
    """A file during whose first seek by FFmpeg Ctrl-C is pressed."""

    pressed = False

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        if self.tell() > 0 and not self.pressed:
            self.pressed = True
            os.kill(os.getpid(), signal.SIGINT)
        return super().seek(offset, whence)


def test_ctrl_c_while_ffmpeg_seeks_interrupts_and_is_no_damage_of_the_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(tmp_path / "a.mp4", moving_square(200, 240, 320))
    file = _Pressing(path.read_bytes())
    monkeypatch.setattr(Media, "open", lambda self: file)
    with pytest.raises(KeyboardInterrupt):
        list(read_frames(path))
    assert file.pressed
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_handler_is_restored_after_videos_that_are_closed_in_the_order_of_their_opening(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", moving_square(8, 48, 64))
    first, second = read_frames(path), read_frames(path)
    next(first), next(second)
    first.close()
    second.close()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_that_is_installed_in_the_block_stays() -> None:
    def callback() -> None:
        pass

    before = signal.getsignal(signal.SIGINT)
    try:
        with ctrl_c_after(callback):
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_process_that_ignores_ctrl_c_goes_on_ignoring_it(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", moving_square(8, 48, 64))
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        frames = read_frames(path)
        next(frames)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        assert len(list(frames)) == 7
    finally:
        signal.signal(signal.SIGINT, before)
