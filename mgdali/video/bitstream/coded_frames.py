"""Coded frames in the packets of a stream: how many there are, whether all are displayed, whether headers change.

FFmpeg hides all of this from its users: it merges fields, drops frames that are not displayed, and follows changed
headers. DALI's decoder on the GPU does none of this. Therefore some bytes of each packet are read, without decoding.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import av
import av.error
from av.bitstream import BitStreamFilterContext

from mgdali.video.bitstream.sequence_header import SequenceHeader

__all__ = ["BAD_HEADER", "DAMAGED", "CodedFrames", "UncountedFrames"]

DAMAGED = "a packet is damaged"
"""Description of a packet whose parts cannot be found."""

BAD_HEADER = "its sequence header cannot be read"
"""Description of a stream whose sequence header is not valid."""


class CodedFrames(ABC):
    """Coded frames of a stream, noted packet by packet. There is a subclass for each codec.

    Attributes:
        header: First sequence header; None if no header was found or it could not be read.
        count: Number of coded frames, or fields, so far.
        odd: Number of packets so far that do not contain exactly one frame that is displayed.
        changed: Whether a later header differs from the first one, or several headers are in use.
        b_frames: Whether a frame was found that may refer to frames that are displayed later (for VP8, VP9 and AV1
            always False).
        oddity: What decoders treat differently in this stream, as a clause; empty if nothing was found.
    """

    def __init__(self) -> None:
        self.header: SequenceHeader | None = None
        self.count = 0
        self.odd = 0
        self.changed = False
        self.b_frames = False
        self.oddity = ""

    @abstractmethod
    def add(self, packet: av.Packet[Any]) -> None:
        """Note a packet that is not empty. The packet may be empty afterwards."""

    def note(self, frames: int, *, shown: bool = True) -> None:
        """Count the coded frames of a packet; one of them is displayed if ``shown``."""
        self.count += frames
        self.odd += frames != 1 or not shown

    def note_oddity(self, words: str) -> None:
        """Note something that decoders treat differently, unless something was noted before."""
        self.oddity = self.oddity or words

    def split(self, bitstream_filter: BitStreamFilterContext, packet: av.Packet[Any]) -> list[av.Packet[Any]]:
        """Return the parts into which a filter splits a packet; the packet is empty afterwards."""
        try:
            return bitstream_filter.filter(packet)
        except av.error.FFmpegError:
            self.note_oddity(DAMAGED)
            return []


class UncountedFrames(CodedFrames):
    """Stand-in for codecs whose packets are not read: nothing is noted, and ``count`` stays 0."""

    def __init__(self, stream: av.VideoStream) -> None:
        super().__init__()

    def add(self, packet: av.Packet[Any]) -> None:
        """Do nothing."""
