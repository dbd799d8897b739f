"""Options that several commands have: the videos in a list, the level of motion, output as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import typer

from mgdali.datasets.listing import FRAME_TEMPLATE

if TYPE_CHECKING:
    from mgdali.samplers import Representation

__all__ = [
    "Json",
    "Level",
    "ListLines",
    "Moved",
    "Root",
    "Template",
    "moved_pairs",
    "representations_of",
    "root_option",
]

Level: TypeAlias = Literal["image", "feature", "both"]
"""The level at which motion is measured."""


def root_option(help: str, default: str) -> Any:
    """Return the option ``--root`` of a parameter of type ``str | None``.

    Its type is not Path, which turns ``http://host`` into ``http:/host``.

    Args:
        help: What the folder or URL is used for.
        default: What is used without the option.
    """
    return typer.Option("--root", metavar="DIR or URL", help=help, show_default=default)


Root: TypeAlias = Annotated[
    str | None,
    root_option("Folder or URL that relative paths in a list or a table start from.", "working directory"),
]
Moved: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        metavar="OLD=NEW",
        help="Folder or URL of the videos when they were measured, and their current one; may be repeated.",
    ),
]
ListLines: TypeAlias = Annotated[
    Literal["videos", "frames"] | None,
    typer.Option(
        "--list",
        help="Lines of a list: 'path label' (videos) or 'folder frames label' (frames).",
        show_default="detected",
    ),
]
Template: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="File names of the frames of a list of frames, with a placeholder for the number.",
        show_default=FRAME_TEMPLATE,
    ),
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def representations_of(level: Level) -> list[Representation]:
    """Return the representations of ``--motion``."""
    from mgdali.samplers import Representation

    levels: tuple[Literal["image", "feature"], ...] = ("image", "feature") if level == "both" else (level,)
    return [Representation(motion=each) for each in levels]


def moved_pairs(moved: list[str] | None) -> list[tuple[str, str]]:
    """Return the old and the new folder or URL of each ``--moved``.

    Raises:
        typer.BadParameter: If one does not contain exactly one ``=``.
    """
    pairs = []
    for each in moved or ():
        old, _, new = each.partition("=")
        if not old or not new or "=" in new:
            raise typer.BadParameter(
                f"--moved {each!r} must be OLD=NEW with a single '='; for other names use --root, or moved= in Python"
            )
        pairs.append((old, new))
    return pairs
