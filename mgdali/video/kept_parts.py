"""A video whose parts are read once, although two decoders may ask for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mgdali.video.media import Media

__all__ = ["KeptParts"]


@dataclass(frozen=True, slots=True)
class KeptParts(Media):
    """A video that keeps the parts that were read of it in memory.

    Args:
        path, span, content: As for :class:`~mgdali.video.media.Media`.
        parts: Content of each part that was read, by its offset and length in bytes.
    """

    parts: dict[tuple[int, int], bytes] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, media: Media) -> KeptParts:
        """Return a video, with no parts in memory."""
        return cls(media.path, media.span, media.content)

    def read_parts(self, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return parts of the encoded file, as :meth:`Media.read_parts`. Parts in memory are not read again.

        Args:
            spans: Offset from the first byte of the encoded file, and length of each part, in bytes.

        Raises:
            VideoDecodeError: If the video is missing, cannot be read, or ends before the end of a part.
        """
        missing = [span for span in spans if span not in self.parts]
        if missing:
            # Not super(): a dataclass with slots is another class than the one that is defined here.
            self.parts.update(zip(missing, Media.read_parts(self, missing), strict=True))
        return [self.parts[span] for span in spans]
