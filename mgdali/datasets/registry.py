"""The table of published data sets.

Each attribute of :class:`PublishedDataSets` is one data set. The constructors of
:class:`~mgdali.datasets.video_dataset.VideoDataset`, ``mgdali data check`` and the table in ``docs/datasets.md`` all
follow from it. To add a data set, write a module that reads its lists, and add one attribute here.

``python -m mgdali.datasets.registry`` prints the table in Markdown.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from types import MethodType
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, cast, get_type_hints

from mgdali.datasets import diving48, hmdb51, kinetics, something_something, ucf101
from mgdali.datasets.listing import Listing

__all__ = ["PublishedDataSet", "PublishedDataSets", "markdown_table", "published_data_sets"]

P = ParamSpec("P")
T = TypeVar("T", covariant=True)


class _FromListing(Protocol[T]):
    """A class that can be created from a listing, such as ``VideoDataset``."""

    @classmethod
    def _from_listing(cls, listing: Listing) -> T: ...


class PublishedDataSet(Generic[P]):
    """One published data set. As an attribute of a class, it is that class's constructor for the data set.

    Args:
        read: Reads one split: takes the folder and the split, and returns a :class:`Listing`. The constructor has the
            same arguments.
        title: Name of the data set in documents.
        files: The official files and folders, one line each, relative to ``root``.
        splits: Names of the splits.
        folds: Numbers of the official divisions into splits; ``(None,)`` if there is only one.
        endings: Endings of video files; empty if each video is a folder of JPEG frames.
        extra_lists: Further lists that name videos, in addition to the splits.
        read_all_listed: Like ``read``, but includes videos without a file; by default ``read``.
    """

    def __init__(
        self,
        read: Callable[P, Listing],
        *,
        title: str,
        files: tuple[str, ...],
        splits: tuple[str, ...],
        folds: tuple[int | None, ...] = (None,),
        endings: tuple[str, ...] = (),
        extra_lists: tuple[str, ...] = (),
        read_all_listed: Callable[..., Listing] | None = None,
    ) -> None:
        self.read = read
        self.title = title
        self.files = files
        self.splits = splits
        self.folds = folds
        self.endings = endings
        self.extra_lists = extra_lists
        self.read_all_listed: Callable[..., Listing] = read_all_listed or read
        self.constructor = ""

    @property
    def name(self) -> str:
        """Name on the command line, such as ``something-something-v1``."""
        return self.constructor.replace("_", "-")

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self.constructor = name

    def __get__(self, instance: object, owner: type[_FromListing[T]]) -> Callable[P, T]:
        """Return the constructor of ``owner`` for this data set."""

        def construct(cls: type[_FromListing[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
            return cls._from_listing(self.read(*args, **kwargs))

        construct.__name__ = self.constructor
        construct.__qualname__ = f"{owner.__name__}.{self.constructor}"
        construct.__module__ = owner.__module__
        construct.__doc__ = self._documentation()
        construct.__annotations__ = {**get_type_hints(self.read), "return": owner}
        signature = inspect.signature(self.read)
        parameters = [inspect.Parameter("cls", inspect.Parameter.POSITIONAL_ONLY), *signature.parameters.values()]
        construct.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=parameters, return_annotation=owner.__name__
        )
        # A method, not a function: pickle finds a method again by its class and name.
        return cast(Callable[P, T], MethodType(construct, owner))

    def _documentation(self) -> str:
        """Return the docstring of ``read``, with the official files after its first paragraph."""
        # Python's option -OO removes docstrings.
        first, _, rest = (inspect.getdoc(self.read) or "").partition("\n\n")
        files = "\n".join(f"    {line}" for line in self.files)
        return f"{first}\n\nThe official files are::\n\n{files}\n\n{rest}"


class PublishedDataSets:
    """The table: one attribute per data set, in the order of their names on the command line."""

    something_something_v1 = PublishedDataSet(
        something_something.read_v1,
        title="Something-Something V1",
        files=(
            "root/something-something-v1-{labels,train,validation,test}.csv",
            "root/20bn-something-something-v1/<id>/00001.jpg …",
        ),
        splits=something_something.SPLITS,
    )
    something_something_v2 = PublishedDataSet(
        something_something.read_v2,
        title="Something-Something V2",
        files=(
            "root/something-something-v2-{labels,train,validation,test}.json or root/labels/train.json …",
            "root/20bn-something-something-v2/<id>.webm",
        ),
        splits=something_something.SPLITS,
        endings=(".webm",),
    )
    jester = PublishedDataSet(
        something_something.read_jester,
        title="Jester V1",
        files=("root/jester-v1-{labels,train,validation,test}.csv", "root/20bn-jester-v1/<id>/00001.jpg …"),
        splits=something_something.SPLITS,
    )
    diving48 = PublishedDataSet(
        diving48.read_diving48,
        title="Diving48",
        files=(
            "root/Diving48_V2_{train,test}.json (version 1: Diving48_{train,test}.json)",
            "root/Diving48_vocab.json",
            "root/rgb/<video>.mp4",
        ),
        splits=diving48.SPLITS,
        endings=(".mp4",),
    )
    ucf101 = PublishedDataSet(
        ucf101.read_ucf101,
        title="UCF101",
        files=(
            "root/ucfTrainTestlist/{classInd,trainlist01,testlist01,…}.txt",
            "root/UCF-101/<class>/<video>.avi",
        ),
        splits=ucf101.SPLITS,
        folds=ucf101.FOLDS,
        endings=(".avi",),
    )
    hmdb51 = PublishedDataSet(
        hmdb51.read_hmdb51,
        title="HMDB51",
        files=(
            "root/testTrainMulti_7030_splits/<class>_test_split1.txt …",
            "root/hmdb51_org/<class>/<video>.avi or root/<class>/<video>.avi",
        ),
        splits=hmdb51.SPLITS,
        folds=hmdb51.FOLDS,
        endings=(".avi",),
        extra_lists=hmdb51.EXTRA_LISTS,
    )
    kinetics = PublishedDataSet(
        kinetics.read_kinetics,
        title="Kinetics-400, -600, -700",
        files=(
            "root/annotations/{train,val,test}.csv or root/train.csv …",
            "root/{train,val,test}/<youtube_id>_<start>_<end>.mp4 or …/<class>/<youtube_id>_<start>_<end>.mp4",
        ),
        splits=kinetics.SPLITS,
        endings=kinetics.CLIP_ENDINGS,
        read_all_listed=kinetics.read_all_listed,
    )


def published_data_sets() -> dict[str, PublishedDataSet[Any]]:
    """Return the data sets of the table by their names on the command line."""
    return {entry.name: entry for entry in vars(PublishedDataSets).values() if isinstance(entry, PublishedDataSet)}


def markdown_table() -> str:
    """Return the table in Markdown, as ``docs/datasets.md`` contains it."""
    return "\n".join(_rows()) + "\n"


def _rows() -> Iterator[str]:
    yield "| Data set | Constructor | `mgdali data check` | Splits | Official files |"
    yield "| --- | --- | --- | --- | --- |"
    for name, entry in published_data_sets().items():
        splits = ", ".join(f"`{split}`" for split in entry.splits)
        if entry.folds != (None,):
            splits += f"; folds {entry.folds[0]} to {entry.folds[-1]}"
        files = "<br>".join(f"`{line}`" for line in entry.files)
        yield f"| {entry.title} | `VideoDataset.{entry.constructor}` | `{name}` | {splits} | {files} |"


if __name__ == "__main__":
    print(markdown_table(), end="")
