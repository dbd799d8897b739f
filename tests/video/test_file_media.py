"""Videos in open files: reading them, errors, and who closes them."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from mgdali.errors import VideoDecodeError
from mgdali.video.file_media import FileMedia


class Short(io.BytesIO):
    """A file that returns few bytes at a time, and fails at a position."""

    def __init__(self, content: bytes, fails_at: int | None = None, error: BaseException | None = None) -> None:
        super().__init__(content)
        self._fails_at, self._error = fails_at, error

    def read(self, size: int | None = -1, /) -> bytes:
        if self._error is not None and self.tell() == self._fails_at:
            raise self._error
        return super().read(3 if size is None or size < 0 else min(size, 3))


def test_content_and_parts_are_those_of_the_file() -> None:
    file = Short(bytes(range(50)))
    media = FileMedia("a.mp4", file=file)
    assert media.read() == bytes(range(50))
    assert media.read_parts([(40, 10), (0, 2)]) == [bytes(range(40, 50)), bytes([0, 1])]
    assert media.frame_files() is None
    with pytest.raises(VideoDecodeError, match=r"a\.mp4: it ends 1 bytes before the end of the part at offset 45"):
        media.read_parts([(45, 6)])
    with media.open() as opened:
        opened.seek(9)
        assert (opened.read(2), opened.tell(), opened.name) == (b"\t\n", 11, "a.mp4")
    assert not file.closed


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (OSError("no tape"), OSError, "^no tape$"),
        (ValueError("no tape"), OSError, "reading the file failed: ValueError: no tape"),
        (KeyboardInterrupt(), KeyboardInterrupt, "^$"),
    ],
)
def test_an_error_of_reading_is_raised_again_at_the_end(
    error: BaseException, kind: type[BaseException], message: str
) -> None:
    opened = FileMedia("a.mp4", file=Short(bytes(9), 3, error)).open()
    assert opened.read(5) == bytes(3)
    for _ in range(2):
        # PyAV takes exceptions, but prints and drops a KeyboardInterrupt.
        with pytest.raises(type(error) if isinstance(error, Exception) else OSError):
            opened.read(5)
    with pytest.raises(kind, match=message), opened:
        pass


def test_a_decoder_that_stops_early_does_not_get_the_error() -> None:
    media = FileMedia("a.mp4", file=Short(bytes(9), 0, OSError("no tape")))

    def read() -> object:
        with media.open() as opened:
            with pytest.raises(OSError, match="no tape"):
                opened.read(5)
            yield

    reading = iter(read())  # type: ignore[call-overload]
    next(reading)
    reading.close()


def test_files_on_a_disk_are_read_from_their_beginning(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abcdef")
    with (tmp_path / "a").open("rb") as file:
        file.seek(4)
        assert FileMedia("a", file=file).read() == b"abcdef"
