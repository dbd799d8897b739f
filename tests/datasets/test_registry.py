"""The table of published data sets: constructors, ``mgdali data check`` and the documents follow from it."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import pytest

from mgdali import VideoDataset
from mgdali.datasets.check import check_data
from mgdali.datasets.layout import known_split
from mgdali.datasets.listing import AnyPath, Listing, read_lines
from mgdali.datasets.registry import PublishedDataSet, PublishedDataSets, markdown_table, published_data_sets

DOCUMENT = Path(__file__).parents[2] / "docs" / "datasets.md"


def read_pets(
    root: AnyPath, split: str, *, annotations: AnyPath | None = None, videos: AnyPath | None = None
) -> Listing:
    """Read a split of Pets from its official files.

    Args:
        root: Folder of the lists.
        split: ``"train"``.
        annotations, videos: Unused.
    """
    source = Path(root) / f"{known_split(split, 'train')}.txt"
    paths = [str(Path(root) / line) for line in read_lines(source) if line]
    return Listing(str(source), str(root), paths, [0] * len(paths), ["pet"])


@pytest.fixture
def pets(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = PublishedDataSet(
        read_pets, title="Pets", files=("root/train.txt", "root/<video>.mp4"), splits=("train",), endings=(".mp4",)
    )
    entry.__set_name__(PublishedDataSets, "pets")
    monkeypatch.setattr(PublishedDataSets, "pets", entry, raising=False)


def test_one_table_entry_gives_a_constructor_a_check_and_a_row(pets: None, tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("a.mp4\nb.mp4\n")
    (tmp_path / "a.mp4").write_bytes(b"x")
    dataset = VideoDataset.pets(tmp_path, "train")  # type: ignore[attr-defined]
    assert isinstance(dataset, VideoDataset)
    assert [video.path for video in dataset] == [f"{tmp_path}/a.mp4", f"{tmp_path}/b.mp4"]
    (part,) = check_data("pets", tmp_path).parts
    assert (part.listed, part.missing.first) == (2, ("b.mp4",))
    assert "| Pets | `VideoDataset.pets` | `pets` | `train` | `root/train.txt`<br>" in markdown_table()


@pytest.mark.parametrize("entry", published_data_sets().values(), ids=lambda entry: entry.name)
def test_a_constructor_has_the_arguments_and_documents_of_its_reader(entry: PublishedDataSet) -> None:
    constructor = getattr(VideoDataset, entry.constructor)
    signature = inspect.signature(constructor)
    assert list(signature.parameters.values()) == list(inspect.signature(entry.read).parameters.values())
    assert signature.return_annotation == "VideoDataset"
    assert all(line in constructor.__doc__ for line in entry.files)
    assert "Raises:" in constructor.__doc__


@pytest.mark.parametrize("entry", published_data_sets().values(), ids=lambda entry: entry.name)
def test_a_constructor_can_be_pickled_and_has_type_hints(entry: PublishedDataSet) -> None:
    constructor = getattr(VideoDataset, entry.constructor)
    again = pickle.loads(pickle.dumps(constructor))
    assert (again.__self__, again.__name__) == (VideoDataset, entry.constructor)
    assert get_type_hints(constructor) == {**get_type_hints(entry.read), "return": VideoDataset}


def test_constructors_work_without_docstrings() -> None:
    code = "from mgdali import VideoDataset; print(VideoDataset.ucf101.__name__)"
    done = subprocess.run([sys.executable, "-OO", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "ucf101\n"


def test_a_subclass_gets_its_own_instances(pets: None, tmp_path: Path) -> None:
    class Mine(VideoDataset):
        pass

    (tmp_path / "train.txt").write_text("a.mp4\n")
    assert type(Mine.pets(tmp_path, "train")) is Mine  # type: ignore[attr-defined]


def test_the_documents_contain_the_table() -> None:
    assert markdown_table() in DOCUMENT.read_text()
