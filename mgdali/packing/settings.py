"""Settings that all videos of a pack share, and checks that a run continues a pack with the same settings."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from mgdali.datasets.pack_format import PackManifest
from mgdali.datasets.video_dataset import VideoDataset
from mgdali.errors import DatasetError
from mgdali.packing.encoding import Encoding
from mgdali.samplers import Representation
from mgdali.video.record import filters_digest, representation_key

__all__ = ["check_manifest", "common_settings", "label_shape_of", "mgdali_version", "united_classes"]


def common_settings(
    encoding: Encoding, representations: tuple[Representation, ...], label_shape: tuple[int, ...] | None
) -> dict[str, Any]:
    """Return the settings that all videos of a pack share, by the names of the manifest's attributes.

    Args:
        encoding: How the videos are encoded.
        representations: Representations for which S is measured.
        label_shape: Shape of a label (:func:`label_shape_of`).
    """
    filters = [filters_digest(each) for each in representations if each.motion == "feature"]
    return {
        "preset": encoding.preset,
        "codec": encoding.codec,
        "encoder": encoding.encoder,
        "gop": encoding.gop,
        "quality": encoding.quality,
        "short_side": encoding.short_side,
        "motion": [representation_key(each) for each in representations],
        "filters": filters[0] if filters else None,
        "label_shape": None if label_shape is None else list(label_shape),
    }


def label_shape_of(dataset: VideoDataset) -> tuple[int, ...] | None:
    """Return the shape of a label as the manifest has it: None if labels are class indices."""
    labels = dataset.labels
    return None if np.issubdtype(labels.dtype, np.integer) else labels.shape[1:]


def _labels_in_words(shape: tuple[int, ...] | None) -> str:
    if shape is None:
        return "class indices"
    return f"vectors of length {shape[0]}" if shape else "numbers"


def mgdali_version() -> str:
    """Return the version of MGDali."""
    # An import of the package would count as an import of all names that it exports, from higher layers too.
    version: str = importlib.import_module("mgdali").__version__
    return version


def check_manifest(name: str, manifest: PackManifest, settings: dict[str, Any]) -> None:
    """Check that videos with these settings can be added to a complete pack.

    Args:
        name: Path or URL of the pack.
        manifest: Manifest of the pack.
        settings: The settings (:func:`common_settings`).

    Raises:
        DatasetError: If a setting differs; the message names it.
    """
    shape = settings["label_shape"]
    labels = [_labels_in_words(each) for each in (manifest.label_shape, None if shape is None else tuple(shape))]
    if labels[0] != labels[1]:
        raise DatasetError(
            f"the labels in {name} are {labels[0]}, and those of the data set are {labels[1]}: give labels of the same "
            "kind, or an empty folder"
        )
    for each, value in settings.items():
        known = getattr(manifest, each)
        if (list(known) if isinstance(known, tuple) else known) != value:
            raise DatasetError(
                f"{name} was packed with {each} {known}, not {value}: use the same settings to add videos, or give an "
                "empty folder"
            )


def united_classes(name: str, known: list[str], classes: list[str]) -> list[str]:
    """Return the classes of a pack: first its present classes, then new ones.

    Args:
        name: Path or URL of the pack.
        known: Its present classes.
        classes: Classes of the data set.

    Raises:
        DatasetError: If a class would get another number, because the labels in the shards are numbers.
    """
    shared = min(len(known), len(classes))
    for number, (before, now) in enumerate(zip(known, classes, strict=False)):
        if before != now:
            raise DatasetError(
                f"class {number} is {before!r} in {name} and {now!r} in the data set: list new classes after those of "
                "the pack (classes=), or give an empty folder"
            )
    return known if len(known) > shared else classes
