"""Sampling strategies with the index rules of TSM and of MMAction2, under the names of their arguments.

Users import them from :mod:`mgdali.samplers`. The arguments alone choose between the rule for training and the rule for
testing. The loader's ``training`` decides only about chance: with ``training=False``, a random integer below n is
``n // 2``.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

import numpy as np
from numpy.typing import NDArray

from mgdali import published_rules
from mgdali.published_rules import OutOfBound, TSMMode

__all__ = ["SampleFrames", "TSMFrames", "UniformSample"]


@dataclass(frozen=True)
class TSMFrames:
    """Picks of TSM's ``TSNDataSet``: :func:`mgdali.published_rules.sample_tsm`.

    Args:
        num_segments: Number of segments, N >= 1.
        mode: ``"train"``, ``"val"``, ``"test"``, ``"twice"`` (testing with ``--twice_sample``), ``"dense"`` (training
            and validation with ``--dense_sample``) or ``"dense_test"`` (testing with it).
        new_length: Frames per segment, L >= 1.

    Attributes:
        num_frames: Number of picks per video: N * L; 2 N * L for ``"twice"``, 10 N * L for ``"dense_test"``.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> TSMFrames(8, mode="val").pick(None, 20, np.full(8, 0.5))
        array([ 1,  3,  6,  8, 11, 13, 16, 18])
    """

    num_segments: int = 8
    _: KW_ONLY
    mode: TSMMode = "train"
    new_length: int = 1

    def __post_init__(self) -> None:
        published_rules.check_tsm(self.num_segments, self.new_length, self.mode)

    @property
    def num_frames(self) -> int:
        return published_rules.count_tsm(self.num_segments, self.new_length, self.mode)

    @property
    def representation(self) -> None:
        return None

    def pick(self, motion: NDArray[np.float64] | None, total: int, offsets: NDArray[np.float64]) -> NDArray[np.int64]:
        return published_rules.sample_tsm(
            total, self.num_segments, new_length=self.new_length, mode=self.mode, offsets=offsets
        )


@dataclass(frozen=True)
class SampleFrames:
    """Picks of MMAction2's ``SampleFrames``: :func:`mgdali.published_rules.sample_frames`.

    Its arguments ``temporal_jitter`` and ``target_fps`` are not supported.

    Args:
        clip_len: Frames per clip, >= 1.
        frame_interval: Distance between the frames of a clip, >= 1.
        num_clips: Number of clips, >= 1.
        test_mode: Whether to pick by the rule for testing.
        twice_sample: Whether to pick twice as many clips, in testing only.
        out_of_bound_opt: What replaces indices past the end: ``"loop"`` or ``"repeat_last"``.
        keep_tail_frames: Whether clips can begin in all of the video, in training only.

    Attributes:
        num_frames: Number of picks per video: ``clip_len * num_clips``, and twice as many with ``twice_sample``.

    Raises:
        ValueError: If an argument is out of range, or has no effect or no result in MMAction2.

    Example:
        >>> SampleFrames(1, num_clips=8, test_mode=True).pick(None, 20, np.full(8, 0.5))
        array([ 1,  3,  6,  8, 11, 13, 16, 18])
    """

    clip_len: int
    frame_interval: int = 1
    num_clips: int = 1
    _: KW_ONLY
    test_mode: bool = False
    twice_sample: bool = False
    out_of_bound_opt: OutOfBound = "loop"
    keep_tail_frames: bool = False

    def __post_init__(self) -> None:
        published_rules.check_frames(
            self.clip_len,
            self.frame_interval,
            self.num_clips,
            self.test_mode,
            self.twice_sample,
            self.out_of_bound_opt,
            self.keep_tail_frames,
        )

    @property
    def num_frames(self) -> int:
        return published_rules.count_frames(self.clip_len, self.num_clips, self.twice_sample)

    @property
    def representation(self) -> None:
        return None

    def pick(self, motion: NDArray[np.float64] | None, total: int, offsets: NDArray[np.float64]) -> NDArray[np.int64]:
        return published_rules.sample_frames(
            total,
            self.clip_len,
            frame_interval=self.frame_interval,
            num_clips=self.num_clips,
            test_mode=self.test_mode,
            twice_sample=self.twice_sample,
            out_of_bound_opt=self.out_of_bound_opt,
            keep_tail_frames=self.keep_tail_frames,
            offsets=offsets,
        )


@dataclass(frozen=True)
class UniformSample:
    """Picks of MMAction2's ``UniformSample``: :func:`mgdali.published_rules.sample_uniform`.

    Args:
        clip_len: Frames per clip, >= 1.
        num_clips: Number of clips, >= 1; more than one only with ``test_mode``.
        test_mode: Whether to pick by the rule for testing.

    Attributes:
        num_frames: Number of picks per video: ``clip_len * num_clips``.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> UniformSample(4, test_mode=True).pick(None, 17, np.full(4, 0.5))
        array([ 2,  6, 10, 14])
    """

    clip_len: int
    num_clips: int = 1
    _: KW_ONLY
    test_mode: bool = False

    def __post_init__(self) -> None:
        published_rules.check_uniform(self.clip_len, self.num_clips, self.test_mode)

    @property
    def num_frames(self) -> int:
        return published_rules.count_uniform(self.clip_len, self.num_clips)

    @property
    def representation(self) -> None:
        return None

    def pick(self, motion: NDArray[np.float64] | None, total: int, offsets: NDArray[np.float64]) -> NDArray[np.int64]:
        return published_rules.sample_uniform(
            total, self.clip_len, num_clips=self.num_clips, test_mode=self.test_mode, offsets=offsets
        )
