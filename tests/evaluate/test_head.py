"""Principal components and heads."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs the extra evaluate")

from mgdali.evaluate.head import fit_head, fit_projection


def test_components_have_a_mean_variance_of_one_and_keep_the_largest_direction() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(500, 6)).astype(np.float32) * np.array([100, 1, 1, 1, 1, 1], np.float32) + 7
    found = fit_projection(features, 3)(features)
    assert found.shape == (500, 3)
    assert found.mean(0) == pytest.approx(np.zeros(3), abs=1e-6)
    assert found.var(0, ddof=1).mean() == pytest.approx(1.0)
    assert abs(np.corrcoef(found[:, 0], features[:, 0])[0, 1]) > 0.999


def test_there_are_no_more_components_than_frames_or_features() -> None:
    features = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)
    assert fit_projection(features, 64)(features).shape == (3, 3)


def test_equal_features_give_components_without_a_scale() -> None:
    features = np.ones((5, 4), np.float32)
    assert (fit_projection(features, 2)(features) == 0).all()


def test_a_head_knows_the_order_of_the_frames() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    # Both classes have the same two frames, in another order.
    first, second = np.array([1.0, 0, 0]), np.array([0, 1.0, 0])
    clips = np.stack([[first, second] if label == 0 else [second, first] for label in labels])
    head = fit_head(clips + 0.01 * rng.normal(size=clips.shape), labels, c=10.0)
    assert head.converged
    assert (head.predict(clips) == labels).all()
