"""The path of an index that is created while training."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mgdali.errors import DatasetError
from mgdali.index.growing import automatic_path


@pytest.mark.parametrize("kind", [str, Path])
def test_a_cache_folder_at_a_url_is_refused(
    kind: type[str] | type[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatasetError, match=r"s3:/{1,2}bucket/cache: give a local folder as cache_dir"):
        automatic_path([str(tmp_path / "a.mp4"), str(tmp_path / "b.mp4")], kind("s3://bucket/cache"))
    assert os.listdir(tmp_path) == []
