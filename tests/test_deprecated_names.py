"""Modules that moved stay importable under their old names for one release."""

from __future__ import annotations

import importlib
import sys

import pytest

import mgdali


@pytest.mark.parametrize(
    ("module", "name"), [("mgdali.dataset", "VideoDataset"), ("mgdali.motion_index", "MotionIndex")]
)
def test_an_old_module_warns_and_gives_the_same_class(module: str, name: str) -> None:
    sys.modules.pop(module, None)
    with pytest.warns(DeprecationWarning, match=f"{module} is deprecated.*from mgdali import {name}"):
        old = importlib.import_module(module)
    assert getattr(old, name) is getattr(mgdali, name)
