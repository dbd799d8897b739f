"""GPU memory that DALI's video decoder takes, by its sources (``dali/operators/video``, DALI 2.4)."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["decoding_bytes", "session_bytes", "session_cache_bytes"]

# FramesDecoderGpu: `num_decode_surfaces_`, the number of frames in its buffer. The buffer grows beyond it only if a
# stream returns more frames out of order.
_BUFFERED_FRAMES = 8
# NVDECCache: a session has as many surfaces as the parser reports for the stream, and 20 if it reports none, which is
# counted here for every stream. Each session has two output surfaces in addition.
_SURFACES = 20 + 2
# NVDECCache: sessions that no decoder uses are closed only if there are more than this, of all sizes.
_CACHED_SESSIONS = 100


def decoding_bytes(num_frames: int, num_picks: int, frame_bytes: int) -> int:
    """Return the number of bytes that one video takes while its batch is in the graph, without its NVDEC session.

    These are its decoded frames, the frames gathered from them, and the buffer of its decoder, 8 frames, as 8-bit RGB.
    The decoders of all videos of a batch are created before the first one decodes (``VideoDecoderBase::SetupImpl``), so
    the sum over a batch is what the batch takes.

    Args:
        num_frames: Number of frames that DALI returns.
        num_picks: Number of frames that are gathered.
        frame_bytes: Number of bytes of one frame as 8-bit RGB.
    """
    return (num_frames + num_picks + _BUFFERED_FRAMES) * frame_bytes


def session_bytes(frame_bytes: int) -> int:
    """Return the number of bytes of an NVDEC session's surfaces, at most.

    A surface is NV12, with half of the bytes of RGB.

    Args:
        frame_bytes: Number of bytes of one frame as 8-bit RGB.
    """
    return _SURFACES * frame_bytes // 2


def session_cache_bytes(decoded: Mapping[int, int], most_at_once: int) -> int:
    """Return the number of bytes of the NVDEC sessions that DALI keeps in this process, at most.

    A decoder takes an unused session of its frames' size, and opens another one if all are in use (``NVDECCache``). So
    there are as many sessions of a size as decoders that used this size at the same time. Streams of the same size that
    differ in the codec or in the number of surfaces are counted as if they shared sessions.

    Args:
        decoded: Number of videos that were decoded so far, by the number of bytes of a frame as 8-bit RGB.
        most_at_once: Number of decoders that can run at the same time, >= 1.
    """
    total, places = 0, max(_CACHED_SESSIONS, most_at_once)
    for frame_bytes in sorted(decoded, reverse=True):
        sessions = min(decoded[frame_bytes], most_at_once, places)
        total += sessions * session_bytes(frame_bytes)
        places -= sessions
    return total
